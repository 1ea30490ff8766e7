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
    PLAN_MINOR = 4,
    PLAN_ALIGNMENT = 256,        /* of WEIGHTS in the file, and of buffers in the arena */
    PLAN_WEIGHT_ALIGNMENT = 64,  /* of each constant in WEIGHTS */
    PLAN_MAX_DEPTH = 32,         /* of bodies within bodies */
    PLAN_MAX_THREADS = 1024,     /* of a block, on every architecture */
    PLAN_MAX_SHARED = 227 << 10, /* bytes of a block, on the architecture with the most */
    PLAN_MAP_RANK = 5,           /* of a tensor map */
    PLAN_MAP_AXES = 3,           /* of the windows of one */
    PLAN_MAP_BYTES = 128,        /* of one as a kernel's parameter */
    PLAN_MAX_COUNTS = 16,        /* late symbols that one step on the device finds */
    PLAN_CALL_RANK = 5,          /* of an operand of a library call */
    PLAN_CALL_AXES = 3,          /* of the windows of one */
    PLAN_CALL_AFTER = 4          /* operations behind its product */
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
    PLAN_OWN,     /* the context's own memory for this value (its size depends on data; on the device too,
                     where launches use it); a body's parameter */
    PLAN_NOWHERE  /* inside a fused kernel: never in memory */
} PlanStorage;

