/* NonMaxSuppression. */
#include "ops/kit.h"
#include "ops/order.h"
#include "ops/sorting.h"

Status parse_NonMaxSuppression(const ParseCtx *ctx, const void **attrs) {
    SuppressionAttrs *out = ARENA_NEW(ctx->arena, SuppressionAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t center;
    TRY(attr_int_in(ctx->list, "center_point_box", 0, 0, 1, &center, ctx->diag));
    out->center_point = center != 0;
    *attrs = out;
    return STATUS_OK;
}

Status infer_NonMaxSuppression(InferCtx *ctx) {
    TypeInfo *out = &ctx->outputs[0];
    int64_t most_each = 0;
    bool known;
    double ignored;
    Dim same;
    TRY(kit_expect_rank(ctx, 0, 3, 3));
    TRY(kit_expect_rank(ctx, 1, 3, 3));
    for (int32_t i = 0; i < 2; ++i)
        if (ctx->inputs[i]->dtype != DTYPE_F32)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected f32", i,
                        dtype_name(ctx->inputs[i]->dtype));
    const Dim *boxes = ctx->inputs[0]->shape.dim, *scores = ctx->inputs[1]->shape.dim;
    TRY(kit_same_dim(ctx, boxes[2], 4, "coordinates of a box", &same));
    TRY(kit_same_dim(ctx, boxes[0], scores[0], "batches of boxes and scores", &same));
    TRY(kit_same_dim(ctx, boxes[1], scores[2], "numbers of boxes and scores", &same));
    TRY(kit_scalar_f64(ctx, 3, &ignored, &known));
    TRY(kit_scalar_f64(ctx, 4, &ignored, &known));
    TRY(kit_scalar_i64(ctx, 2, &most_each, &known));
    Dim each = known || infer_input(ctx, 2) == NULL ? dim_min(ctx->dims, max_i64(most_each, 0), same) : same;
    Dim most = dim_mul(ctx->dims, dim_mul(ctx->dims, scores[0], scores[1]), each);
    out->dtype = DTYPE_I64;
    out->shape = (Shape){.rank = 2, .dim = {kit_late_at_most(ctx, "selected", most), 3}};
    return STATUS_OK;
}

typedef struct Box {
    float top, left, bottom, right;
} Box;

typedef struct SuppressionRun {
    const float *boxes, *scores;
    bool center_point, has_threshold;
    float iou_threshold, score_threshold;
    int64_t classes, count, most_each;
    int64_t *selected, *selected_count; /* per batch and class: up to `count` boxes, and how many */
    int64_t *scratch;                   /* 4 * count per worker */
} SuppressionRun;

static Box read_box(const SuppressionRun *run, int64_t batch, int64_t i) {
    const float *b = run->boxes + (batch * run->count + i) * 4;
    if (run->center_point) return (Box){b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2};
    bool flip_y = b[0] > b[2], flip_x = b[1] > b[3];
    return (Box){b[flip_y ? 2 : 0], b[flip_x ? 3 : 1], b[flip_y ? 0 : 2], b[flip_x ? 1 : 3]};
}

static float box_area(Box b) {
    return (b.bottom - b.top) * (b.right - b.left);
}

/* Intersection over union above the threshold. In f32, as ONNX Runtime does, since results on the border are
 * compared bit for bit. */
static bool overlaps(Box a, Box b, float threshold) {
    float top = a.top > b.top ? a.top : b.top, bottom = a.bottom < b.bottom ? a.bottom : b.bottom;
    float left = a.left > b.left ? a.left : b.left, right = a.right < b.right ? a.right : b.right;
    if (bottom <= top || right <= left) return false;
    float common = (bottom - top) * (right - left), area_a = box_area(a), area_b = box_area(b);
    float joint = area_a + area_b - common;
    return area_a > 0 && area_b > 0 && joint > 0 && common / joint > threshold;
}

