/* A plan in memory: what FORMAT.md describes, with every index checked. The compiler fills one and writes it;
 * the runtime reads one and trusts it. */
#ifndef SMELT_PLAN_FORMAT_PLAN_H
#define SMELT_PLAN_FORMAT_PLAN_H

#include "base/bytes.h"
#include "base/dim.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/log.h"

enum {
    PLAN_MAJOR = 1,
    PLAN_MINOR = 0,
    PLAN_ALIGNMENT = 256,       /* of WEIGHTS in the file, and of buffers in the arena */
    PLAN_WEIGHT_ALIGNMENT = 64, /* of each constant in WEIGHTS */
    PLAN_MAX_DEPTH = 32         /* of bodies within bodies */
};

/* A dimension, size or offset: an exact number, or an index into the plan's expressions, encoded like a Dim.
 */
typedef int64_t PlanDim;
static inline int32_t plan_dim_expression(PlanDim d) {
    return dim_is_exact(d) ? -1 : (int32_t)(d - INT64_MIN);
}
static inline PlanDim plan_dim_of_expression(int32_t index) {
    return INT64_MIN + index;
}

typedef struct PlanMeta { /* sorted by key, no key twice */
    const char *key, *value;
} PlanMeta;

typedef struct PlanExpression {
    int32_t first, count; /* in dim_codes */
} PlanExpression;

typedef enum PlanStorage {
    PLAN_WEIGHT,  /* offset bytes into WEIGHTS */
    PLAN_BUFFER,  /* offset bytes into buffer `index` of the arena */
    PLAN_BINDING, /* the caller's memory for binding `index` */
    PLAN_OWN,     /* the context's own memory for this value (its size depends on data); a body's parameter */
    PLAN_NOWHERE  /* inside a fused kernel: never in memory */
} PlanStorage;

typedef struct PlanValue {
    const char *name;
    int32_t dtype, rank;
    PlanDim dim[SMELT_MAX_RANK];
    int32_t storage; /* PlanStorage */
    int32_t index;
    PlanDim offset;
} PlanValue;

typedef struct PlanBuffer {
    PlanDim size;        /* bytes */
    int32_t first, last; /* main-program steps during which it is alive */
    int64_t offset;      /* in the arena; -1 when the plan is not fixed */
    int64_t capacity;    /* bytes kept for it, at least size; 0 when the plan is not fixed */
} PlanBuffer;

typedef struct PlanBinding {
    const char *name;
    int32_t value;
    bool is_output;
} PlanBinding;

/* One operator of a host step. */
typedef struct PlanOp {
    const char *domain, *name; /* as in the operator table */
    int32_t opset;             /* whose meaning it has: the table's `since` */
    int32_t input_count, output_count;
    const int32_t *inputs, *outputs; /* value indices, -1 = omitted */
    const uint8_t *attrs;            /* ops/attr.h bytes; body attributes hold program indices */
    uint32_t attrs_size;
    const char *origins; /* ONNX node names, separated by '\n'; from DEBUG, "" without it */
} PlanOp;

typedef enum PlanStepKind {
    PLAN_STEP_HOST /* runs its ops one after another through the host kernels */
} PlanStepKind;

typedef struct PlanStep {
    const char *name; /* "conv+bias+relu" */
    int32_t kind;     /* PlanStepKind */
    int32_t op_first, op_count;
    bool late; /* some output dimension is known only once the step runs */
} PlanStep;

/* A straight line of steps: program 0 is the model, the others are bodies of control-flow operators. */
typedef struct PlanProgram {
    const char *name;
    int32_t owner; /* the operator whose body this is; -1 for program 0 */
    int32_t param_count, result_count;
    const int32_t *params, *results; /* value indices */
    int32_t step_first, step_count;
} PlanProgram;

typedef struct Plan {
    int32_t major, minor;
    uint64_t size; /* bytes of the file, when it came from one */
    int32_t meta_count, symbol_count, code_count, expression_count, value_count, buffer_count, binding_count,
        op_count, step_count, program_count;
    PlanMeta *meta;
    Symbol *symbols; /* SYMBOL_INPUT ones first */
    DimCode *codes;
    PlanExpression *expressions;
    PlanValue *values;
    PlanBuffer *buffers;
    PlanBinding *bindings; /* inputs first, each group in the model's order */
    PlanOp *ops;
    PlanStep *steps;
    PlanProgram *programs;
    int64_t arena_size, arena_lower_bound;
    bool fixed;             /* buffers' offsets hold for every allowed shape */
    const uint8_t *weights; /* aligned to 64 bytes at least */
    uint64_t weights_size;
} Plan;

const char *plan_meta(const Plan *plan, const char *key); /* NULL when absent */
/* Value of a PlanDim for symbol values (-1 = unknown). False: unknown or overflow. */
bool plan_dim_eval(const Plan *plan, PlanDim d, const int64_t *symbols, int64_t *out);
/* Text of a PlanDim in arena; NULL: out of memory. */
const char *plan_dim_print(const Plan *plan, PlanDim d, Arena *arena);
/* A symbol of kind SYMBOL_LATE takes part. */
bool plan_dim_is_late(const Plan *plan, PlanDim d);
/* Index of the symbol that d is, alone; -1 when d is anything else. */
int32_t plan_dim_symbol(const Plan *plan, PlanDim d);

/* Writes through a temporary file and rename; the same plan gives the same bytes. */
Status plan_write(const Plan *plan, const char *path, Diag *diag);
Status plan_write_bytes(const Plan *plan, ByteWriter *out, Diag *diag);

/* Decodes and verifies a plan in memory (aligned to 8 bytes; it must outlive *out, whose weights point into
 * it). Fails with BAD_PLAN naming section, index and the two numbers that disagree; another major version is
 * refused with both. */
Status plan_read(const void *bytes, size_t size, const char *name, Arena *arena, Plan *out, Diag *diag);

/* Every rule that does not depend on the bytes' form: indices, storage ranges, aliasing of buffers, order of
 * definition and use, expression form. plan_read calls it; the compiler calls it (as an internal check)
 * before writing. scratch is for its tables. */
Status plan_verify(const Plan *plan, Arena *scratch, Diag *diag);

/* For people (`smelt inspect`): summary, bindings, steps with origins, memory map; and as JSON. */
Status plan_print(const Plan *plan, ByteWriter *out, Diag *diag);
Status plan_print_json(const Plan *plan, ByteWriter *out, Diag *diag);
/* `smelt diff`: one line per difference; *differences counts them. */
Status plan_diff(const Plan *a, const Plan *b, ByteWriter *out, int64_t *differences, Diag *diag);

#endif
