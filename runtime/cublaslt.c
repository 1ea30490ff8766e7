/* Products of matrices by cuBLASLt. Its matrices lie column by column: a product of rows is that of the
 * transposed factors in the other order. Source of the numbers: cublasLt.h, cublas_api.h, library_types.h. */
#include "runtime/libraries.h"

enum {
    TYPE_F32 = 0, /* cudaDataType */
    TYPE_F16 = 2,
    TYPE_BF16 = 14,
    COMPUTE_F32 = 68, /* cublasComputeType_t */
    COMPUTE_TF32 = 77,
    LAYOUT_BATCH_COUNT = 5,
    LAYOUT_BATCH_STRIDE = 6,
    PRODUCT_TRANSPOSE_A = 3,
    PRODUCT_TRANSPOSE_B = 4,
    PRODUCT_EPILOGUE = 7,
    PRODUCT_BIAS = 8,
    EPILOGUE_NONE = 1,
    PREFERENCE_WORKSPACE = 1,
    PREFERENCE_ALIGNMENT_A = 5, /* of b, c and d: the next ones */
    ALIGNMENT = 16,             /* that every value of a plan has which tactics give to the library */
    MOST_WAYS = 64
};

static Status failed(int result, const char *what, Diag *diag) {
    return library_result(PLAN_CUBLASLT, result, what, diag);
}

static int type_of(int32_t dtype) {
    return dtype == DTYPE_F32 ? TYPE_F32 : dtype == DTYPE_F16 ? TYPE_F16 : TYPE_BF16;
}

/* Rows that are not dense are columns that are: the matrix is there transposed. */
static bool is_transposed(const PlanOperand *operand) {
    return operand->stride[2] != 1;
}

static Status make_layout(const Cublaslt *api, const PlanOperand *operand, int64_t batch, LibraryObject *out,
                          Diag *diag) {
    int inner = is_transposed(operand) ? 1 : 2, outer = 3 - inner;
    int64_t pitch = operand->dim[outer] > 1 ? operand->stride[outer] : operand->dim[inner];
    int64_t stride = operand->dim[0] > 1 ? operand->stride[0] : 0;
    int32_t count = (int32_t)batch;
    TRY(failed(api->layout_create(out, type_of(operand->dtype), (uint64_t)operand->dim[inner],
                                  (uint64_t)operand->dim[outer], pitch),
               "a layout", diag));
    int result = api->layout_set(*out, LAYOUT_BATCH_COUNT, &count, sizeof count);
    if (result == 0) result = api->layout_set(*out, LAYOUT_BATCH_STRIDE, &stride, sizeof stride);
    return failed(result, "a layout", diag);
}

static Status make_layouts(const Cublaslt *api, LibraryCall *call, Diag *diag) {
    const PlanOperand *operands = call->operands, *result = &operands[call->call->operand_count - 1];
    int32_t matrix = call->cublaslt.matrix;
    const PlanOperand *order[4] = {&operands[1], &operands[0], matrix >= 0 ? &operands[matrix] : result,
                                   result};
    for (int i = 0; i < 4; ++i)
        TRY(make_layout(api, order[i], result->dim[0], &call->cublaslt.layouts[i], diag));
    return STATUS_OK;
}

/* What is added goes to where the library has it; the rest of what follows is one number. */
static uint32_t find_epilogue(LibraryCall *call) {
    static const uint32_t bits[] = {
        0,
#define AFTER(id, name, cudnn, cublaslt) cublaslt,
#include "plan_format/after.def"
#undef AFTER
    };
    const PlanOperand *result = &call->operands[call->call->operand_count - 1];
    uint32_t epilogue = 0;
    int32_t operand = 2;
    call->cublaslt.matrix = call->cublaslt.vector = -1;
    for (int32_t i = 0; i < PLAN_CALL_AFTER; ++i) {
        bool adds = call->call->after[i] == PLAN_AFTER_ADD;
        bool is_vector = adds && plan_operand_is_vector(&call->operands[operand], result);
        if (adds) *(is_vector ? &call->cublaslt.vector : &call->cublaslt.matrix) = operand++;
        if (is_vector || !adds) epilogue |= bits[call->call->after[i]];
    }
    return epilogue != 0 ? epilogue : EPILOGUE_NONE;
}

