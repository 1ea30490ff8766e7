/* Convolutions by cuDNN: a graph of one convolution and the operations behind it, of which the library fuses
 * what it can. Source of the numbers: cudnn_graph.h. */
#include "runtime/libraries.h"

enum {
    TYPE_HANDLE = 0, /* cudnnBackendAttributeType_t */
    TYPE_DATA_TYPE = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INT64 = 3,
    TYPE_FLOAT = 4,
    TYPE_DOUBLE = 5,
    TYPE_POINTER = 6,
    TYPE_CONVOLUTION_MODE = 7,
    TYPE_HEURISTIC = 8,
    TYPE_NUMERICAL_NOTE = 11,
    TYPE_POINTWISE_MODE = 14,
    TYPE_DESCRIPTOR = 15,
    DATA_F32 = 0, /* cudnnDataType_t */
    DATA_F16 = 2,
    DATA_BF16 = 9,
    POINTWISE = 0, /* cudnnBackendDescriptorType_t, each with its attributes */
    POINTWISE_MODE = 0,
    POINTWISE_PRECISION = 1,
    POINTWISE_UPPER_CLIP = 4,
    POINTWISE_SWISH_BETA = 8,
    CONVOLUTION = 1,
    CONVOLUTION_TYPE = 100,
    CONVOLUTION_MODE = 101,
    CONVOLUTION_DILATIONS = 102,
    CONVOLUTION_STEPS = 103,
    CONVOLUTION_HIGH = 104,
    CONVOLUTION_LOW = 105,
    CONVOLUTION_AXES = 106,
    CROSS_CORRELATION = 1,
    ENGINE = 2,
    ENGINE_NOTES = 1303,
    MOST_NOTES = 10,
    NOT_DETERMINISTIC = 4,
    ENGINE_CONFIG = 3,
    CONFIG_ENGINE = 300,
    HEURISTIC = 4,
    HEURISTIC_MODE = 200,
    HEURISTIC_GRAPH = 201,
    HEURISTIC_RESULTS = 202,
    HEURISTIC_MODE_A = 3,
    EXECUTION_PLAN = 5,
    PLAN_HANDLE = 400,
    PLAN_CONFIG = 401,
    PLAN_WORKSPACE = 402,
    CONVOLVE = 10,
    CONVOLVE_ALPHA = 700,
    CONVOLVE_BETA = 701,
    CONVOLVE_CONVOLUTION = 702,
    CONVOLVE_W = 703,
    CONVOLVE_X = 704,
    CONVOLVE_Y = 705,
    APPLY = 13,
    APPLY_POINTWISE = 750,
    APPLY_X = 751,
    APPLY_B = 752,
    APPLY_Y = 753,
    GRAPH = 15,
    GRAPH_HANDLE = 800,
    GRAPH_OPERATIONS = 801,
    PACK = 16,
    PACK_NAMES = 1000,
    PACK_POINTERS = 1001,
    PACK_WORKSPACE = 1003,
    TENSOR = 17,
    TENSOR_ALIGNMENT = 900,
    TENSOR_TYPE = 901,
    TENSOR_EXTENTS = 902,
    TENSOR_STRIDES = 903,
    TENSOR_NAME = 906,
    TENSOR_VIRTUAL = 907,
    ALIGNMENT = 16,      /* that every value of a plan has which tactics give to the library */
    FIRST_VIRTUAL = 100, /* names of tensors: the operand's number, or from here on */
    MOST_OPERATIONS = 1 + PLAN_CALL_AFTER
};

/* Descriptors of a call as they are made; the first error stays. */
typedef struct Maker {
    const Cudnn *api;
    CudnnCall *own;
    int result;
} Maker;

static LibraryObject make(Maker *m, int type) {
    LibraryObject made = NULL;
    if (m->result != 0) return NULL;
    if (m->own->object_count == CUDNN_OBJECTS) {
        m->result = -1;
        return NULL;
    }
    m->result = m->api->descriptor_create(type, &made);
    if (m->result == 0) m->own->objects[m->own->object_count++] = made;
    return made;
}

