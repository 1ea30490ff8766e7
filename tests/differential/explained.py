"""Differences that are ONNX Runtime's deviation from the standard; ONNX's reference evaluator agrees with smelt on each."""
import numpy

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
    return (case.attributes["coordinate_transformation_mode"] == "align_corners" and scales is not None
            and any(float(scale * size) % 1 for scale, size in zip(scales, case.inputs[0].shape)))


# (operators, test of the case and the problem, reason)
KNOWN = [
    (REDUCTIONS, empty_with_negative_axes,
     "ONNX Runtime keeps the extents of negative axes when the input is empty"),
    (("Slice",), backwards_to_the_greatest,
     "ONNX Runtime takes the greatest integer as the beginning when the step is negative; the standard clamps it to the end"),
    (("NonZero",), lambda case, problem: case.inputs[0].ndim == 0 and "expected int64[1, " in problem,
     "ONNX Runtime follows numpy on scalars; the standard says that the result has as many rows as the input axes, which is none"),
    (("GridSample",), lambda case, problem: case.attributes["mode"] == "cubic" and case.attributes["padding_mode"] != "zeros",
     "ONNX Runtime moves the point into the image before it takes the 4 x 4 neighbours; the standard moves each neighbour"),
    (("Resize",), fraction_of_size,
     "with align_corners the standard divides by scale times extent less 1; ONNX Runtime rounds that product first"),
    (("MatMul",), lambda case, problem: case.inputs[0].size == case.inputs[1].size == 0 and "expected" in problem,
     "ONNX Runtime does not broadcast the batch of products over no element"),
    (("ConvTranspose",), stride_beyond_kernel,
     "the standard says that auto_pad SAME gives input times stride; ONNX Runtime gives less where the kernel is smaller than the stride"),
]


def explanation(case, problem):
    """The reason why this difference is none of smelt's, or None."""
    if problem.startswith("exit"):
        return None
    return next((reason for ops, applies, reason in KNOWN if case.op in ops and applies(case, problem)), None)
