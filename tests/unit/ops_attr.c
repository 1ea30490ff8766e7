#include "ops/attr.h"
#include "test.h"

static Arena arena;

static AttrList sample(void) {
    static const int64_t pads[] = {1, 2, -3};
    static const float scales[] = {0.5f, -0.0f};
    static const char *const names[] = {"a", "", "ccc"};
    static float elements[] = {1, 2, 3, 4, 5, 6};
    Tensor tensor = {.dtype = DTYPE_F32, .rank = 2, .dim = {2, 3}, .data = elements};
    AttrList list = {0};
    CHECK(attr_set_ints(&list, &arena, "pads", pads, 3));
    CHECK(attr_set_int(&list, &arena, "axis", -1));
    CHECK(attr_set_tensor(&list, &arena, "value", &tensor));
    CHECK(attr_set_float(&list, &arena, "epsilon", 1e-5f));
    CHECK(attr_set_strings(&list, &arena, "names", names, 3));
    CHECK(attr_set_string(&list, &arena, "mode", "linear"));
    CHECK(attr_set_floats(&list, &arena, "scales", scales, 2));
    CHECK(attr_set_block(&list, &arena, "body", 7));
    CHECK(attr_set_ints(&list, &arena, "axes", NULL, 0));
    return list;
}

static void check_sorted(const AttrList *list) {
    for (int32_t i = 1; i < list->count; ++i) CHECK(strcmp(list->items[i - 1].name, list->items[i].name) < 0);
}

static void test_access(void) {
    AttrList list = sample();
    Diag diag = {0};
    check_sorted(&list);
    CHECK_INT(list.count, 9);
    int64_t integer;
    float real;
    const char *text;
    const int64_t *integers;
    const float *reals;
    const char *const *words;
    const Tensor *tensor;
    int32_t count;
    CHECK_OK(attr_int(&list, "axis", 5, &integer, &diag), &diag);
    CHECK_INT(integer, -1);
    CHECK_OK(attr_int(&list, "absent", 5, &integer, &diag), &diag);
    CHECK_INT(integer, 5);
    CHECK_OK(attr_float(&list, "epsilon", 0, &real, &diag), &diag);
    CHECK_NEAR(real, 1e-5f, 0);
    CHECK_OK(attr_float(&list, "absent", 2, &real, &diag), &diag);
    CHECK_NEAR(real, 2, 0);
    CHECK_OK(attr_string(&list, "mode", "nearest", &text, &diag), &diag);
    CHECK_STR(text, "linear");
    CHECK_OK(attr_string(&list, "absent", "nearest", &text, &diag), &diag);
    CHECK_STR(text, "nearest");
    CHECK_OK(attr_ints(&list, "pads", &integers, &count, &diag), &diag);
    CHECK(count == 3 && integers[0] == 1 && integers[2] == -3);
    CHECK_OK(attr_ints(&list, "axes", &integers, &count, &diag), &diag);
    CHECK(count == 0 && integers != NULL);
    CHECK_OK(attr_ints(&list, "absent", &integers, &count, &diag), &diag);
    CHECK(count == -1 && integers == NULL);
    CHECK_OK(attr_floats(&list, "scales", &reals, &count, &diag), &diag);
    CHECK(count == 2 && reals[0] == 0.5f);
    CHECK_OK(attr_strings(&list, "names", &words, &count, &diag), &diag);
    CHECK_INT(count, 3);
    CHECK_STR(words[2], "ccc");
    CHECK_OK(attr_tensor(&list, "value", &tensor, &diag), &diag);
    CHECK(tensor != NULL && tensor->dim[1] == 3 && ((float *)tensor->data)[5] == 6);
    CHECK_OK(attr_tensor(&list, "absent", &tensor, &diag), &diag);
    CHECK(tensor == NULL);
    CHECK_INT(attr_find(&list, "body")->ints[0], 7);
    CHECK(attr_find(&list, "absent") == NULL);
}