static void set(Maker *m, LibraryObject object, int attribute, int type, int64_t count, const void *values) {
    if (m->result == 0) m->result = m->api->descriptor_set(object, attribute, type, count, values);
}

static void set_object(Maker *m, LibraryObject object, int attribute, LibraryObject value) {
    set(m, object, attribute, TYPE_DESCRIPTOR, 1, &value);
}

static void finish(Maker *m, LibraryObject object) {
    if (m->result == 0) m->result = m->api->descriptor_finalize(object);
}

static int type_of(int32_t dtype) {
    return dtype == DTYPE_F32 ? DATA_F32 : dtype == DTYPE_F16 ? DATA_F16 : DATA_BF16;
}

static LibraryObject make_tensor(Maker *m, const PlanOperand *operand, int64_t name, bool is_virtual) {
    LibraryObject tensor = make(m, TENSOR);
    const int64_t alignment = ALIGNMENT;
    const int type = is_virtual ? DATA_F32 : type_of(operand->dtype);
    set(m, tensor, TENSOR_TYPE, TYPE_DATA_TYPE, 1, &type);
    set(m, tensor, TENSOR_EXTENTS, TYPE_INT64, operand->rank, operand->dim);
    set(m, tensor, TENSOR_STRIDES, TYPE_INT64, operand->rank, operand->stride);
    set(m, tensor, TENSOR_NAME, TYPE_INT64, 1, &name);
    set(m, tensor, TENSOR_ALIGNMENT, TYPE_INT64, 1, &alignment);
    set(m, tensor, TENSOR_VIRTUAL, TYPE_BOOLEAN, 1, &is_virtual);
    finish(m, tensor);
    return tensor;
}

/* What operation `index` gives: the result behind the last of them, else nothing in memory. */
static LibraryObject make_result(Maker *m, const LibraryCall *call, int32_t index) {
    int32_t last = call->call->operand_count - 1;
    bool inner = index < PLAN_CALL_AFTER && call->call->after[index] != PLAN_AFTER_NONE;
    return make_tensor(m, &call->operands[last], inner ? FIRST_VIRTUAL + index : last, inner);
}

static LibraryObject make_convolution(Maker *m, const LibraryCall *call) {
    LibraryObject convolution = make(m, CONVOLUTION);
    const PlanCall *numbers = call->call;
    const int type = DATA_F32, mode = CROSS_CORRELATION;
    const int64_t axes = call->operands[0].rank - 2;
    const struct Window {
        int attribute;
        const int32_t *numbers;
    } window[] = {{CONVOLUTION_DILATIONS, numbers->dilation},
                  {CONVOLUTION_STEPS, numbers->step},
                  {CONVOLUTION_LOW, numbers->low},
                  {CONVOLUTION_HIGH, numbers->high}};
    set(m, convolution, CONVOLUTION_TYPE, TYPE_DATA_TYPE, 1, &type);
    set(m, convolution, CONVOLUTION_MODE, TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, convolution, CONVOLUTION_AXES, TYPE_INT64, 1, &axes);
    for (int i = 0; i < 4; ++i) {
        int64_t wide[PLAN_CALL_AXES];
        for (int k = 0; k < PLAN_CALL_AXES; ++k) wide[k] = window[i].numbers[k];
        set(m, convolution, window[i].attribute, TYPE_INT64, axes, wide);
    }
    finish(m, convolution);
    return convolution;
}

static LibraryObject make_convolve(Maker *m, const LibraryCall *call, LibraryObject *result) {
    LibraryObject x = make_tensor(m, &call->operands[0], 0, false);
    LibraryObject w = make_tensor(m, &call->operands[1], 1, false);
    LibraryObject convolution = make_convolution(m, call);
    const float alpha = 1, beta = 0;
    *result = make_result(m, call, 0);
    LibraryObject convolve = make(m, CONVOLVE);
    set_object(m, convolve, CONVOLVE_CONVOLUTION, convolution);
    set_object(m, convolve, CONVOLVE_X, x);
    set_object(m, convolve, CONVOLVE_W, w);
    set_object(m, convolve, CONVOLVE_Y, *result);
    set(m, convolve, CONVOLVE_ALPHA, TYPE_FLOAT, 1, &alpha);
    set(m, convolve, CONVOLVE_BETA, TYPE_FLOAT, 1, &beta);
    finish(m, convolve);
    return convolve;
}

