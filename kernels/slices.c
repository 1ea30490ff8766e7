#include "kernels/slices.h"

#include "ir/cost.h"

enum {
    SHORT_ROW = 16,    /* one thread does it */
    LONG_ROW = 1024,   /* a warp does up to this */
    MANY_ROWS = 32768, /* enough threads with a row of each */
};

/* The axes of the order that are walked, or not, with these strides. */
static Access choose_axes(const Graph *graph, const Shape *shape, const bool *walked, bool wanted,
                          const int32_t *order, const Dim *strides) {
    Dim extents[SMELT_MAX_RANK], steps[SMELT_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < shape->rank; ++i) {
        if (walked[order[i]] != wanted) continue;
        extents[rank] = shape->dim[order[i]];
        steps[rank++] = strides[order[i]];
    }
    return access_strided(graph->dims, rank, extents, steps);
}

Slices slices_in(const Graph *graph, ValueId value, const bool walked[SMELT_MAX_RANK], const int32_t *order,
                 ValueId out) {
    const Shape *shape = &graph->values[value].shape;
    Dim strides[SMELT_MAX_RANK] = {0}, numbers[SMELT_MAX_RANK] = {0};
    int32_t memory[SMELT_MAX_RANK];
    Slices slices = {.rows = 1, .extent = 1, .along = true};
    layout_order(graph->values[value].layout, shape->rank, memory);
    access_number_strides(graph, value, strides);
    for (int32_t i = 0; i < shape->rank; ++i) {
        int32_t axis = memory[i];
        Dim *count = walked[axis] ? &slices.extent : &slices.rows;
        *count = dim_mul(graph->dims, *count, shape->dim[axis]);
        if (shape->dim[axis] != 1) slices.along = walked[axis];
    }
    slices.kept = choose_axes(graph, shape, walked, false, order, strides);
    slices.walked = choose_axes(graph, shape, walked, true, memory, strides);
    if (out == NONE) return slices;
    access_number_strides(graph, out, numbers);
    slices.out_kept = choose_axes(graph, shape, walked, false, order, numbers);
    slices.out_walk = choose_axes(graph, shape, walked, true, memory, numbers);
    return slices;
}

Slices slices_normalized(const Problem *problem, const bool walked[SMELT_MAX_RANK]) {
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    int32_t order[SMELT_MAX_RANK];
    bool more = problem_output(problem, 1) != NULL || problem_output(problem, 2) != NULL;
    layout_order(more ? LAYOUT_PLAIN : x->layout, x->shape.rank, order);
    return slices_in(problem->graph, node->inputs[0], walked, order, node->outputs[0]);
}

Slices slices_reduced(const Problem *problem, const bool walked[SMELT_MAX_RANK]) {
    const Shape *x = &problem_input(problem, 0)->shape;
    const Value *y = problem_output(problem, 0);
    int32_t left[SMELT_MAX_RANK], order[SMELT_MAX_RANK], count = 0, rank = 0;
    for (int32_t i = 0; i < x->rank; ++i)
        if (y->shape.rank == x->rank || !walked[i]) left[count++] = i;
    layout_order(y->layout, count, order);
    for (int32_t i = 0; i < count; ++i) order[i] = left[order[i]];
    for (int32_t i = 0; i < x->rank; ++i)
        if (count < x->rank && walked[i]) order[count + rank++] = i;
    return slices_in(problem->graph, problem_anchor(problem)->inputs[0], walked, order, NONE);
}

void slices_mark(const Shape *shape, int32_t first, int32_t last, bool walked[SMELT_MAX_RANK]) {
    for (int32_t i = first < 0 ? 0 : first; i < last && i < shape->rank; ++i) walked[i] = true;
}