static void test_wrong_kinds(void) {
    AttrList list = sample();
    Diag diag = {0};
    int64_t integer;
    float real;
    const int64_t *integers;
    int32_t count;
    CHECK(attr_int(&list, "mode", 0, &integer, &diag) == STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "attribute 'mode' is a string, expected an int");
    diag_clear(&diag);
    CHECK(attr_ints(&list, "axis", &integers, &count, &diag) == STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "attribute 'axis' is an int, expected a list of ints");
    diag_clear(&diag);
    CHECK(attr_float(&list, "value", 0, &real, &diag) == STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "attribute 'value' is a tensor, expected a float");
    diag_clear(&diag);
    CHECK(attr_int_in(&list, "axis", 0, 0, 3, &integer, &diag) == STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "attribute 'axis' is -1, expected a value from 0 to 3");
    diag_clear(&diag);
    CHECK_OK(attr_int_in(&list, "axis", 0, -1, 3, &integer, &diag), &diag);
}

static void test_changes(void) {
    AttrList list = sample(), copy = {0};
    CHECK(attr_copy(&list, &copy, &arena));
    CHECK(attr_equal(&list, &copy));
    CHECK(copy.items[0].name != list.items[0].name);
    CHECK(attr_set_int(&copy, &arena, "axis", 2));
    CHECK_INT(copy.count, 9);
    CHECK(!attr_equal(&list, &copy));
    CHECK_INT(attr_find(&list, "axis")->ints[0], -1);
    CHECK(attr_set_int(&copy, &arena, "axis", -1));
    CHECK(attr_equal(&list, &copy));
    CHECK(attr_set_int(&copy, &arena, "zeta", 1));
    CHECK_INT(copy.count, 10);
    check_sorted(&copy);
    CHECK(!attr_equal(&list, &copy));
    attr_remove(&copy, "zeta");
    attr_remove(&copy, "zeta");
    CHECK(attr_equal(&list, &copy));
    CHECK(attr_set_float(&copy, &arena, "axis", -1)); /* another kind replaces too */
    CHECK_INT(attr_find(&copy, "axis")->kind, ATTR_FLOAT);
    const float positive[] = {0.5f, 0.0f};
    CHECK(attr_copy(&list, &copy, &arena) && attr_set_floats(&copy, &arena, "scales", positive, 2));
    CHECK(!attr_equal(&list, &copy)); /* 0.0 is not -0.0 */
    AttrList many = {0};
    for (int i = 0; i < 500; ++i) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i * 7919 % 500);
        CHECK(attr_set_int(&many, &arena, name, i));
    }
    CHECK_INT(many.count, 500);
    check_sorted(&many);
}

static ByteWriter written(const AttrList *list) {
    ByteWriter writer = byte_writer(&arena);
    attr_write(list, &writer);
    CHECK(!writer.failed);
    return writer;
}

static void test_bytes(void) {
    AttrList list = sample(), back, empty = {0};
    Diag diag = {0};
    ByteWriter writer = written(&list);
    ByteReader reader = byte_reader(writer.data, writer.size);
    CHECK_OK(attr_read(&reader, &arena, &back, &diag), &diag);
    CHECK_INT(reader.position, writer.size);
    CHECK(attr_equal(&list, &back));
    writer = written(&empty);
    reader = byte_reader(writer.data, writer.size);
    CHECK_OK(attr_read(&reader, &arena, &back, &diag), &diag);
    CHECK_INT(back.count, 0);
}

/* Reads changed bytes; whatever is accepted must be a valid list. */
static Status read_changed(const uint8_t *bytes, size_t size, AttrList *out) {
    Diag diag = {0};
    ByteReader reader = byte_reader(bytes, size);
    Status status = attr_read(&reader, &arena, out, &diag);
    CHECK(status == diag.status);
    CHECK(status == STATUS_OK || status == STATUS_BAD_PLAN);
    if (status == STATUS_OK) check_sorted(out);
    return status;
}

