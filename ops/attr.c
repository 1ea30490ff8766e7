#include "ops/attr.h"

#include <string.h>

#include "base/checked.h"

/* The form that all kinds share: how one element is stored in memory. */
static size_t kind_element_size(AttrKind kind) {
    switch (kind) {
    case ATTR_FLOAT:
    case ATTR_FLOATS:
        return sizeof(float);
    case ATTR_STRING:
    case ATTR_STRINGS:
        return sizeof(char *);
    case ATTR_TENSOR:
        return sizeof(Tensor);
    default:
        return sizeof(int64_t);
    }
}

static bool kind_is_list(AttrKind kind) {
    return kind == ATTR_INTS || kind == ATTR_FLOATS || kind == ATTR_STRINGS;
}

static bool kind_is_text(AttrKind kind) {
    return kind == ATTR_STRING || kind == ATTR_STRINGS;
}

static const char *kind_phrase(AttrKind kind) {
    static const char *const phrases[] = {"nothing",        "an int",           "a float",
                                          "a string",       "a tensor",         "a graph",
                                          "a list of ints", "a list of floats", "a list of strings"};
    return phrases[kind >= ATTR_INT && kind <= ATTR_STRINGS ? kind : 0];
}

/* The place of name, or where it would be inserted. */
static int32_t lower_bound(const AttrList *list, const char *name) {
    int32_t low = 0, high = list->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (strcmp(list->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static Attr *find(const AttrList *list, const char *name) {
    int32_t at = lower_bound(list, name);
    return at < list->count && strcmp(list->items[at].name, name) == 0 ? &list->items[at] : NULL;
}

const Attr *attr_find(const AttrList *list, const char *name) {
    return find(list, name);
}

/* *out is NULL when absent. */
static Status find_kind(const AttrList *list, const char *name, AttrKind kind, const Attr **out, Diag *diag) {
    *out = find(list, name);
    if (*out != NULL && (*out)->kind != kind)
        return FAIL(diag, STATUS_BAD_MODEL, "attribute '%s' is %s, expected %s", name,
                    kind_phrase((*out)->kind), kind_phrase(kind));
    return STATUS_OK;
}

Status attr_int(const AttrList *list, const char *name, int64_t fallback, int64_t *out, Diag *diag) {
    const Attr *attr;
    *out = fallback;
    TRY(find_kind(list, name, ATTR_INT, &attr, diag));
    if (attr != NULL) *out = attr->ints[0];
    return STATUS_OK;
}

Status attr_float(const AttrList *list, const char *name, float fallback, float *out, Diag *diag) {
    const Attr *attr;
    *out = fallback;
    TRY(find_kind(list, name, ATTR_FLOAT, &attr, diag));
    if (attr != NULL) *out = attr->floats[0];
    return STATUS_OK;
}

Status attr_string(const AttrList *list, const char *name, const char *fallback, const char **out,
                   Diag *diag) {
    const Attr *attr;
    *out = fallback;
    TRY(find_kind(list, name, ATTR_STRING, &attr, diag));
    if (attr != NULL) *out = attr->strings[0];
    return STATUS_OK;
}

Status attr_ints(const AttrList *list, const char *name, const int64_t **values, int32_t *count, Diag *diag) {
    const Attr *attr;
    *values = NULL;
    *count = -1;
    TRY(find_kind(list, name, ATTR_INTS, &attr, diag));
    if (attr == NULL) return STATUS_OK;
    *values = attr->ints;
    *count = attr->count;
    return STATUS_OK;
}

Status attr_floats(const AttrList *list, const char *name, const float **values, int32_t *count, Diag *diag) {
    const Attr *attr;
    *values = NULL;
    *count = -1;
    TRY(find_kind(list, name, ATTR_FLOATS, &attr, diag));
    if (attr == NULL) return STATUS_OK;
    *values = attr->floats;
    *count = attr->count;
    return STATUS_OK;
}

Status attr_strings(const AttrList *list, const char *name, const char *const **values, int32_t *count,
                    Diag *diag) {
    const Attr *attr;
    *values = NULL;
    *count = -1;
    TRY(find_kind(list, name, ATTR_STRINGS, &attr, diag));
    if (attr == NULL) return STATUS_OK;
    *values = attr->strings;
    *count = attr->count;
    return STATUS_OK;
}

Status attr_tensor(const AttrList *list, const char *name, const Tensor **out, Diag *diag) {
    const Attr *attr;
    *out = NULL;
    TRY(find_kind(list, name, ATTR_TENSOR, &attr, diag));
    if (attr != NULL) *out = attr->tensor;
    return STATUS_OK;
}

Status attr_int_in(const AttrList *list, const char *name, int64_t fallback, int64_t low, int64_t high,
                   int64_t *out, Diag *diag) {
    TRY(attr_int(list, name, fallback, out, diag));
    if (*out < low || *out > high)
        return FAIL(diag, STATUS_BAD_MODEL, "attribute '%s' is %lld, expected a value from %lld to %lld",
                    name, (long long)*out, (long long)low, (long long)high);
    return STATUS_OK;
}

/* Copies the elements of a value of that kind into arena; NULL: out of memory. */
static const void *copy_values(Arena *arena, AttrKind kind, const void *values, int32_t count) {
    size_t size = kind_element_size(kind);
    void *copy = arena_grow(arena, values, (size_t)count, (size_t)count, size);
    if (copy == NULL || !kind_is_text(kind)) return copy;
    const char **texts = copy;
    for (int32_t i = 0; i < count; ++i) {
        texts[i] = arena_strdup(arena, texts[i]);
        if (texts[i] == NULL) return NULL;
    }
    return copy;
}

static void attr_point(Attr *attr, AttrKind kind, const void *values, int32_t count) {
    attr->kind = kind;
    attr->count = count;
    if (kind == ATTR_TENSOR)
        attr->tensor = values;
    else if (kind_is_text(kind))
        attr->strings = values;
    else if (kind == ATTR_FLOAT || kind == ATTR_FLOATS)
        attr->floats = values;
    else
        attr->ints = values;
}

static const void *attr_values(const Attr *attr) {
    if (attr->kind == ATTR_TENSOR) return attr->tensor;
    if (kind_is_text(attr->kind)) return attr->strings;
    if (attr->kind == ATTR_FLOAT || attr->kind == ATTR_FLOATS) return attr->floats;
    return attr->ints;
}

/* Takes over name and values. */
static bool list_insert(AttrList *list, Arena *arena, const char *name, AttrKind kind, const void *values,
                        int32_t count) {
    if (!ARENA_RESERVE(arena, list->items, list->count, list->capacity)) return false;
    int32_t at = lower_bound(list, name);
    memmove(list->items + at + 1, list->items + at, (size_t)(list->count - at) * sizeof(Attr));
    list->count++;
    list->items[at].name = name;
    attr_point(&list->items[at], kind, values, count);
    return true;
}

static bool list_set(AttrList *list, Arena *arena, const char *name, AttrKind kind, const void *values,
                     int32_t count) {
    const void *copy = copy_values(arena, kind, values, count);
    if (copy == NULL) return false;
    Attr *present = find(list, name);
    if (present != NULL) {
        attr_point(present, kind, copy, count);
        return true;
    }
    const char *own_name = arena_strdup(arena, name);
    return own_name != NULL && list_insert(list, arena, own_name, kind, copy, count);
}

bool attr_set_int(AttrList *list, Arena *arena, const char *name, int64_t value) {
    return list_set(list, arena, name, ATTR_INT, &value, 1);
}

bool attr_set_float(AttrList *list, Arena *arena, const char *name, float value) {
    return list_set(list, arena, name, ATTR_FLOAT, &value, 1);
}

bool attr_set_string(AttrList *list, Arena *arena, const char *name, const char *value) {
    return list_set(list, arena, name, ATTR_STRING, &value, 1);
}

bool attr_set_ints(AttrList *list, Arena *arena, const char *name, const int64_t *values, int32_t count) {
    return list_set(list, arena, name, ATTR_INTS, values, count);
}

bool attr_set_floats(AttrList *list, Arena *arena, const char *name, const float *values, int32_t count) {
    return list_set(list, arena, name, ATTR_FLOATS, values, count);
}

bool attr_set_strings(AttrList *list, Arena *arena, const char *name, const char *const *values,
                      int32_t count) {
    return list_set(list, arena, name, ATTR_STRINGS, values, count);
}

bool attr_set_tensor(AttrList *list, Arena *arena, const char *name, const Tensor *value) {
    return list_set(list, arena, name, ATTR_TENSOR, value, 1);
}

bool attr_set_block(AttrList *list, Arena *arena, const char *name, int32_t block) {
    int64_t value = block;
    return list_set(list, arena, name, ATTR_BLOCK, &value, 1);
}

void attr_remove(AttrList *list, const char *name) {
    Attr *attr = find(list, name);
    if (attr == NULL) return;
    Attr *end = list->items + list->count;
    memmove(attr, attr + 1, (size_t)(end - (attr + 1)) * sizeof *attr);
    list->count--;
}

bool attr_copy(const AttrList *from, AttrList *to, Arena *arena) {
    AttrList copy = {.items = ARENA_ARRAY(arena, Attr, from->count), .capacity = from->count};
    if (copy.items == NULL) return false;
    for (; copy.count < from->count; ++copy.count) {
        const Attr *attr = &from->items[copy.count];
        Attr *own = &copy.items[copy.count];
        const void *values = copy_values(arena, attr->kind, attr_values(attr), attr->count);
        own->name = arena_strdup(arena, attr->name);
        if (values == NULL || own->name == NULL) return false;
        attr_point(own, attr->kind, values, attr->count);
    }
    *to = copy;
    return true;
}

static bool tensor_equal(const Tensor *a, const Tensor *b) {
    if (a->dtype != b->dtype || !tensor_same_shape(a, b)) return false;
    size_t size = tensor_bytes(a);
    return a->data == b->data || size == 0 || memcmp(a->data, b->data, size) == 0;
}

/* Floats are compared by their bits: a NaN equals itself, and 0.0 differs from -0.0. */
static bool value_equal(const Attr *a, const Attr *b) {
    if (a->kind != b->kind || a->count != b->count) return false;
    if (a->kind == ATTR_TENSOR) return tensor_equal(a->tensor, b->tensor);
    if (!kind_is_text(a->kind))
        return a->count == 0 ||
               memcmp(attr_values(a), attr_values(b), (size_t)a->count * kind_element_size(a->kind)) == 0;
    for (int32_t i = 0; i < a->count; ++i) {
        if (strcmp(a->strings[i], b->strings[i]) != 0) return false;
    }
    return true;
}

bool attr_equal(const AttrList *a, const AttrList *b) {
    if (a->count != b->count) return false;
    for (int32_t i = 0; i < a->count; ++i) {
        if (strcmp(a->items[i].name, b->items[i].name) != 0 || !value_equal(&a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

/* The bytes: u32 attributes; each: string name, u32 kind, u32 count, then count elements: i64 (ints and
 * blocks), f32, string (u32 length, bytes), or one tensor: u32 dtype, u32 rank, i64 dims, its raw data. */

static void write_tensor(const Tensor *tensor, ByteWriter *writer) {
    write_u32(writer, (uint32_t)tensor->dtype);
    write_u32(writer, (uint32_t)tensor->rank);
    for (int32_t i = 0; i < tensor->rank; ++i) write_i64(writer, tensor->dim[i]);
    size_t size = tensor_bytes(tensor);
    if (size > 0) write_bytes(writer, tensor->data, size);
}

static void write_attr(const Attr *attr, ByteWriter *writer) {
    write_string(writer, attr->name);
    write_u32(writer, (uint32_t)attr->kind);
    write_u32(writer, (uint32_t)attr->count);
    for (int32_t i = 0; i < attr->count; ++i) {
        if (attr->kind == ATTR_TENSOR)
            write_tensor(attr->tensor, writer);
        else if (kind_is_text(attr->kind))
            write_string(writer, attr->strings[i]);
        else if (attr->kind == ATTR_FLOAT || attr->kind == ATTR_FLOATS)
            write_f32(writer, attr->floats[i]);
        else
            write_i64(writer, attr->ints[i]);
    }
}

void attr_write(const AttrList *list, ByteWriter *writer) {
    write_u32(writer, (uint32_t)list->count);
    for (int32_t i = 0; i < list->count; ++i) write_attr(&list->items[i], writer);
}

static size_t remaining(const ByteReader *reader) {
    return reader->failed ? 0 : reader->size - reader->position;
}

static Status truncated(const ByteReader *reader, Diag *diag) {
    return FAIL(diag, STATUS_BAD_PLAN, "attributes end after %zu bytes, in the middle of a value",
                reader->size);
}

/* Unlike read_string, tells a short read from no memory. */
static Status read_text(ByteReader *reader, Arena *arena, const char **out, Diag *diag) {
    uint32_t length = read_u32(reader);
    const char *bytes = read_bytes(reader, length);
    if (reader->failed) return truncated(reader, diag);
    if (memchr(bytes, '\0', length) != NULL)
        return FAIL(diag, STATUS_BAD_PLAN, "an attribute's text has a zero byte in it");
    *out = arena_strndup(arena, bytes, length);
    TRY_ALLOC(diag, *out);
    return STATUS_OK;
}

/* The data is copied: plans do not align it. */
static Status read_tensor(ByteReader *reader, Arena *arena, const char *name, Tensor *out, Diag *diag) {
    int64_t dims[SMELT_MAX_RANK] = {0};
    uint32_t dtype = read_u32(reader), rank = read_u32(reader);
    if (reader->failed) return truncated(reader, diag);
    if (!dtype_is_valid(dtype) || dtype == DTYPE_STRING || rank > SMELT_MAX_RANK)
        return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s': a tensor of dtype %u and rank %u", name, dtype,
                    rank);
    for (uint32_t i = 0; i < rank; ++i) dims[i] = read_i64(reader);
    if (reader->failed) return truncated(reader, diag);
    if (tensor_describe(out, (DType)dtype, (int32_t)rank, dims, remaining(reader), NULL) != STATUS_OK)
        return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s': its tensor does not fit in the %zu bytes left",
                    name, remaining(reader));
    size_t size = tensor_bytes(out);
    const void *bytes = read_bytes(reader, size);
    if (reader->failed) return truncated(reader, diag);
    out->data = arena_alloc(arena, size);
    TRY_ALLOC(diag, out->data);
    if (size > 0) memcpy(out->data, bytes, size);
    return STATUS_OK;
}

static Status read_values(ByteReader *reader, Arena *arena, Attr *attr, Diag *diag) {
    void *values = arena_alloc_array(arena, (size_t)attr->count, kind_element_size(attr->kind));
    TRY_ALLOC(diag, values);
    for (int32_t i = 0; i < attr->count; ++i) {
        if (attr->kind == ATTR_TENSOR)
            TRY(read_tensor(reader, arena, attr->name, values, diag));
        else if (kind_is_text(attr->kind))
            TRY(read_text(reader, arena, (const char **)values + i, diag));
        else if (attr->kind == ATTR_FLOAT || attr->kind == ATTR_FLOATS)
            ((float *)values)[i] = read_f32(reader);
        else
            ((int64_t *)values)[i] = read_i64(reader);
    }
    if (reader->failed) return truncated(reader, diag);
    attr_point(attr, attr->kind, values, attr->count);
    if (attr->kind == ATTR_BLOCK && (attr->ints[0] < 0 || attr->ints[0] > INT32_MAX))
        return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s' names body %lld", attr->name,
                    (long long)attr->ints[0]);
    return STATUS_OK;
}

static Status read_attr(ByteReader *reader, Arena *arena, Attr *attr, Diag *diag) {
    TRY(read_text(reader, arena, &attr->name, diag));
    uint32_t kind = read_u32(reader), count = read_u32(reader);
    if (reader->failed) return truncated(reader, diag);
    if (kind < ATTR_INT || kind > ATTR_STRINGS)
        return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s' is of kind %u, which does not exist", attr->name,
                    kind);
    /* Four bytes at least stand for each element, which bounds what is allocated. */
    if (kind_is_list((AttrKind)kind) ? count > remaining(reader) / 4 || count > INT32_MAX : count != 1)
        return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s' claims %u elements with %zu bytes left",
                    attr->name, count, remaining(reader));
    attr->kind = (AttrKind)kind;
    attr->count = (int32_t)count;
    return read_values(reader, arena, attr, diag);
}

Status attr_read(ByteReader *reader, Arena *arena, AttrList *out, Diag *diag) {
    enum { SMALLEST_ATTR = 12 }; /* an empty name, the kind, and a count of zero */
    *out = (AttrList){0};
    uint32_t count = read_u32(reader);
    if (reader->failed) return truncated(reader, diag);
    if (count > remaining(reader) / SMALLEST_ATTR || count > INT32_MAX)
        return FAIL(diag, STATUS_BAD_PLAN, "%u attributes claimed with %zu bytes left", count,
                    remaining(reader));
    out->items = ARENA_ARRAY(arena, Attr, count);
    TRY_ALLOC(diag, out->items);
    out->capacity = (int32_t)count;
    for (; out->count < (int32_t)count; ++out->count) {
        Attr *attr = &out->items[out->count];
        TRY(read_attr(reader, arena, attr, diag));
        if (out->count > 0 && strcmp(attr[-1].name, attr->name) >= 0)
            return FAIL(diag, STATUS_BAD_PLAN, "attribute '%s' stands after '%s': not in order", attr->name,
                        attr[-1].name);
    }
    return STATUS_OK;
}
