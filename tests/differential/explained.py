"""Differences that are ONNX Runtime's deviation from the standard; ONNX's reference evaluator agrees with smelt on each."""
import numpy

import wire
from pointwise import REDUCTIONS


def operand(case, index):
    return case.inputs[index] if len(case.inputs) > index else None


def empty_with_negative_axes(case, problem):
    axes = operand(case, 1)
    axes = case.attributes.get("axes", []) if axes is None else axes
    return case.inputs[0].size == 0 and any(axis < 0 for axis in axes) and "expected" in problem


def backwards_to_the_greatest(case, problem):
    ends, steps = case.inputs[2], operand(case, 4)
    greatest = numpy.iinfo(ends.dtype).max
    return steps is not None and any(end == greatest and step < 0 for end, step in zip(ends, steps)) and "expected" in problem


def stride_beyond_kernel(case, problem):
    auto = case.attributes.get("auto_pad", "").startswith("SAME")
    return auto and any(s > 1 for s in case.attributes.get("strides", [])) and "expected" in problem


def fraction_of_size(case, problem):
    """Scales whose product with the extents is no integer."""
    scales = operand(case, 2)
    return (case.attributes.get("coordinate_transformation_mode") == "align_corners" and scales is not None
            and any(float(scale * size) % 1 for scale, size in zip(scales, case.inputs[0].shape)))


def negative_axes_and_policy(case, problem):
    return (min(case.attributes.get("axes", [0])) < 0 and case.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch" and "expected" in problem)


def crops_at_scale_one(case, problem):
    x, scales, sizes = case.inputs[0], operand(case, 2), operand(case, 3)
    if case.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize" or "expected" not in problem:
        return False
    axes = case.attributes.get("axes", range(x.ndim))
    asked = [(axis % x.ndim, sizes[i] / x.shape[axis] if sizes is not None else scales[i]) for i, axis in enumerate(axes)]
    return any(axis >= 2 and scale == 1 for axis, scale in asked)


def not_saturated(case, problem):
    return case.attributes.get("saturate") == 0 and "nan, expected" in problem


def masked_scores(case, problem):
    return case.attributes.get("qk_matmul_output_mode") and problem.startswith("output 3") and "-inf, expected -" in problem


def causal_and_padded(case, problem):
    return case.attributes.get("is_causal") and operand(case, 6) is not None and "expected" in problem


def causal_of_one(case, problem):
    return case.attributes.get("is_causal") and case.inputs[0].shape[-2] == 1 and operand(case, 4) is not None and "expected" in problem


def overflowing_softplus(case, problem):
    return "Softplus" in case.attributes.get("activations", []) and ("expected nan" in problem or "expected inf" in problem)


def half_to_four_bits(case, problem):
    x = case.inputs[0]
    return case.attributes["to"] in (wire.INT4, wire.UINT4) and x.dtype.kind == "f" and (abs(x % 1) == 0.5).any() and not problem.startswith("exit")


def whole_logarithms(case, problem):
    return case.inputs[0].dtype.kind in "iu" and "expected" in problem


def decided_by_extents(case, problem):
    return operand(case, 1) is None and "the plan says" in problem


# (operators, test of the case and the problem, reason)
KNOWN = [
    (REDUCTIONS, empty_with_negative_axes,
     "ONNX Runtime keeps the extents of negative axes when the input is empty"),
    (("Slice",), backwards_to_the_greatest,
     "ONNX Runtime takes the greatest integer as the beginning when the step is negative; the standard clamps it to the end"),
    (("NonZero",), lambda case, problem: case.inputs[0].ndim == 0 and "expected int64[1, " in problem,
     "ONNX Runtime follows numpy on scalars; the standard says that the result has as many rows as the input axes, which is none"),
    (("GridSample",), lambda case, problem: case.attributes["mode"] in ("cubic", "bicubic") and case.attributes["padding_mode"] != "zeros",
     "ONNX Runtime moves the point into the image before it takes the 4 x 4 neighbours; the standard moves each neighbour"),
    (("Resize",), fraction_of_size,
     "with align_corners the standard divides by scale times extent less 1; ONNX Runtime rounds that product first"),
    (("MatMul",), lambda case, problem: case.inputs[0].size == case.inputs[1].size == 0 and "expected" in problem,
     "ONNX Runtime does not broadcast the batch of products over no element"),
    (("LpPool", "MaxPool", "AveragePool"), stride_beyond_kernel,
     "ONNX Runtime lets auto_pad SAME take away elements where the kernel is smaller than the stride, and begins later; of Conv it does not"),
    (("Resize",), negative_axes_and_policy, "ONNX Runtime keeps the aspect ratio of none of the axes that are counted from the end"),
    (("Resize",), crops_at_scale_one, "ONNX Runtime does not crop an axis whose scale is 1"),
    (("Cast",), not_saturated, "what is too large for an f8 that does not saturate is NaN in the standard, sometimes the greatest number in ONNX Runtime"),
    (("Attention",), masked_scores, "scores that are masked are -infinity in the standard, the least finite number in ONNX Runtime"),
    (("Attention",), causal_and_padded,
     "with nonpad_kv_seqlen ONNX Runtime counts a causal mask from the last key that is no padding, the standard from the first key"),
    (("Attention",), causal_of_one, "ONNX Runtime masks nothing for a single query; the standard masks the keys behind past and query"),
    (("RNN", "GRU", "LSTM"), overflowing_softplus, "ONNX Runtime's Softplus within recurrences overflows where its argument is large"),
    (("Cast",), half_to_four_bits, "the standard rounds to 4 bits half to even, ONNX Runtime half away from zero"),
    (("ReduceLogSumExp", "ReduceLogSum"), whole_logarithms, "ONNX Runtime rounds in between when the elements are integers"),
    (("MeanVarianceNormalization",), lambda case, problem: "0.0, expected nan" in problem,
     "ONNX Runtime takes the root of a difference of squares, which rounding makes negative where all elements are equal"),
    (("QLinearAveragePool",), lambda case, problem: case.attributes.get("ceil_mode") and case.attributes.get("count_include_pad") and "differ" in problem,
     "ONNX Runtime's quantized average counts places behind the padding, which its AveragePool and the standard do not"),
    (("Squeeze",), decided_by_extents,
     "ranks are fixed in a plan: extents of 1 that only the run knows are not squeezed away, and the run refuses them"),
    (("ConvTranspose",), stride_beyond_kernel,
     "the standard says that auto_pad SAME gives input times stride; ONNX Runtime gives less where the kernel is smaller than the stride"),
]


def explanation(case, problem):
    """The reason why this difference is none of smelt's, or None."""
    if problem.startswith("exit") and "the plan says" not in problem:
        return None
    return next((reason for ops, applies, reason in KNOWN if case.op in ops and applies(case, problem)), None)