typedef struct PlanValue {
    const char *name;
    int32_t dtype, rank;
    PlanDim dim[SMELT_MAX_RANK];
    int32_t storage; /* PlanStorage */
    int32_t index;
    PlanDim offset;
    /* Of values that only launches touch: on the host every value is row-major and dense. */
    bool channels_last; /* elements in the order [N, spatial..., C] */
    PlanDim span; /* bytes from its first to behind its last, where it is a slice of a larger one; else 0 */
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

/* A kernel's machine code for one architecture. */
typedef struct PlanCubin {
    int32_t sm;          /* 90: compute capability 9.0 */
    bool accelerated;    /* "sm_90a": runs on GPUs of exactly this sm; else on later ones of its major too */
    const uint8_t *data; /* an ELF image, in the file's KERNELS section; nothing: not used there */
    uint32_t size;
} PlanCubin;

typedef struct PlanKernel {
    const char *entry;                /* name of the kernel in each of its cubins, which hold nothing else */
    int32_t param_count;              /* each of 8 bytes, maps of PLAN_MAP_BYTES */
    int32_t cubin_first, cubin_count; /* one per architecture of the plan, every kernel in the same order */
} PlanKernel;

typedef enum PlanArgKind {
    PLAN_ARG_VALUE,   /* pointer to a value's memory on the device */
    PLAN_ARG_NUMBER,  /* a signed integer of 64 bits */
    PLAN_ARG_SCRATCH, /* pointer into the step's scratch memory */
    PLAN_ARG_MAP      /* tensor map of a value's memory, read only */
} PlanArgKind;

/* How the copy engine of sm_90 and later sees a value: dimensions fastest first. It reads elements of the
 * map's dimensions only, and zeros beside them. */
typedef struct PlanMap {
    int32_t rank;    /* 3 to PLAN_MAP_RANK */
    int32_t swizzle; /* bytes of a line in shared memory: 32, 64 or 128 */
    bool windows;    /* dimensions are (channel, x, y.., image); copies are of windows */
    PlanDim dim[PLAN_MAP_RANK];
    PlanDim stride[PLAN_MAP_RANK - 1]; /* bytes from one to the next of dimension i + 1 */
    int32_t box[PLAN_MAP_RANK]; /* elements of a copy; windows: box[0] channels, box[1] windows, then 0 */
    /* windows: distance of two, where the first begins, and the last counted from the last element. */
    int32_t step[PLAN_MAP_AXES], low[PLAN_MAP_AXES], high[PLAN_MAP_AXES];
} PlanMap;

typedef struct PlanArg {
    int32_t kind;   /* PlanArgKind */
    int32_t value;  /* of VALUE and MAP; else -1 */
    bool written;   /* of VALUE */
    PlanDim number; /* of NUMBER: any integer; of SCRATCH: bytes from its start; of MAP: which; else 0 */
} PlanArg;

/* Libraries that may be called: cuBLASLt for products of matrices, cuDNN for convolutions. */
typedef enum PlanLibrary {
#define LIBRARY(id, key, name, variable, version, file, older) PLAN_##id,
#include "plan_format/libraries.def"
#undef LIBRARY
    PLAN_LIBRARIES
} PlanLibrary;

/* What is done behind the product, element by element. */
typedef enum PlanAfter {
    PLAN_AFTER_NONE,
#define AFTER(id, name, cudnn, cublaslt) PLAN_AFTER_##id,
#include "plan_format/after.def"
#undef AFTER
    PLAN_AFTER_COUNT
} PlanAfter;

/* A tensor as a library sees it. */
typedef struct PlanOperand {
    int32_t dtype, rank;
    int64_t dim[PLAN_CALL_RANK];    /* batch, rows, columns; image, channel, spatial axes */
    int64_t stride[PLAN_CALL_RANK]; /* elements */
} PlanOperand;

/* Operands are the two factors (of a convolution its input and weights), what is added in order, the result.
 * Groups are what the channels of input and weights say. */
typedef struct PlanCall {
    int32_t library; /* PlanLibrary */
    int32_t
        choice; /* of the ways that the library offers for it within the workspace, its best guess first */
    bool tf32;  /* f32 operands may be rounded to TF32 */
    int32_t operand_first, operand_count;
    int32_t after[PLAN_CALL_AFTER]; /* PlanAfter */
    int32_t step[PLAN_CALL_AXES], dilation[PLAN_CALL_AXES], low[PLAN_CALL_AXES], high[PLAN_CALL_AXES];
    int64_t workspace; /* bytes of scratch memory that it may use */
} PlanCall;

/* Of a call: -1 - its number as the kernel; a grid and block of 1; as arguments the operands, then, where it
 * has one, its workspace. */
typedef struct PlanLaunch {
    int32_t kernel;
    int32_t block[3];     /* threads */
    PlanDim grid[3];      /* blocks; nothing is launched where one is 0 */
    int32_t shared_bytes; /* dynamic */
    int32_t arg_count;
    int32_t arg_first; /* in args; launches divide them in order */
    bool together;     /* blocks wait for each other: as many along x as run at one time, at most so many */
} PlanLaunch;

typedef enum PlanStepKind {
    PLAN_STEP_HOST,  /* runs its ops one after another through the host kernels */
    PLAN_STEP_LAUNCH /* runs its launches in order on the device, to the same effect as its ops. Without
                        launches: its ops are views, nothing runs. Late symbols that it binds are at the
                        start of its scratch memory, i64 each, in front of its first launch that writes a
                        late value or has a number of them */
} PlanStepKind;

typedef struct PlanStep {
    const char *name; /* "conv+bias+relu" */
    int32_t kind;     /* PlanStepKind */
    int32_t op_first, op_count;
    bool late;                          /* some output dimension is known only once the step runs */
    int32_t launch_first, launch_count; /* of LAUNCH; steps divide the launches in order; else 0 and 0. On
                                           the first architecture, where there are arch_steps */
    PlanDim scratch_bytes;              /* device memory that its launches share while it runs */
    /* In a GPU plan, why a HOST step is one ("no tactic: ..."), or how a LAUNCH step was chosen ("conv_tiles
     * 64,64,16 (measured, 21.8 us)"); from DEBUG, "" without it. */
    const char *reason;
} PlanStep;

/* What a LAUNCH step does on one architecture of several; else nothing. */
typedef struct PlanArchStep {
    int32_t launch_first, launch_count;
    PlanDim scratch_bytes;
} PlanArchStep;

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
        op_count, step_count, program_count, cubin_count, kernel_count, launch_count, arg_count, map_count,
        call_count, operand_count, arch_step_count;
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
    PlanCubin *cubins; /* these seven are empty but in GPU plans */
    PlanKernel *kernels;
    PlanLaunch *launches;
    PlanArg *args;
    PlanMap *maps; /* arguments of kind MAP have them in order */
    PlanCall *calls;
    PlanOperand *operands; /* calls divide them in order */
    /* Where launches are not the same on all architectures: of each step, in order, one for each architecture
     * but the first, whose launches the step has itself. Else none. */
    PlanArchStep *arch_steps;
    int64_t arena_size, arena_lower_bound;
    bool fixed;             /* buffers' offsets hold for every allowed shape */
    const uint8_t *weights; /* aligned to 64 bytes at least */
    uint64_t weights_size;
} Plan;