static Status make_product(const Cublaslt *api, LibraryCall *call, Diag *diag) {
    CublasltCall *own = &call->cublaslt;
    uint32_t epilogue = find_epilogue(call);
    const int32_t transposes[] = {is_transposed(&call->operands[1]), is_transposed(&call->operands[0])};
    const uint64_t place = ALIGNMENT; /* of the vector, for what it says about its alignment */
    TRY(failed(api->product_create(&own->product, call->call->tf32 ? COMPUTE_TF32 : COMPUTE_F32, TYPE_F32),
               "a product", diag));
    int result = api->product_set(own->product, PRODUCT_TRANSPOSE_A, &transposes[0], sizeof transposes[0]);
    if (result == 0)
        result = api->product_set(own->product, PRODUCT_TRANSPOSE_B, &transposes[1], sizeof transposes[1]);
    if (result == 0) result = api->product_set(own->product, PRODUCT_EPILOGUE, &epilogue, sizeof epilogue);
    if (result == 0 && own->vector >= 0)
        result = api->product_set(own->product, PRODUCT_BIAS, &place, sizeof place);
    return failed(result, "a product", diag);
}

static Status find_way(const Cublaslt *api, LibraryCall *call, LibraryObject preference, Diag *diag) {
    CublasltCall *own = &call->cublaslt;
    CublasltWay ways[MOST_WAYS];
    int count = 0, choice = call->call->choice;
    uint64_t workspace = (uint64_t)call->call->workspace;
    uint32_t alignment = ALIGNMENT;
    int result = api->preference_set(preference, PREFERENCE_WORKSPACE, &workspace, sizeof workspace);
    for (int i = 0; i < 4 && result == 0; ++i)
        result = api->preference_set(preference, PREFERENCE_ALIGNMENT_A + i, &alignment, sizeof alignment);
    if (result == 0)
        result = api->heuristic(api->handle, own->product, own->layouts[0], own->layouts[1], own->layouts[2],
                                own->layouts[3], preference, choice + 1, ways, &count);
    TRY(failed(result, "the ways to do a product", diag));
    if (choice >= count || ways[choice].state != 0 || ways[choice].workspace > workspace)
        return FAIL(diag, STATUS_WRONG_DEVICE,
                    "cuBLASLt knows %d ways to do a product; the plan wants number %d", count, choice);
    own->way = ways[choice];
    return STATUS_OK;
}

Status cublaslt_prepare(const Cublaslt *api, LibraryCall *call, Diag *diag) {
    LibraryObject preference = NULL;
    TRY(make_product(api, call, diag));
    TRY(make_layouts(api, call, diag));
    TRY(failed(api->preference_create(&preference), "a preference", diag));
    Status status = find_way(api, call, preference, diag);
    (void)api->preference_destroy(preference);
    return status;
}

Status cublaslt_run(const Cublaslt *api, const LibraryCall *call, const CudaPointer *pointers,
                    CudaHandle stream, Diag *diag) {
    const CublasltCall *own = &call->cublaslt;
    const LibraryObject *layouts = own->layouts;
    const float alpha = 1, beta = own->matrix >= 0 ? 1 : 0;
    CudaPointer out = pointers[call->call->operand_count - 1];
    CudaPointer added = own->matrix >= 0 ? pointers[own->matrix] : out;
    if (own->vector >= 0)
        TRY(failed(api->product_set(own->product, PRODUCT_BIAS, &pointers[own->vector], sizeof *pointers),
                   "a bias", diag));
    return failed(api->matmul(api->handle, own->product, &alpha, pointers[1], layouts[0], pointers[0],
                              layouts[1], &beta, added, layouts[2], out, layouts[3], own->way.algorithm,
                              pointers[call->call->operand_count], own->way.workspace, stream),
                  "a product", diag);
}

void cublaslt_release(const Cublaslt *api, LibraryCall *call) {
    CublasltCall *own = &call->cublaslt;
    for (int i = 0; i < 4; ++i)
        if (own->layouts[i] != NULL) (void)api->layout_destroy(own->layouts[i]);
    if (own->product != NULL) (void)api->product_destroy(own->product);
}
