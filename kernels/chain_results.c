/* What a chain gives: the registers of values, and where results lie. */
#include "kernels/chain.h"
#include "kernels/emit_writer.h"

/* How the value is known: behind an anchor as something that was made of its result, else in the order of the
 * first view. */
static const ChainKnown *result_known(const Chain *chain, ValueId value) {
    for (int32_t i = 0; i < chain->known_count; ++i) {
        const ChainKnown *known = &chain->known[i];
        if (known->value == value && (chain->behind || known->view == 0))
            return chain->behind && !known->hot ? NULL : known;
    }
    return NULL;
}

const char *chain_register(const Chain *chain, ValueId value) {
    const ChainKnown *known = result_known(chain, value);
    if (known == NULL || known->term.number < 0) return NULL;
    return kernel_text(
        chain->w, arena_printf(chain->arena, "%c%d", known->term.is_step ? 'b' : 'a', known->term.number));
}

static Access result_access(const Chain *chain, ValueId value, Dim *offset) {
    const ChainKnown *known = result_known(chain, value);
    Dim strides[SMELT_MAX_RANK], index_stride[VIEW_INDICES];
    value_strides(chain->graph, value, strides);
    return view_access(chain->graph->dims, &chain->views[known == NULL ? 0 : known->view], strides, offset,
                       index_stride);
}

/* The coordinate that says whether an element is in the slice. */
static Access slice_coordinate(const Chain *chain, const ChainKnown *slice, Dim *offset) {
    Dim strides[SMELT_MAX_RANK] = {0}, index_stride[VIEW_INDICES];
    strides[slice->axis] = 1;
    return view_access(chain->graph->dims, &chain->views[slice->whole], strides, offset, index_stride);
}

static const char *index_text(const Chain *chain, const Access *access, Dim offset, const char *number) {
    const char *index = access_index(chain->w, access, number);
    if (offset == 0) return index;
    return kernel_text(chain->w,
                       arena_printf(chain->arena, "%s + %s", index, kernel_number(chain->w, offset)));
}

const char *chain_result_index(const Chain *chain, ValueId value, const char *number) {
    Dim offset;
    const Access access = result_access(chain, value, &offset);
    return index_text(chain, &access, offset, number);
}

const char *chain_result_condition(const Chain *chain, ValueId value, const char *number) {
    const ChainKnown *slice = result_known(chain, value);
    Dim offset;
    if (slice == NULL || !slice->is_slice) return NULL;
    const Access access = slice_coordinate(chain, slice, &offset);
    const char *at = index_text(chain, &access, offset, number), *end = kernel_number(chain->w, slice->end);
    bool is_last = slice->end == chain->views[slice->whole].shape.dim[slice->axis];
    if (is_last)
        return kernel_text(chain->w,
                           arena_printf(chain->arena, "%s >= %s", at, kernel_number(chain->w, slice->begin)));
    if (slice->begin == 0) return kernel_text(chain->w, arena_printf(chain->arena, "%s < %s", at, end));
    return kernel_text(chain->w, arena_printf(chain->arena, "%s >= %s && %s < %s", at,
                                              kernel_number(chain->w, slice->begin), at, end));
}

static bool is_multiple(Dim d, int32_t lanes) {
    return dim_is_exact(d) && d % lanes == 0;
}

/* The lanes share their coordinate, or begin and end with the slice. */
static bool slice_keeps_lanes(const Chain *chain, const ChainKnown *slice, int32_t lanes) {
    Dim offset;
    const Access access = slice_coordinate(chain, slice, &offset);
    if (access_is_splat(&access, lanes)) return true;
    return access_is_packed(&access, lanes) && is_multiple(offset, lanes) &&
           is_multiple(slice->begin, lanes) && is_multiple(slice->end, lanes);
}

bool chain_result_is_packed(const Chain *chain, ValueId value, int32_t lanes) {
    const ChainKnown *known = result_known(chain, value);
    Dim offset;
    const Access access = result_access(chain, value, &offset);
    if (!access_is_packed(&access, lanes) || !is_multiple(offset, lanes)) return false;
    return known == NULL || !known->is_slice || slice_keeps_lanes(chain, known, lanes);
}