static void test_hostile_bytes(void) {
    AttrList list = sample(), out;
    ByteWriter writer = written(&list);
    uint8_t *bytes = malloc(writer.size);
    for (size_t size = 0; size < writer.size; ++size) {
        memcpy(bytes, writer.data, size);
        CHECK(read_changed(bytes, size, &out) == STATUS_BAD_PLAN);
    }
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    int refused = 0;
    for (size_t at = 0; at < writer.size; ++at) {
        for (size_t v = 0; v < sizeof values; ++v) {
            memcpy(bytes, writer.data, writer.size);
            bytes[at] = values[v];
            size_t before = arena.total;
            refused += read_changed(bytes, writer.size, &out) != STATUS_OK;
            CHECK(arena.total - before < 64 * writer.size);
        }
    }
    CHECK(refused > 300);
    free(bytes);
}

static void check_refused(const AttrList *list, const char *text) {
    ByteWriter writer = written(list);
    ByteReader reader = byte_reader(writer.data, writer.size);
    AttrList out;
    Diag diag = {0};
    CHECK(attr_read(&reader, &arena, &out, &diag) == STATUS_BAD_PLAN);
    CHECK_STR(diag.text, text);
}

static void test_refusals(void) {
    int64_t two[] = {1, 2}, huge = (int64_t)INT32_MAX + 1;
    uint64_t handle = 1;
    Tensor strings = {.dtype = DTYPE_STRING, .rank = 0, .data = &handle};
    Attr items[] = {{.name = "b", .kind = ATTR_INT, .count = 1, .ints = two},
                    {.name = "a", .kind = ATTR_INT, .count = 1, .ints = two}};
    check_refused(&(AttrList){.count = 2, .items = items}, "attribute 'a' stands after 'b': not in order");
    items[1].name = "b";
    check_refused(&(AttrList){.count = 2, .items = items}, "attribute 'b' stands after 'b': not in order");
    items[0].count = 2;
    check_refused(&(AttrList){.count = 1, .items = items},
                  "attribute 'b' claims 2 elements with 16 bytes left");
    items[0] = (Attr){.name = "b", .kind = ATTR_BLOCK, .count = 1, .ints = &huge};
    check_refused(&(AttrList){.count = 1, .items = items}, "attribute 'b' names body 2147483648");
    items[0] = (Attr){.name = "b", .kind = (AttrKind)9, .count = 0, .ints = two};
    check_refused(&(AttrList){.count = 1, .items = items},
                  "attribute 'b' is of kind 9, which does not exist");
    items[0] = (Attr){.name = "b", .kind = ATTR_TENSOR, .count = 1, .tensor = &strings};
    check_refused(&(AttrList){.count = 1, .items = items}, "attribute 'b': a tensor of dtype 8 and rank 0");
}

static void test_no_memory(void) {
    AttrList list = sample();
    ByteWriter writer = written(&list);
    int whole = 0;
    for (uint64_t n = 1; n < 40; ++n) {
        Allocator allocator = {.fail_at = n};
        Arena small;
        AttrList copy = {0}, back;
        Diag diag = {0};
        arena_init(&small, &allocator);
        ByteReader reader = byte_reader(writer.data, writer.size);
        bool complete = attr_read(&reader, &small, &back, &diag) == STATUS_OK;
        CHECK(complete || diag.status == STATUS_NO_MEMORY);
        for (int i = 0; complete && i < 1000; ++i) complete = attr_copy(&back, &copy, &small);
        if (complete) CHECK(attr_equal(&list, &copy));
        whole += complete;
        arena_reset(&small);
    }
    CHECK(whole > 0 && whole < 39);
}

int main(void) {
    test_access();
    test_wrong_kinds();
    test_changes();
    test_bytes();
    test_hostile_bytes();
    test_refusals();
    test_no_memory();
    arena_reset(&arena);
    return test_result();
}
