/* The one neutral encoding of attributes: the importer produces it, IR text shows it, plans carry it, and one
 * parser per operator turns it into the operator's own struct. */
#ifndef SMELT_OPS_ATTR_H
#define SMELT_OPS_ATTR_H

#include "base/bytes.h"
#include "base/tensor.h"

typedef enum AttrKind {
    ATTR_INT = 1,
    ATTR_FLOAT,
    ATTR_STRING,
    ATTR_TENSOR,
    ATTR_BLOCK, /* a body graph: ints[0] is the block's id in its graph, or the sub-program's in a plan */
    ATTR_INTS,
    ATTR_FLOATS,
    ATTR_STRINGS
} AttrKind;

typedef struct Attr {
    const char *name;
    AttrKind kind;
    int32_t count; /* elements; 1 for the scalar kinds */
    union {
        const int64_t *ints;
        const float *floats;
        const char *const *strings;
        const Tensor *tensor;
    };
} Attr;

typedef struct AttrList {
    int32_t count;
    Attr *items;      /* sorted by name, no name twice */
    int32_t capacity; /* of items, for attr_set_*; zero is always right */
} AttrList;

const Attr *attr_find(const AttrList *list, const char *name); /* NULL when absent */

/* Typed access for the parsers: *out gets the attribute or, when it is absent, the default; a wrong kind
 * fails with BAD_MODEL "attribute 'axis' is a string, expected an int". */
Status attr_int(const AttrList *list, const char *name, int64_t fallback, int64_t *out, Diag *diag);
Status attr_float(const AttrList *list, const char *name, float fallback, float *out, Diag *diag);
Status attr_string(const AttrList *list, const char *name, const char *fallback, const char **out,
                   Diag *diag);
/* *values is NULL and *count -1 when absent. The values stay the list's. */
Status attr_ints(const AttrList *list, const char *name, const int64_t **values, int32_t *count, Diag *diag);
Status attr_floats(const AttrList *list, const char *name, const float **values, int32_t *count, Diag *diag);
Status attr_strings(const AttrList *list, const char *name, const char *const **values, int32_t *count,
                    Diag *diag);
Status attr_tensor(const AttrList *list, const char *name, const Tensor **out,
                   Diag *diag); /* NULL when absent */
/* Like attr_int, and fails unless low <= value <= high. */
Status attr_int_in(const AttrList *list, const char *name, int64_t fallback, int64_t low, int64_t high,
                   int64_t *out, Diag *diag);

/* Inserts or replaces, copying name and values into arena; keeps the order. False: out of memory. */
bool attr_set_int(AttrList *list, Arena *arena, const char *name, int64_t value);
bool attr_set_float(AttrList *list, Arena *arena, const char *name, float value);
bool attr_set_string(AttrList *list, Arena *arena, const char *name, const char *value);
bool attr_set_ints(AttrList *list, Arena *arena, const char *name, const int64_t *values, int32_t count);
bool attr_set_floats(AttrList *list, Arena *arena, const char *name, const float *values, int32_t count);
bool attr_set_strings(AttrList *list, Arena *arena, const char *name, const char *const *values,
                      int32_t count);
bool attr_set_tensor(AttrList *list, Arena *arena, const char *name,
                     const Tensor *value); /* data is shared */
bool attr_set_block(AttrList *list, Arena *arena, const char *name, int32_t block);
void attr_remove(AttrList *list, const char *name);
/* A deep copy but for tensor data. False: out of memory. */
bool attr_copy(const AttrList *from, AttrList *to, Arena *arena);
bool attr_equal(const AttrList *a, const AttrList *b);

/* Bytes for plans (plan_format/FORMAT.md, ATTRIBUTES) and back; reading fails with BAD_PLAN. */
void attr_write(const AttrList *list, ByteWriter *writer);
Status attr_read(ByteReader *reader, Arena *arena, AttrList *out, Diag *diag);

#endif