Slices slices_of(DimTable *dims, const Shape *shape, const bool walked[SMELT_MAX_RANK]) {
    Dim strides[SMELT_MAX_RANK], extents[2][SMELT_MAX_RANK], steps[2][SMELT_MAX_RANK];
    int32_t rank[2] = {0};
    Slices slices = {.rows = 1, .extent = 1, .along = true};
    layout_strides(dims, LAYOUT_PLAIN, 0, shape, strides);
    for (int32_t i = 0; i < shape->rank; ++i) {
        int kind = walked[i];
        extents[kind][rank[kind]] = shape->dim[i];
        steps[kind][rank[kind]++] = strides[i];
        Dim *count = walked[i] ? &slices.extent : &slices.rows;
        *count = dim_mul(dims, *count, shape->dim[i]);
        if (shape->dim[i] != 1) slices.along = walked[i];
    }
    slices.kept = access_strided(dims, rank[0], extents[0], steps[0]);
    slices.walked = access_strided(dims, rank[1], extents[1], steps[1]);
    return slices;
}

Slices slices_between(DimTable *dims, const Shape *shape, int32_t first, int32_t last) {
    bool walked[SMELT_MAX_RANK] = {0};
    for (int32_t i = first < 0 ? 0 : first; i < last && i < shape->rank; ++i) walked[i] = true;
    return slices_of(dims, shape, walked);
}

Slices slices_along(DimTable *dims, const Shape *shape, int64_t axis) {
    int32_t own = (int32_t)(axis < 0 ? axis + shape->rank : axis);
    return slices_between(dims, shape, own, own + 1);
}

const char *slices_declare(KernelWriter *w, const Slices *slices) {
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    write_format(&text, "    SMELT_DEVICE Index base(Index i) const { return %s; }\n",
                 access_index(w, &slices->kept, "i"));
    write_format(&text, "    SMELT_DEVICE Index at(Index k) const { return %s; }\n",
                 access_index(w, &slices->walked, "k"));
    write_format(&text, "    SMELT_DEVICE Index row(Index i) const { return %s; }\n",
                 access_index(w, &slices->out_kept, "i"));
    write_format(&text, "    SMELT_DEVICE Index step(Index k) const { return %s; }\n",
                 access_index(w, &slices->out_walk, "k"));
    return kernel_struct_end(w, "Slices", &text);
}

/* -- teams -- */

const char *team_name(int32_t team) {
    static const char *const names[TEAM_COUNT] = {[TEAM_THREAD] = "ThreadTeam",
                                                  [TEAM_WARP] = "WarpTeam",
                                                  [TEAM_BLOCK] = "BlockTeam",
                                                  [TEAM_COLUMN] = "ColumnTeam"};
    return names[team];
}

int32_t team_rows(int32_t team) {
    static const int32_t rows[TEAM_COUNT] = {
        [TEAM_THREAD] = 256, [TEAM_WARP] = 8, [TEAM_BLOCK] = 1, [TEAM_COLUMN] = 32};
    return rows[team];
}

Team team_choose(const Problem *problem, const Slices *slices) {
    int64_t rows = dim_at_opt(problem->graph, slices->rows);
    int64_t extent = dim_at_opt(problem->graph, slices->extent);
    if (extent <= SHORT_ROW) return TEAM_THREAD;
    if (!slices->along) return rows >= MANY_ROWS ? TEAM_THREAD : TEAM_COLUMN;
    return extent <= LONG_ROW ? TEAM_WARP : TEAM_BLOCK;
}

int32_t team_configs(const Problem *problem, const Slices *slices, Config out[MOST_CONFIGS]) {
    int32_t best = (int32_t)team_choose(problem, slices), count = 1;
    out[0] = (Config){.count = 1, .number = {best}};
    for (int32_t team = 0; team < TEAM_COUNT; ++team)
        if (team != best) out[count++] = (Config){.count = 1, .number = {team}};
    return count;
}

Dim team_grid(Emission *emission, int32_t team, Dim rows) {
    return kernel_grid_for(emission, rows, team_rows(team));
}
