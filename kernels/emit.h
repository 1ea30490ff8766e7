/* Writing the translation unit of one kernel launch, with its arguments and geometry.
 *
 * Device code is templates in kernels/cuda/<family>.cuh; a unit includes them and holds one extern "C" kernel
 * of a few lines that calls a template with the problem's numbers. Exact dimensions become literals, symbolic
 * ones become kernel parameters whose expressions the plan stores. A kernel parameter is 8 bytes, a pointer
 * or a signed 64-bit integer, or 128 bytes, a tensor map. */
#ifndef SMELT_KERNELS_EMIT_H
#define SMELT_KERNELS_EMIT_H

#include "base/bytes.h"
#include "kernels/problem.h"
#include "plan_format/plan.h"

typedef enum KernelArgKind {
    KERNEL_ARG_VALUE,
    KERNEL_ARG_NUMBER,
    KERNEL_ARG_SCRATCH,
    KERNEL_ARG_MAP
} KernelArgKind;

enum { MAP_MAX_RANK = 5, MAP_WINDOW_AXES = 3 };

/* A value as the copy engine of sm_90 and later sees it. Dimensions fastest first; see cuTensorMapEncodeTiled
 * and cuTensorMapEncodeIm2col of the CUDA Driver API. */
typedef struct KernelMap {
    ValueId value;
    bool channels_last;    /* of a constant that lies plainly: its copy in channels-last order, of a matrix
                              with columns behind each other */
    int32_t rank, swizzle; /* bytes of a line, 32, 64 or 128 */
    Dim dim[MAP_MAX_RANK], stride[MAP_MAX_RANK]; /* elements; stride[0] is 1; strides in elements */
    int32_t box[MAP_MAX_RANK];                   /* elements of a copy along each dimension */
    /* windows: dimensions are (channel, x, y.., image), and a copy is of `pixels` windows with box[0]
     * channels each, a step apart. The first window begins at low, the last at extent - 1 + high. */
    bool windows;
    int32_t pixels, step[MAP_WINDOW_AXES], low[MAP_WINDOW_AXES], high[MAP_WINDOW_AXES];
} KernelMap;

typedef struct KernelArg {
    KernelArgKind kind;
    ValueId value; /* KERNEL_ARG_VALUE */
    bool written;
    bool turned;       /* of a constant that lies plainly: its copy in channels-last order */
    bool in_any_order; /* of a constant: as others want it, turned or not */
    Dim number; /* KERNEL_ARG_NUMBER: the integer; KERNEL_ARG_SCRATCH: byte offset into the step's scratch
                   memory */
    const KernelMap *map; /* KERNEL_ARG_MAP */
} KernelArg;

/* Instead of a kernel, a library: the operands are arguments in order, then, where it has one, the workspace.
 */
enum { CALL_OPERANDS = 3 + PLAN_CALL_AFTER };
typedef struct KernelCall {
    PlanCall call; /* but for operand_first */
    PlanOperand operands[CALL_OPERANDS];
} KernelCall;

typedef struct KernelLaunch {
    const KernelCall *call; /* NULL: of a kernel, as what follows says */
    const char *entry;  /* name of the kernel in its cubin; derived from the source, so that equal units share
                           a cubin */
    const char *source; /* the whole translation unit */
    Dim grid[3];        /* blocks; a launch whose grid has a zero is skipped */
    int32_t block[3];   /* threads */
    int32_t shared_bytes; /* dynamic shared memory */
    bool together;        /* see kernel_together */
    int32_t arg_count;
    KernelArg *args;
} KernelLaunch;

enum { EMISSION_LAUNCHES = 16 };

/* What a tactic makes of a problem: launches in order, with scratch memory shared by them. */
typedef struct Emission {
    Arena *arena;
    Graph *graph; /* dims are built in its table; nothing else of it changes */
    const Problem *problem;
    Diag *diag;
    int32_t launch_count;
    KernelLaunch launches[EMISSION_LAUNCHES];
    Dim scratch_bytes; /* of the whole step; 0 = none */
    /* Moments of the channels of the anchor's result, for a normalisation in the step behind it, in
     * scratch memory: f32 mean and sum of squares of differences from it, [batch, parts, channels, 2],
     * then counts of elements, [batch, parts]. Numbers of parts, 0 for none: those that the kernels leave
     * there for the next step (at most what Tactic.moment_parts says), and those that they find there, and
     * where in scratch memory; those that are read must stay until the step's end. */
    int64_t leaves_parts, finds_parts;
    int64_t leaves_at, finds_at; /* bytes; leaves_at is the tactic's to say (sum_moments of sums_text.h) */
    int64_t found_bytes;         /* of moments that the kernels with leaves_parts read at finds_at */
    /* A constant that a step behind reads as a whole, so many bytes of it, 0 for none: kernels may ask for it
     * to come to L2 while they wait for the kernel in front. */
    ValueId ahead;
    int64_t ahead_bytes;
} Emission;