static LibraryObject make_pointwise(Maker *m, int32_t after) {
    static const int modes[] = {
        0,
#define AFTER(id, name, cudnn, cublaslt) cudnn,
#include "plan_format/after.def"
#undef AFTER
    };
    LibraryObject pointwise = make(m, POINTWISE);
    const int type = DATA_F32;
    const double six = 6, one = 1;
    set(m, pointwise, POINTWISE_MODE, TYPE_POINTWISE_MODE, 1, &modes[after]);
    set(m, pointwise, POINTWISE_PRECISION, TYPE_DATA_TYPE, 1, &type);
    if (after == PLAN_AFTER_RELU6) set(m, pointwise, POINTWISE_UPPER_CLIP, TYPE_DOUBLE, 1, &six);
    if (after == PLAN_AFTER_SWISH) set(m, pointwise, POINTWISE_SWISH_BETA, TYPE_DOUBLE, 1, &one);
    finish(m, pointwise);
    return pointwise;
}

/* *value is what the operation takes, then what it gives. */
static LibraryObject make_apply(Maker *m, const LibraryCall *call, int32_t index, int32_t *added,
                                LibraryObject *value) {
    LibraryObject pointwise = make_pointwise(m, call->call->after[index]), operand = NULL;
    if (call->call->after[index] == PLAN_AFTER_ADD) {
        operand = make_tensor(m, &call->operands[*added], *added, false);
        ++*added;
    }
    LibraryObject result = make_result(m, call, index + 1), apply = make(m, APPLY);
    set_object(m, apply, APPLY_POINTWISE, pointwise);
    set_object(m, apply, APPLY_X, *value);
    if (operand != NULL) set_object(m, apply, APPLY_B, operand);
    set_object(m, apply, APPLY_Y, result);
    finish(m, apply);
    *value = result;
    return apply;
}

static LibraryObject make_graph(Maker *m, const LibraryCall *call) {
    LibraryObject operations[MOST_OPERATIONS], value;
    int32_t count = 0, added = 2;
    operations[count++] = make_convolve(m, call, &value);
    for (int32_t i = 0; i < PLAN_CALL_AFTER && call->call->after[i] != PLAN_AFTER_NONE; ++i)
        operations[count++] = make_apply(m, call, i, &added, &value);
    LibraryObject graph = make(m, GRAPH);
    set(m, graph, GRAPH_OPERATIONS, TYPE_DESCRIPTOR, count, operations);
    set(m, graph, GRAPH_HANDLE, TYPE_HANDLE, 1, &m->api->handle);
    finish(m, graph);
    return graph;
}

/* Whether the config's engine gives the same numbers in each run. */
static bool is_deterministic(const Cudnn *api, LibraryObject config) {
    int notes[MOST_NOTES] = {0};
    int64_t count = 0, ignored = 0;
    LibraryObject engine = NULL;
    int result = api->descriptor_create(ENGINE, &engine);
    if (result == 0)
        result = api->descriptor_get(config, CONFIG_ENGINE, TYPE_DESCRIPTOR, 1, &ignored, &engine);
    if (result == 0)
        result = api->descriptor_get(engine, ENGINE_NOTES, TYPE_NUMERICAL_NOTE, MOST_NOTES, &count, notes);
    for (int64_t i = 0; i < count && i < MOST_NOTES; ++i)
        if (notes[i] == NOT_DETERMINISTIC) result = -1;
    if (engine != NULL) (void)api->descriptor_destroy(engine);
    return result == 0;
}

