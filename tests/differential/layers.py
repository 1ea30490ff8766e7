"""Cases of operators with windows, contractions and resampling."""
import numpy

from case import FLOATS, NUMBERS, Case, generator, ints

HALF = (2e-2, 2e-2)
BYTES = ("uint8", "int8")


def close(dtype):
    return HALF if dtype == "float16" else (1e-3, 1e-4)


# ---- Windows ----


def windows(r, rank, kernel, dilated=True):
    attributes = {}
    r.maybe(attributes, "strides", [r.int(1, 3) for _ in range(rank)])
    if dilated:
        r.maybe(attributes, "dilations", [r.int(1, 2) for _ in range(rank)], 0.4)
    if r.chance(0.25) and "dilations" not in attributes:
        attributes["auto_pad"] = r.pick(("SAME_UPPER", "SAME_LOWER", "VALID"))
    else:
        r.maybe(attributes, "pads", [r.int(0, max(0, k // 2)) for k in kernel * 2])
    return attributes


def image(r, kernel):
    """Sizes that hold the kernel even when it is dilated."""
    return [2 * k + r.int(0, 6) for k in kernel]


@generator("Conv", "ConvInteger", "QLinearConv")
def convolution(r, op):
    rank = r.pick((1, 2, 2, 2, 3))
    group, into, out = r.pick((1, 1, 1, 2, 3)), r.int(1, 5), r.int(1, 5)
    if r.chance(0.2):
        group, into, out = r.int(1, 9), 1, 1
    kernel = [r.int(1, 3) for _ in range(rank)]
    attributes = {**windows(r, rank, kernel), "group": group}
    r.maybe(attributes, "kernel_shape", kernel)
    x_shape = [r.pick((0, 1, 2, 3)) if op == "Conv" else r.int(1, 2), group * into, *image(r, kernel)]
    w_shape = [group * out, into, *kernel]
    if op == "Conv":
        inputs = [r.values("float32", x_shape), r.values("float32", w_shape)] + ([r.values("float32", [group * out])] if r.chance() else [])
        return Case(op, inputs, attributes, opset=r.opset(7), constant={1, 2} if r.chance() else set(), close=(1e-3, 1e-3))
    x, w = r.any_values(r.pick(BYTES), x_shape), r.any_values(r.pick(BYTES), w_shape)
    x_zero, w_zero = r.any_values(x.dtype, []), r.any_values(w.dtype, [])
    if op == "ConvInteger":
        inputs = [x, w] + r.pick(([], [x_zero], [x_zero, w_zero], [None, w_zero]))
        return Case(op, inputs, attributes, opset=r.opset(10), constant={1, 2, 3})
    scale = numpy.float32(0.03)
    if r.chance(0.4):  # one scale for each channel
        scale, w_zero = r.values("float32", [group * out], 0.01, 0.05), numpy.zeros(group * out, dtype=w.dtype)
    inputs = [x, numpy.float32(0.05), x_zero, w, scale, w_zero, numpy.float32(0.6), r.any_values(x.dtype, [])]
    if r.chance():
        inputs.append(r.values("int32", [group * out], -3000, 3000))
    return Case(op, inputs, attributes, opset=r.opset(10), constant=set(range(1, 9)), steps=1)


@generator("ConvTranspose")
def transposed(r, op):
    rank = r.pick((1, 2, 2, 2, 3))
    group, into, out = r.pick((1, 1, 1, 2, 3)), r.int(1, 5), r.int(1, 5)
    kernel = [r.int(1, 3) for _ in range(rank)]
    attributes = {**windows(r, rank, kernel), "group": group}
    r.maybe(attributes, "kernel_shape", kernel)
    sizes, strides = image(r, kernel), attributes.get("strides", [1] * rank)
    if r.chance(0.2) and "auto_pad" not in attributes:
        attributes.pop("pads", None)
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, attributes.get("dilations", [1] * rank))]
        attributes["output_shape"] = [s * (n - 1) + span - r.int(0, min(span - 1, 2)) for s, n, span in zip(strides, sizes, spans)]
    else:
        r.maybe(attributes, "output_padding", [r.int(0, s - 1) for s in strides], 0.3)
    inputs = [r.values("float32", [r.int(1, 2), group * into, *sizes]), r.values("float32", [group * into, out, *kernel])]
    if r.chance():
        inputs.append(r.values("float32", [group * out]))
    return Case(op, inputs, attributes, opset=r.opset(7), constant={1, 2} if r.chance() else set(), close=(1e-3, 1e-3))


@generator("DeformConv")
def deform_conv(r, op):
    kernel, strides, dilations = ([r.int(1, most) for _ in range(2)] for most in (3, 2, 2))
    pads, sizes = [r.int(0, 1) for _ in range(4)], [r.int(6, 9) for _ in range(2)]
    group, offset_group, into, out, n = r.int(1, 2), r.int(1, 2), r.int(1, 2), r.int(1, 2), r.int(1, 2)
    made = [(s + pads[i] + pads[i + 2] - d * (k - 1) - 1) // step + 1 for i, (s, k, step, d) in enumerate(zip(sizes, kernel, strides, dilations))]
    dtype = r.pick(("float32", "float32", "float64"))
    points = offset_group * kernel[0] * kernel[1]
    inputs = [r.values(dtype, [n, group * offset_group * into, *sizes]), r.values(dtype, [group * out, offset_group * into, *kernel]),
              r.values(dtype, [n, 2 * points, *made], -1, 1)]
    inputs.append(r.values(dtype, [group * out]) if r.chance() else None)
    inputs.append(r.values(dtype, [n, points, *made], 0, 1) if r.chance() else None)
    attributes = {"pads": pads, "strides": strides, "dilations": dilations, "group": group, "offset_group": offset_group}
    attributes = {key: value for key, value in attributes.items() if r.chance(0.8) or set(value if isinstance(value, list) else [value]) not in ({1}, {0})}
    if "pads" not in attributes and any(pads):
        attributes["pads"] = pads
    return Case(op, inputs, r.maybe(attributes, "kernel_shape", kernel), opset=r.opset(19), close=(1e-3, 1e-3))


@generator("MaxPool", "AveragePool", "LpPool")
def pool(r, op):
    rank = r.pick((1, 2, 2, 3))
    kernel = [r.int(1, 4) for _ in range(rank)]
    opset = r.opset({"MaxPool": 7, "AveragePool": 7, "LpPool": 7}[op])
    attributes = {"kernel_shape": kernel, **windows(r, rank, kernel, opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op])}
    if opset >= (18 if op == "LpPool" else 10) and "auto_pad" not in attributes:
        r.maybe(attributes, "ceil_mode", r.int(0, 1))
    if op == "AveragePool":
        r.maybe(attributes, "count_include_pad", r.int(0, 1))
    if op == "LpPool":
        r.maybe(attributes, "p", r.int(1, 3))
    outputs = r.int(1, 2) if op == "MaxPool" and opset >= 8 else 1
    if outputs == 2:
        r.maybe(attributes, "storage_order", r.int(0, 1))
    x = r.values("float64" if op == "MaxPool" and r.chance(0.2) else "float32", [r.int(1, 2), r.int(1, 3), *image(r, kernel)])
    if op == "MaxPool" and outputs == 1 and opset >= 12 and r.chance(0.3):
        x = r.any_values(r.pick(BYTES), x.shape)
    return Case(op, [x], attributes, outputs=outputs, opset=opset)


@generator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(r, op):
    attributes = r.maybe({}, "p", r.int(1, 3)) if op == "GlobalLpPool" else {}
    return Case(op, [r.values("float32", r.solid(3, 5))], attributes, opset=r.opset(7), close=(1e-4, 1e-4))


@generator("MaxUnpool")
def unpool(r, op):
    rank = r.pick((1, 2, 2, 3))
    kernel, strides, pads = [r.int(1, 3) for _ in range(rank)], [r.int(1, 3) for _ in range(rank)], [0] * (2 * rank)
    sizes = [r.int(2, 4) for _ in range(rank)]
    attributes = {"kernel_shape": kernel}
    if any(s != 1 for s in strides) or r.chance():
        attributes["strides"] = strides
    if r.chance(0.3):
        attributes["pads"] = pads = [r.int(0, k - 1 if i < rank else 0) for i, k in enumerate(kernel * 2)]
    made = [s * (n - 1) + k - pads[i] - pads[i + rank] for i, (s, n, k) in enumerate(zip(strides, sizes, kernel))]
    inside, count, planes = int(numpy.prod(made)), int(numpy.prod(sizes)), [r.int(1, 2), r.int(1, 2)]
    least = min(inside, count)
    index = numpy.stack([r.rng.permutation(inside)[:least] + plane * inside for plane in range(planes[0] * planes[1])])
    if least < count:  # an index twice: equal values
        index = index[:, numpy.arange(count) % least]
    x = r.values("float32", planes + sizes)
    if least < count:
        x[...] = 1
    inputs = [x, index.reshape(planes + sizes).astype("int64")]
    if r.chance(0.3):
        attributes.pop("pads", None)
        inputs.append(ints(planes + made))
        if any(pads):
            return unpool(r, op)
    return Case(op, inputs, attributes, opset=r.opset(9), constant={2})


# ---- Products ----


@generator("MatMul", "MatMulInteger", "QLinearMatMul")
def matmul(r, op):
    m, k, n = (r.pick((0, 1, 2, 5, 7, 16, 17, 33)) for _ in range(3))
    if op != "MatMul":
        m, k, n = max(m, 1), max(k, 1), max(n, 1)
    batch = r.shape(0, 2, (1, 2, 3))
    a_shape, b_shape = r.broadcast(batch) + [m, k], r.broadcast(batch) + [k, n]
    if op == "MatMul":
        dtype = r.pick(FLOATS + ("int32", "int64", "uint32", "uint64"))
        a_shape, b_shape = (a_shape[-1:] if r.chance(0.1) else a_shape), (b_shape[-2:-1] if r.chance(0.1) else b_shape)
        return Case(op, [r.values(dtype, a_shape), r.values(dtype, b_shape)], opset=r.opset(9), close=close(dtype),
                    constant={1} if r.chance(0.4) else set())
    a, b = r.any_values(r.pick(BYTES), a_shape), r.any_values(r.pick(BYTES), b_shape)
    zero_a, zero_b = r.any_values(a.dtype, []), r.any_values(b.dtype, [])
    if op == "MatMulInteger":
        if len(b_shape) == 2 and r.chance(0.3):
            zero_b = r.any_values(b.dtype, [n])
        return Case(op, [a, b] + r.pick(([], [zero_a], [zero_a, zero_b], [None, zero_b])), opset=r.opset(10), constant={2, 3})
    inputs = [a, numpy.float32(0.02), zero_a, b, numpy.float32(0.03), zero_b, numpy.float32(0.5), r.any_values(a.dtype, [])]
    return Case(op, inputs, opset=r.opset(10), constant=set(range(8)) - {0, 3}, steps=1)


@generator("Gemm")
def gemm(r, op):
    m, k, n = (r.pick((1, 2, 5, 7, 16, 17, 33)) for _ in range(3))
    dtype = r.pick(FLOATS)
    attributes = r.maybe({}, "transA", r.int(0, 1))
    r.maybe(attributes, "transB", r.int(0, 1))
    r.maybe(attributes, "alpha", r.real(-2, 2))
    r.maybe(attributes, "beta", r.real(-2, 2))
    inputs = [r.values(dtype, [k, m] if attributes.get("transA") else [m, k]), r.values(dtype, [n, k] if attributes.get("transB") else [k, n])]
    opset = r.opset(7)
    if r.chance(0.7) or opset < 11:
        inputs.append(r.values(dtype, r.broadcast([m, n])))
    return Case(op, inputs, attributes, opset=opset, constant={1, 2} if r.chance() else set(), close=close(dtype))


@generator("Einsum")
def einsum(r, op):
    equation = r.pick(("ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "i,j->ij", "...ij,...jk->...ik", "bhid,bhjd->bhij", "ij,ij->i", "ij,kj",
                       "ij,jk,kh->ih", "bij->bi", "i...->...i"))
    size = {letter: r.int(1, 6) for letter in "ijkbhd"}
    shapes = [[size[c] for c in term.replace("...", "b")] for term in equation.split("->")[0].split(",")]
    dtype = r.pick(("float32", "float32", "float64", "int32", "int64"))
    return Case(op, [r.values(dtype, s) for s in shapes], {"equation": equation}, opset=r.opset(12), close=(1e-3, 1e-3))


# ---- Resampling ----

COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")


@generator("Resize")
def resize(r, op):
    mode, opset = r.pick(("nearest", "linear", "cubic")), r.opset(11)
    shape = [1, r.int(1, 2), r.int(2, 7), r.int(2, 7)]
    if mode == "linear" and r.chance(0.2):
        shape = shape[2:]
    elif mode == "linear" and r.chance(0.2):
        shape = [1, 1] + [r.int(2, 5) for _ in range(3)]
    rank, attributes = len(shape), {"mode": mode}
    moved = list(range(rank))[-2:] if rank < 5 else [2, 3, 4]
    r.maybe(attributes, "coordinate_transformation_mode", r.pick(COORDINATES[: 5 if opset >= 19 else 4]))
    dtype = r.pick(("float32", "float32", "uint8", "int8", "int32")) if mode == "nearest" else r.pick(("float32", "float32", "uint8")) if mode == "linear" and rank < 5 else "float32"
    if mode == "nearest":
        r.maybe(attributes, "nearest_mode", r.pick(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")))
    elif opset >= 18 and rank < 5:
        r.maybe(attributes, "antialias", r.int(0, 1), 0.3)
        if attributes.get("antialias"):
            attributes["coordinate_transformation_mode"], dtype = "half_pixel", "float32"
    if mode == "cubic":
        r.maybe(attributes, "cubic_coeff_a", r.pick((-0.5, -0.75, -0.6)))
        r.maybe(attributes, "exclude_outside", r.int(0, 1))
    roi = None
    if r.chance(0.15) and rank == 4 and not attributes.get("antialias") and dtype == "float32":
        attributes["coordinate_transformation_mode"] = "tf_crop_and_resize"
        r.maybe(attributes, "extrapolation_value", r.real(-2, 2))
        roi = numpy.array([0, 0, r.real(0, 0.4), r.real(-0.2, 0.4), 1, 1, r.real(0.5, 1), r.real(0.5, 1.2)], dtype="float32")
    sizes = [r.int(1, 12) if axis in moved else size for axis, size in enumerate(shape)]
    scales = [r.pick((0.5, 1, 1.5, 2, 2.5, 3)) if axis in moved else 1 for axis in range(rank)]
    if opset >= 18 and r.chance(0.3):
        attributes["axes"] = [axis - (rank if r.chance(0.3) else 0) for axis in moved]
        sizes, scales = [sizes[a] for a in moved], [scales[a] for a in moved]
        roi = roi if roi is None else roi[[2, 3, 6, 7]]
    x = r.any_values(dtype, shape) if dtype in BYTES else r.values(dtype, shape)
    if r.chance():
        if opset >= 18 and roi is None:
            r.maybe(attributes, "keep_aspect_ratio_policy", r.pick(("stretch", "not_larger", "not_smaller") if "axes" in attributes else ("stretch",)), 0.4)
        inputs = [x, roi, None, ints(sizes)]
    else:
        inputs = [x, roi, numpy.array(scales, dtype="float32")]
    if opset < 13 and roi is None:
        inputs[1] = numpy.zeros(0, dtype="float32")
        if len(inputs) > 3:
            inputs[2] = numpy.zeros(0, dtype="float32")
    return Case(op, inputs, attributes, opset=opset, constant={1, 2, 3}, close=(1e-3, 1e-3), steps=1 if dtype == "uint8" and mode == "linear" else 0)


@generator("GridSample", "AffineGrid")
def grid(r, op):
    rank, n, dtype = r.pick((2, 2, 3)), r.int(1, 2), r.pick(("float32", "float32", "float64"))
    if op == "AffineGrid":
        return Case(op, [r.values(dtype, [n, rank, rank + 1]), ints([n, r.int(1, 3)] + [r.int(2, 5) for _ in range(rank)])],
                    r.maybe({}, "align_corners", r.int(0, 1)), opset=r.opset(20), constant={1} if r.chance() else set(), close=(1e-3, 1e-4))
    opset = r.opset(20 if rank == 3 else 16)
    modes = ("linear", "nearest") + (("cubic",) if rank == 2 else ()) if opset >= 20 else ("bilinear", "nearest", "bicubic")
    attributes = {"mode": r.pick(modes), "padding_mode": r.pick(("zeros", "border", "reflection"))}
    r.maybe(attributes, "align_corners", r.int(0, 1))
    x = r.values(dtype, [n, r.int(1, 3)] + [r.int(2, 6) for _ in range(rank)])
    points = r.values(dtype, [n] + [r.int(1, 5) for _ in range(rank)] + [rank], -1.3, 1.3)
    return Case(op, [x, points], attributes, opset=opset, close=(1e-3, 1e-3))


@generator("RoiAlign")
def roi_align(r, op):
    n, rois, opset, dtype = r.int(1, 3), r.int(1, 4), r.opset(10), r.pick(("float32", "float32", "float64"))
    corners = r.values(dtype, [rois, 2], 0, 4)
    boxes = numpy.concatenate([corners, corners + r.values(dtype, [rois, 2], 1, 6)], 1)
    attributes = {}
    for key, value in (("output_height", r.int(1, 4)), ("output_width", r.int(1, 4)), ("sampling_ratio", r.int(0, 3)), ("spatial_scale", r.real(0.5, 1)),
                       ("mode", r.pick(("avg", "avg", "max"))), ("coordinate_transformation_mode", r.pick(("half_pixel", "output_half_pixel")))):
        if opset >= 16 or key != "coordinate_transformation_mode":
            r.maybe(attributes, key, value, 0.8)
    inputs = [r.values(dtype, [n, r.int(1, 3), 8, 9]), boxes, ints([r.int(0, n - 1) for _ in range(rois)])]
    return Case(op, inputs, attributes, opset=opset, close=(1e-3, 1e-3))


@generator("NonMaxSuppression")
def suppression(r, op):
    batch, boxes, classes = r.int(1, 2), r.int(1, 12), r.int(1, 3)
    corner = r.values("float32", [batch, boxes, 2], 0, 3)
    inputs = [numpy.concatenate([corner, corner + r.values("float32", [batch, boxes, 2], 0.5, 3)], 2), r.values("float32", [batch, classes, boxes], 0, 1)]
    inputs += [value if r.chance(0.8) else None for value in (ints([r.int(0, 6)]), numpy.array([r.real(0, 1)], dtype="float32"),
                                                              numpy.array([r.real(0, 0.5)], dtype="float32"))]
    return Case(op, inputs, r.maybe({}, "center_point_box", r.int(0, 1)), opset=r.opset(10))
