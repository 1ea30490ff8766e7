/* Sliding windows and quantizers as arguments of device code. */
#ifndef SMELT_KERNELS_WINDOW_TEXT_H
#define SMELT_KERNELS_WINDOW_TEXT_H

#include "kernels/emit_writer.h"
#include "kernels/tactic.h"
#include "ops/window.h"

/* window.cuh's Window; axes that the input lacks come first and have extent 1. */
typedef struct WindowDims {
    Dim in[WINDOW_AXES], out[WINDOW_AXES], kernel[WINDOW_AXES];
    Dim stride[WINDOW_AXES], dilation[WINDOW_AXES], pad[WINDOW_AXES];
    Dim pad_end[WINDOW_AXES];      /* behind the last element */
    Dim in_count, out_count, taps; /* products over the axes */
} WindowDims;

/* kernel: extents of the input's spatial axes. */
WindowDims window_dims(DimTable *dims, const WindowAttrs *attrs, const Dim *kernel, const Shape *input,
                       const Shape *output);
/* "Window{{1, 56, 56}, ...}" */
const char *window_text(KernelWriter *w, const WindowDims *window);
/* "{1, 56, 56}" */
const char *extents_text(KernelWriter *w, const Dim *extents, int32_t count);
/* A tensor [batch, channels, up to 3 spatial axes] as it lies in memory: "Strides{...}". */
const char *strides_text(KernelWriter *w, ValueId value);
/* The same for the numbers of its elements in the order of its layout. */
const char *number_strides_text(KernelWriter *w, ValueId value);
/* How the elements of such a result are numbered, in the order of its layout: "Numbering<true>{64, 3136}". */
const char *numbering_text(KernelWriter *w, ValueId value);
/* Channels of the value are neighbours in memory, and places are not. */
bool channels_are_inner(const Value *value);
/* Why kernels cannot take EPILOGUE_LANES neighbouring channels of input 0 and of output 0 at a time, or NULL:
 * both channels-last, of narrow floats, read straight from memory. */
const char *refuse_unless_packs(const Problem *problem);
/* Why inputs from number `first` on cannot be read: kernels take them as they lie plainly. NULL: they can. */
const char *refuse_unless_plain(const Problem *problem, int32_t first);
/* Text in the emission's arena; "" after an allocation failure, which kernel_finish reports. */
const char *kernel_format(KernelWriter *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Elements of a value where their number is exact, else -1. */
int64_t value_known_count(const Value *value);
/* Whether a quantizer has one element for all lines (channels, rows, columns) or one for each of `lines`. */
bool is_quantizer(const Value *value, Dim lines);
/* "NoZero{}", "ZeroPoint<signed char>{p3, 1}"; value NONE: there is none. */
const char *zero_point_text(KernelWriter *w, ValueId value);

/* Why kernels cannot read or write something of the anchor's, or NULL. */
const char *refuse_types(const Problem *problem);
/* The same, and where an input is no float. */
const char *refuse_unless_floats(const Problem *problem);
/* Whether the anchor's input has a rank from low to high; whether output 0 has the rank of an input.
 * Inference checks them, but not all graphs have seen it. */
bool input_has_rank(const Problem *problem, int32_t input, int32_t low, int32_t high);
bool output_ranks_like(const Problem *problem, int32_t input);
/* Whether the anchor's input is omitted or has these extents whatever the symbols are: kernels do not check.
 */
bool input_has_shape(const Problem *problem, int32_t input, int32_t rank, const Dim *dims);
ValueId anchor_input(const Problem *problem, int32_t i); /* NONE where it has none */
/* Whether the node's inputs from number `first` on are constants, which may be read before the kernels in
 * front of this one have ended. */
bool inputs_are_constant(const Problem *problem, const Node *node, int32_t first);

/* "float", "double" for f64: what sums of floats are computed in. */
const char *float_type(DType dtype);

/* One config without numbers. */
int32_t only_config(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]);

#endif