const char *plan_meta(const Plan *plan, const char *key); /* NULL when absent */
/* Value of a PlanDim for symbol values (-1 = unknown). False: unknown or overflow. */
bool plan_dim_eval(const Plan *plan, PlanDim d, const int64_t *symbols, int64_t *out);
/* META's target is "cuda". */
bool plan_is_cuda(const Plan *plan);
/* Text of a PlanDim in arena; NULL: out of memory. */
const char *plan_dim_print(const Plan *plan, PlanDim d, Arena *arena);
/* A symbol of kind SYMBOL_LATE takes part. */
bool plan_dim_is_late(const Plan *plan, PlanDim d);
/* Index of the symbol that d is, alone; -1 when d is anything else. */
int32_t plan_dim_symbol(const Plan *plan, PlanDim d);
/* Some dim of the value is late. */
bool plan_value_is_late(const Plan *plan, int32_t value);
/* A step of program 0 binds the late symbols that are, alone, a dim of a result of its operators, unless an
 * earlier step has. Marks them in bound (per symbol) and lists the first PLAN_MAX_COUNTS, in order of
 * appearance; returns how many there are. */
int32_t plan_step_binds(const Plan *plan, const PlanStep *step, bool *bound, int32_t list[PLAN_MAX_COUNTS]);

/* Of the plan's kernels; 0: it has none. */
int32_t plan_arch_count(const Plan *plan);
/* Of launches: the architectures' number where they do not have the same, else 1. */
int32_t plan_variant_count(const Plan *plan);
/* What a step does on architecture number arch. */
PlanArchStep plan_step_on(const Plan *plan, int32_t step, int32_t arch);
/* Makes what steps do on one architecture what they do at all. */
void plan_choose_arch(Plan *plan, int32_t arch);

/* Bytes from the first to behind the last element that a map with these numbers reads; -1: none, or more than
 * fit in 63 bits. */
int64_t plan_map_bytes(const PlanMap *map, int64_t element, const int64_t dim[PLAN_MAP_RANK],
                       const int64_t stride[PLAN_MAP_RANK - 1]);

/* Bytes from the first to behind the last element; -1: more than fit in 63 bits. */
int64_t plan_operand_bytes(const PlanOperand *operand);
/* A row that is added to all rows of the result. */
bool plan_operand_is_vector(const PlanOperand *operand, const PlanOperand *result);
/* What is wrong with a call, or NULL: its numbers and those of its operands, not what a plan says around it.
 */
const char *plan_call_refusal(const PlanCall *call, const PlanOperand *operands);
/* A library can do it behind a product. */
bool plan_after_fits(PlanLibrary library, int32_t after);
/* The version of a library that the plan was made with, from META; NULL: it names none. */
const char *plan_library_version(const Plan *plan, PlanLibrary library);
/* The kernel's entry, or the library's key. */
const char *plan_launch_name(const Plan *plan, int32_t launch);

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