typedef struct KernelWriter KernelWriter;

/* One at a time: begin, add text and parameters, finish. family names the entry ("conv_direct"). NULL: out of
 * memory. */
KernelWriter *kernel_begin(Emission *emission, const char *family);

/* Parameters, found or added; the text to use in the body. Names stay valid for the emission's arena. Never
 * NULL: after an allocation failure they return "" and kernel_finish fails. */
const char *kernel_pointer(KernelWriter *w, ValueId value); /* "p0", a const T *__restrict__ */
const char *kernel_turned(KernelWriter *w,
                          ValueId value); /* "p0", a constant's elements in channels-last order */
const char *kernel_in_any_order(KernelWriter *w, ValueId value); /* "p0", a constant's in that of others */
const char *kernel_result(KernelWriter *w, ValueId value);       /* "r0", a T * that is written */
const char *kernel_number(KernelWriter *w, Dim d);               /* "56" or "n0" (of type Index) */
const char *kernel_scratch(KernelWriter *w, Dim offset, const char *type); /* "s0", a type * into scratch */
const char *kernel_map(KernelWriter *w,
                       const KernelMap *map); /* "m0", a const TensorMap of wgmma.cuh; copied */
/* Dimension i of a value's shape, and its number of elements. */
const char *kernel_dim(KernelWriter *w, ValueId value, int32_t i);
const char *kernel_count(KernelWriter *w, ValueId value);
/* Text of the index of the element of `value`, broadcast to `shape`, that goes with element number `index`
 * (text, an Index without side effects) of that shape: "quotient(i, 49)". */
const char *kernel_broadcast_index(KernelWriter *w, ValueId value, const Shape *shape, const char *index);