/* order and each third of spare: room for the boxes of a class. */
static void suppress_class(const SuppressionRun *run, int64_t n, int64_t *order, int64_t *spare) {
    uint64_t *keys = (uint64_t *)spare + run->count, *spare_keys = keys + run->count;
    const float *scores = run->scores + n * run->count;
    int64_t *selected = run->selected + n * run->count;
    int64_t batch = n / run->classes, candidates = 0, kept = 0;
    for (int64_t i = 0; i < run->count; ++i) {
        if (run->has_threshold && !(scores[i] > run->score_threshold)) continue;
        keys[candidates] = ~order_key(DTYPE_F32, scores, i); /* the highest first */
        order[candidates++] = i;
    }
    order_sort_keys(keys, order, spare_keys, spare, candidates);
    for (int64_t i = 0; i < candidates && kept < run->most_each; ++i) {
        Box box = read_box(run, batch, order[i]);
        bool free = true;
        for (int64_t k = 0; free && k < kept; ++k)
            free = !overlaps(box, read_box(run, batch, selected[k]), run->iou_threshold);
        if (free) selected[kept++] = order[i];
    }
    run->selected_count[n] = kept;
}

static void suppress_classes(void *context, int64_t first, int64_t last, int worker) {
    const SuppressionRun *run = context;
    int64_t *order = run->scratch + worker * 4 * run->count;
    for (int64_t n = first; n < last; ++n) suppress_class(run, n, order, order + run->count);
}

static size_t worker_bytes(const Tensor *scores) {
    return 4 * (size_t)scores->dim[2] * sizeof(int64_t);
}

static size_t shared_bytes(const Tensor *scores) {
    return (size_t)(tensor_count(scores) + scores->dim[0] * scores->dim[1]) * sizeof(int64_t);
}

size_t scratch_NonMaxSuppression(const KernelCtx *ctx) {
    const Tensor *scores = ctx->inputs[1];
    return shared_bytes(scores) + kit_worker_scratch(ctx, worker_bytes(scores));
}

static float scalar_or(const Tensor *tensor, float fallback) {
    return tensor == NULL ? fallback : (float)dtype_load_f64(tensor->dtype, tensor->data, 0);
}

Status kernel_NonMaxSuppression(KernelCtx *ctx) {
    const SuppressionAttrs *attrs = ctx->attrs;
    const Tensor *scores = ctx->inputs[1], *most = kernel_input(ctx, 2), *threshold = kernel_input(ctx, 4);
    int64_t pairs = scores->dim[0] * scores->dim[1], total = 0;
    int64_t *scratch = ctx->host->scratch;
    SuppressionRun run = {.boxes = ctx->inputs[0]->data,
                          .scores = scores->data,
                          .center_point = attrs->center_point,
                          .has_threshold = threshold != NULL,
                          .iou_threshold = scalar_or(kernel_input(ctx, 3), 0),
                          .score_threshold = scalar_or(threshold, 0),
                          .classes = scores->dim[1],
                          .count = scores->dim[2],
                          .most_each = most == NULL ? 0 : max_i64(kit_index(most, 0), 0),
                          .selected = scratch,
                          .selected_count = scratch + tensor_count(scores),
                          .scratch = scratch + tensor_count(scores) + pairs};
    bool whole = ctx->host->scratch_size >= scratch_NonMaxSuppression(ctx);
    parallel_for(whole ? ctx->host->pool : NULL, pairs, 1, suppress_classes, &run);
    for (int64_t n = 0; n < pairs; ++n) total += run.selected_count[n];
    const int64_t dims[2] = {total, 3};
    TRY(kit_late_output(ctx, 0, 2, dims));
    int64_t *out = ctx->outputs[0]->data;
    for (int64_t n = 0; n < pairs; ++n) {
        for (int64_t i = 0; i < run.selected_count[n]; ++i, out += 3) {
            out[0] = n / run.classes;
            out[1] = n % run.classes;
            out[2] = run.selected[n * run.count + i];
        }
    }
    return STATUS_OK;
}