/* The plan for a config; NULL where the library cannot make it, or not within the workspace. */
static LibraryObject try_config(const Maker *m, LibraryObject config, int64_t workspace, int *status) {
    int64_t needed = -1, count = 0;
    LibraryObject plan = NULL;
    const Cudnn *api = m->api;
    int result = api->descriptor_create(EXECUTION_PLAN, &plan);
    if (result == 0) result = api->descriptor_set(plan, PLAN_HANDLE, TYPE_HANDLE, 1, &api->handle);
    if (result == 0) result = api->descriptor_set(plan, PLAN_CONFIG, TYPE_DESCRIPTOR, 1, &config);
    if (result == 0) result = api->descriptor_finalize(plan);
    if (result == 0) result = api->descriptor_get(plan, PLAN_WORKSPACE, TYPE_INT64, 1, &count, &needed);
    if (result == 0 && needed >= 0 && needed <= workspace) return plan;
    if (result != 0) *status = result;
    if (plan != NULL) (void)api->descriptor_destroy(plan);
    return NULL;
}

/* Of the configs that the library proposes, in its order, those that are deterministic and work are counted.
 */
static Status find_plan(Maker *m, const LibraryCall *call, LibraryObject heuristic, Diag *diag) {
    LibraryObject configs[CUDNN_WAYS];
    int32_t wanted = call->call->choice, working = 0, made = 0;
    int status = 0;
    int64_t count = 0;
    while (made < CUDNN_WAYS && m->result == 0)
        if ((configs[made] = make(m, ENGINE_CONFIG)) != NULL) made++;
    if (m->result == 0)
        m->result =
            m->api->descriptor_get(heuristic, HEURISTIC_RESULTS, TYPE_DESCRIPTOR, made, &count, configs);
    TRY(library_result(PLAN_CUDNN, m->result, "the ways to do a convolution", diag));
    for (int64_t i = 0; i < count && i < made; ++i) {
        if (!is_deterministic(m->api, configs[i])) continue;
        LibraryObject plan = try_config(m, configs[i], call->call->workspace, &status);
        if (plan != NULL && working++ == wanted) {
            m->own->plan = plan;
            return STATUS_OK;
        }
        if (plan != NULL) (void)m->api->descriptor_destroy(plan);
    }
    return FAIL(diag, STATUS_WRONG_DEVICE,
                "cuDNN knows %d ways to do a convolution, of %lld that it proposes (status %d); the plan "
                "wants number %d",
                working, (long long)count, status, wanted);
}

Status cudnn_prepare(const Cudnn *api, LibraryCall *call, Diag *diag) {
    Maker m = {api, &call->cudnn, 0};
    const int mode = HEURISTIC_MODE_A;
    LibraryObject graph = make_graph(&m, call), heuristic = make(&m, HEURISTIC);
    set_object(&m, heuristic, HEURISTIC_GRAPH, graph);
    set(&m, heuristic, HEURISTIC_MODE, TYPE_HEURISTIC, 1, &mode);
    finish(&m, heuristic);
    TRY(library_result(PLAN_CUDNN, m.result, "a convolution", diag));
    return find_plan(&m, call, heuristic, diag);
}

Status cudnn_run(const Cudnn *api, const LibraryCall *call, const CudaPointer *pointers, CudaHandle stream,
                 Diag *diag) {
    LibraryObject pack = NULL;
    int32_t count = call->call->operand_count;
    int64_t names[CALL_OPERANDS];
    for (int32_t i = 0; i < count; ++i) names[i] = i;
    int result = api->set_stream(api->handle, stream);
    if (result == 0) result = api->descriptor_create(PACK, &pack);
    if (result == 0) result = api->descriptor_set(pack, PACK_POINTERS, TYPE_POINTER, count, pointers);
    if (result == 0) result = api->descriptor_set(pack, PACK_NAMES, TYPE_INT64, count, names);
    if (result == 0) result = api->descriptor_set(pack, PACK_WORKSPACE, TYPE_POINTER, 1, &pointers[count]);
    if (result == 0) result = api->descriptor_finalize(pack);
    if (result == 0) result = api->execute(api->handle, call->cudnn.plan, pack);
    if (pack != NULL) (void)api->descriptor_destroy(pack);
    return library_result(PLAN_CUDNN, result, "a convolution", diag);
}

void cudnn_release(const Cudnn *api, LibraryCall *call) {
    CudnnCall *own = &call->cudnn;
    if (own->plan != NULL) (void)api->descriptor_destroy(own->plan);
    while (own->object_count > 0) (void)api->descriptor_destroy(own->objects[--own->object_count]);
}