/* "smelt/<file>" of kernels/cuda; each once. core.cuh is always there. */
void kernel_include(KernelWriter *w, const char *file);
/* A line of text before the kernel (structs, functions), and in its body. All is in namespace smelt. */
void kernel_declare(KernelWriter *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void kernel_line(KernelWriter *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "float", "smelt_half", "smelt_bf16", "signed char", ..., as core.cuh defines them. */
const char *cuda_type(DType dtype);
/* The type to compute in: "float" ("double" for f64), "long long", "unsigned long long". */
const char *cuda_compute_type(DType dtype);
/* The type that registers hold an element in between operators: "float" for narrow floats, "bool", "signed
 * char". */
const char *cuda_register_type(DType dtype);
/* NULL where kernels can read and write elements of the type, else why not. */
const char *cuda_type_refusal(DType dtype);
/* Element `index` of constant data as an expression of the type that registers hold it in: "0x1.8p+1f",
 * "(signed char)3", "true". NULL: out of memory. */
const char *cuda_literal(Arena *arena, DType dtype, const void *data, int64_t index);
/* A number in a compute type's notation, infinities and NaN too: "0x1p-1f" ("0x1p-1" unless narrow). */
const char *cuda_real_literal(Arena *arena, double value, bool narrow);

/* Declares `struct Epilogue`, the pointwise nodes behind the anchor as a function object:
 *     template <class A> __device__ void operator()(Index i, A x) const
 * takes element i (row-major in the anchor's output 0) of the anchor's result in the compute type A, applies
 * the chain and stores what leaves the region (through its members). Returns the text that constructs it in
 * the body, "Epilogue{p3, r0}". With no pointwise nodes it stores x as convert<T>(x). Other outputs of the
 * anchor are the tactic's to store. */
const char *kernel_epilogue(KernelWriter *w);
/* The same for `lanes` consecutive elements from number i on, in two parts: reads can be under way before the
 * anchor's results are there.
 *     struct Operands
 *     void prefetch(Index i) const
 *     void read(Index i, Operands &o) const
 *     void write(Index i, const float (&x)[lanes], const Operands &o) const
 * i is a multiple of lanes, which divides the last dimension in memory of the anchor's result. */
const char *kernel_pack_epilogue(KernelWriter *w, int32_t lanes);
/* With a pool behind the anchor the elements are those of the pool's result, in squeeze-and-excite those of
 * its last node. Declares `struct Between`, the pointwise nodes between the anchor and the pool, or between
 * the two contractions: typedef ... Element template <class A> __device__ Element operator()(Index i, A x)
 * const gives element i of what the pool (the second contraction) reads, numbered in the order of the
 * anchor's (the first one's) output 0, from the result there. */
const char *kernel_between(KernelWriter *w);
/* The same, `struct Normalized`, from the result of a normalisation of planes in front of the anchor
 * (planes_text.h) to what the anchor reads. */
const char *kernel_normalized(KernelWriter *w);
/* The same, `struct Scales`, from the second contraction's result to what scales the anchor's input. */
const char *kernel_scales(KernelWriter *w);
/* The same, `struct Within`, from the second of three contractions to what the third reads; in their step
 * kernel_between is from the first to the second. */
const char *kernel_within(KernelWriter *w);
enum { EPILOGUE_LANES = 8 };
/* EPILOGUE_LANES where so many elements can be taken at a time, else 1. */
int32_t problem_epilogue_lanes(const Problem *problem);
/* Whether all that the step reads and writes can be accessed as vectors. */
bool problem_is_aligned(const Problem *problem);
/* The elements of the anchor's input 0, numbered in the order of its layout, as an argument of device code
 * that is read with load_as and its like (core.cuh): "p0" where they lie in memory one behind the other.
 * Otherwise declares and constructs a function object: of an operand that lies otherwise, or `struct
 * Prologue`, of the nodes in front of the anchor. Where the value leaves the region, load_first computes and
 * stores it, once for each element and before load_as reads it in the same thread. */
const char *kernel_prologue(KernelWriter *w);
/* The same for `lanes` consecutive elements from number i on, in two parts:
 *     struct Operands
 *     void read(Index i, Operands &o) const
 *     void value(Index i, const Operands &o, float (&x)[lanes]) const
 * i as for kernel_pack_epilogue. Where the value leaves the region, value() stores it as well. */
const char *kernel_pack_prologue(KernelWriter *w, int32_t lanes);
const char *problem_prologue_refuses(const Problem *problem);
/* Whether what the prologue computes is also a result of the step. */
bool problem_prologue_leaves(const Problem *problem);
/* Why the nodes behind the anchor cannot be an Epilogue, or NULL. tactic_choose asks this before any tactic.
 */
const char *problem_epilogue_refuses(const Problem *problem);

/* Blocks of a grid-stride loop over count elements that takes per_block of them in each block at a time; 0
 * for none. */
Dim kernel_grid_for(Emission *emission, Dim count, int32_t per_block);

/* Blocks that share a multiprocessor, which bounds the registers of a thread; blocks of a cluster along x, 1
 * unless set. Kernels whose warps give each other registers (registers_from of wgmma.cuh) say even that it is
 * 1, or the compiler ignores it. */
void kernel_resident(KernelWriter *w, int32_t blocks);
void kernel_cluster(KernelWriter *w, int32_t blocks);
/* All blocks run at one time, so that they may wait for each other (grid_meet of wgmma.cuh). Where the device
 * has no room for so many, the launch has as many as fit, along x: the kernel must do with fewer. */
void kernel_together(KernelWriter *w);
/* The body calls wait_for_previous_kernel (core.cuh) itself, once it has done what needs no memory; other
 * kernels begin with it. */
void kernel_waits(KernelWriter *w);

enum { MOST_GRID_YZ = 65535 /* blocks of a grid along y, and along z */ };
/* Adds the launch to the emission (none where the grid is exactly empty). Index is 32-bit where no value and
 * no number that the kernel uses can reach 2^30, so that a grid-stride loop cannot overflow it. grid_y and
 * grid_z are at most MOST_GRID_YZ. Pointers are __restrict__ unless a result may lie in the memory of an
 * input that is used up here, element upon element: then no thread may read an element that another may have
 * written. */
Status kernel_finish(KernelWriter *w, Dim grid_x, Dim grid_y, Dim grid_z, int32_t threads,
                     int32_t shared_bytes);

#endif
