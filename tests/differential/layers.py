"""Cases of operators with windows, contractions, recurrences, transforms, bodies, and ONNX Runtime's own ones."""
import numpy

import wire
from case import FLOATS, MS_DOMAIN, ML_DOMAIN, Case, generator, ints

HALF = (2e-2, 2e-2)


def close(dtype):
    return HALF if dtype == "float16" else (1e-3, 1e-4)


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


def image(r, rank, kernel):
    """Sizes that hold the kernel even when it is dilated."""
    return [2 * k + r.int(0, 6) for k in kernel]


@generator("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")
def convolution(r, op):
    rank = r.pick((1, 2, 2, 2, 3))
    group, into, out = r.pick((1, 1, 1, 2, 3)), r.int(1, 5), r.int(1, 5)
    if r.chance(0.2):
        group, into, out = r.int(1, 9), 1, 1
    kernel = [r.int(1, 3) for _ in range(rank)]
    attributes = windows(r, rank, kernel)
    x_shape = [r.pick((0, 1, 2, 3)) if op == "Conv" else r.int(1, 2), group * into] + image(r, rank, kernel)
    attributes["group"] = group
    r.maybe(attributes, "kernel_shape", kernel)
    dtype = "float32"
    if op in ("ConvInteger", "QLinearConv"):
        x, w = r.any_values(r.pick(("uint8", "int8")), x_shape), r.any_values(r.pick(("uint8", "int8")), [group * out, into] + kernel)
        x_zero, w_zero = r.any_values(x.dtype, []), r.any_values(w.dtype, [])
        if op == "ConvInteger":
            return Case(op, [x, w, x_zero, w_zero], attributes, constant={1, 2, 3})
        inputs = [x, numpy.float32(0.05), x_zero, w, numpy.float32(0.03), w_zero, numpy.float32(0.6), r.any_values(x.dtype, [])]
        return Case(op, [numpy.asarray(i) for i in inputs], attributes, constant=set(range(1, 8)), steps=1)
    if op == "Conv":
        w_shape = [group * out, into] + kernel
    else:
        w_shape = [group * into, out] + kernel
        strides = attributes.get("strides", [1] * rank)
        r.maybe(attributes, "output_padding", [r.int(0, s - 1) for s in strides], 0.3)
    inputs = [r.values(dtype, x_shape), r.values(dtype, w_shape)] + ([r.values(dtype, [group * out])] if r.chance() else [])
    return Case(op, inputs, attributes, opset=r.opset(13), constant={1, 2} if r.chance() else set(), close=(1e-3, 1e-3))


@generator("MaxPool", "AveragePool", "LpPool")
def pool(r, op):
    rank = r.pick((1, 2, 2, 3))
    kernel = [r.int(1, 4) for _ in range(rank)]
    opset = r.opset(19 if op == "AveragePool" else 18)
    attributes = {"kernel_shape": kernel, **windows(r, rank, kernel)}
    if op != "LpPool" and "auto_pad" not in attributes:
        r.maybe(attributes, "ceil_mode", r.int(0, 1))
    if op == "AveragePool":
        r.maybe(attributes, "count_include_pad", r.int(0, 1))
    if op == "LpPool":
        r.maybe(attributes, "p", r.int(1, 3))
    outputs = r.int(1, 2) if op == "MaxPool" else 1
    x = r.values("float32", [r.int(1, 2), r.int(1, 3)] + image(r, rank, kernel))
    if op == "MaxPool" and outputs == 1 and r.chance(0.3):
        x = r.any_values(r.pick(("uint8", "int8")), x.shape)
    return Case(op, [x], attributes, outputs=outputs, opset=opset)


@generator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(r, op):
    attributes = {"p": r.int(1, 3)} if op == "GlobalLpPool" else {}
    return Case(op, [r.values("float32", r.solid(3, 5))], attributes, close=(1e-4, 1e-4))


@generator("MaxUnpool")
def unpool(r, op):
    n, c, h, w = r.int(1, 2), r.int(1, 2), r.int(1, 4), r.int(1, 4)
    inside = 4 * h * w
    index = numpy.stack([r.rng.permutation(inside)[: h * w].reshape(h, w) + plane * inside for plane in range(n * c)])
    return Case(op, [r.values("float32", [n, c, h, w]), index.reshape(n, c, h, w).astype("int64")], {"kernel_shape": [2, 2], "strides": [2, 2]})


@generator("MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul")
def matmul(r, op):
    m, k, n = (r.pick((0, 1, 2, 5, 7, 16, 17, 33)) for _ in range(3))
    if op != "MatMul":
        m, k, n = max(m, 1), max(k, 1), max(n, 1)
    batch = r.shape(0, 2, (1, 2, 3))
    a_shape, b_shape = r.broadcast(batch) + [m, k], r.broadcast(batch) + [k, n]
    if op == "MatMul":
        dtype = r.pick(FLOATS + ("int32", "int64"))
        a_shape, b_shape = (a_shape[-1:] if r.chance(0.1) else a_shape), (b_shape[-2:-1] if r.chance(0.1) else b_shape)
        return Case(op, [r.values(dtype, a_shape), r.values(dtype, b_shape)], close=close(dtype), constant={1} if r.chance(0.4) else set())
    if op == "FusedMatMul":
        attributes = {"transA": r.int(0, 1), "transB": r.int(0, 1), "alpha": r.real(0.5, 2)}
        a, b = r.values("float32", a_shape), r.values("float32", b_shape)
        a = numpy.swapaxes(a, -1, -2) if attributes["transA"] else a
        b = numpy.swapaxes(b, -1, -2) if attributes["transB"] else b
        return Case(op, [a, b], attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))
    a, b = r.any_values(r.pick(("uint8", "int8")), a_shape), r.any_values(r.pick(("uint8", "int8")), b_shape)
    zero_a, zero_b = r.any_values(a.dtype, []), r.any_values(b.dtype, [])
    if op == "MatMulInteger":
        return Case(op, [a, b, zero_a, zero_b], constant={2, 3})
    inputs = [a, numpy.float32(0.02), zero_a, b, numpy.float32(0.03), zero_b, numpy.float32(0.5), r.any_values(a.dtype, [])]
    return Case(op, [numpy.asarray(i) for i in inputs], opset=13, constant=set(range(8)) - {0, 3}, steps=1)


@generator("Gemm")
def gemm(r, op):
    m, k, n = (r.pick((1, 2, 5, 7, 16, 17, 33)) for _ in range(3))
    dtype = r.pick(FLOATS)
    attributes = {"transA": r.int(0, 1), "transB": r.int(0, 1)}
    r.maybe(attributes, "alpha", r.real(-2, 2))
    r.maybe(attributes, "beta", r.real(-2, 2))
    inputs = [r.values(dtype, [k, m] if attributes["transA"] else [m, k]), r.values(dtype, [n, k] if attributes["transB"] else [k, n])]
    if r.chance(0.7):
        inputs.append(r.values(dtype, r.broadcast([m, n])))
    return Case(op, inputs, attributes, constant={1, 2} if r.chance() else set(), close=close(dtype))


@generator("Einsum")
def einsum(r, op):
    equation = r.pick(("ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "ij->", "i,j->ij", "...ij,...jk->...ik", "bhid,bhjd->bhij", "ij,ij->i", "ij,kj"))
    size = {letter: r.int(1, 6) for letter in "ijkbhd"}
    shapes = [[size[c] for c in term.replace("...", "bh" if r.chance(0) else "b")] for term in equation.split("->")[0].split(",")]
    dtype = r.pick(("float32", "float64"))
    return Case(op, [r.values(dtype, s) for s in shapes], {"equation": equation}, close=(1e-3, 1e-3))


@generator("RNN", "GRU", "LSTM")
def recurrent(r, op):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    direction = r.pick(("forward", "reverse", "bidirectional"))
    d = 2 if direction == "bidirectional" else 1
    steps, batch, width, hidden = r.int(1, 5), r.int(1, 3), r.int(1, 5), r.int(1, 5)
    attributes = {"hidden_size": hidden, "direction": direction}
    if op == "GRU":
        r.maybe(attributes, "linear_before_reset", r.int(0, 1))
    r.maybe(attributes, "clip", r.real(0.5, 3), 0.3)
    inputs = [r.values("float32", [steps, batch, width], -1, 1), r.values("float32", [d, gates * hidden, width], -1, 1),
              r.values("float32", [d, gates * hidden, hidden], -1, 1)]
    inputs.append(r.values("float32", [d, 2 * gates * hidden], -1, 1) if r.chance() else None)
    inputs.append(numpy.array([r.int(1, steps) for _ in range(batch)], dtype="int32") if r.chance() else None)
    inputs.append(r.values("float32", [d, batch, hidden], -1, 1) if r.chance() else None)
    if op == "LSTM":
        inputs.append(r.values("float32", [d, batch, hidden], -1, 1) if r.chance() else None)
        inputs.append(r.values("float32", [d, 3 * hidden], -1, 1) if r.chance(0.3) else None)
    return Case(op, inputs, attributes, outputs=3 if op == "LSTM" else 2, opset=r.opset(14), constant={1, 2, 3} if r.chance() else set(),
                close=(1e-3, 1e-4))


@generator("Resize")
def resize(r, op):
    mode = r.pick(("nearest", "linear", "cubic"))
    shape = [1, r.int(1, 2), r.int(2, 7), r.int(2, 7)]
    attributes = {"mode": mode, "coordinate_transformation_mode": r.pick(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"))}
    if mode == "nearest":
        r.maybe(attributes, "nearest_mode", r.pick(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")))
    elif r.chance(0.25):
        attributes.update(antialias=1, coordinate_transformation_mode="half_pixel")
    if mode == "cubic":
        r.maybe(attributes, "cubic_coeff_a", -0.5)
        r.maybe(attributes, "exclude_outside", r.int(0, 1))
    x = r.values("float32", shape)
    if r.chance():
        inputs = [x, None, None, ints(shape[:2] + [r.int(1, 12), r.int(1, 12)])]
    else:
        inputs = [x, None, numpy.array([1, 1, r.pick((0.5, 1, 1.5, 2, 3)), r.pick((0.5, 1, 2, 2.5))], dtype="float32")]
    return Case(op, inputs, attributes, opset=19, constant={2, 3}, close=(1e-3, 1e-3))


@generator("GridSample", "AffineGrid")
def grid(r, op):
    rank = r.pick((2, 2, 3))
    n = r.int(1, 2)
    if op == "AffineGrid":
        return Case(op, [r.values("float32", [n, rank, rank + 1]), ints([n, r.int(1, 3)] + [r.int(2, 5) for _ in range(rank)])],
                    {"align_corners": r.int(0, 1)}, opset=20, constant={1} if r.chance() else set(), close=(1e-3, 1e-4))
    attributes = {"mode": r.pick(("linear", "nearest") + (("cubic",) if rank == 2 else ())), "padding_mode": r.pick(("zeros", "border", "reflection")),
                  "align_corners": r.int(0, 1)}
    x = r.values("float32", [n, r.int(1, 3)] + [r.int(2, 6) for _ in range(rank)])
    points = r.values("float32", [n] + [r.int(1, 5) for _ in range(rank)] + [rank], -1.3, 1.3)
    return Case(op, [x, points], attributes, opset=20, close=(1e-3, 1e-3))


@generator("RoiAlign")
def roi_align(r, op):
    n, rois = r.int(1, 3), r.int(1, 4)
    corners = r.values("float32", [rois, 2], 0, 4)
    boxes = numpy.concatenate([corners, corners + r.values("float32", [rois, 2], 1, 6)], 1)
    attributes = {"output_height": r.int(1, 4), "output_width": r.int(1, 4), "sampling_ratio": r.int(0, 3), "spatial_scale": r.real(0.5, 1),
                  "mode": r.pick(("avg", "avg", "max")), "coordinate_transformation_mode": r.pick(("half_pixel", "output_half_pixel"))}
    inputs = [r.values("float32", [n, r.int(1, 3), 8, 9]), boxes, ints([r.int(0, n - 1) for _ in range(rois)])]
    return Case(op, inputs, attributes, opset=16, close=(1e-3, 1e-3))


@generator("NonMaxSuppression")
def suppression(r, op):
    batch, boxes, classes = r.int(1, 2), r.int(1, 12), r.int(1, 3)
    corner = r.values("float32", [batch, boxes, 2], 0, 3)
    inputs = [numpy.concatenate([corner, corner + r.values("float32", [batch, boxes, 2], 0.5, 3)], 2), r.values("float32", [batch, classes, boxes], 0, 1),
              ints([r.int(0, 6)]), numpy.array([r.real(0, 1)], dtype="float32"), numpy.array([r.real(0, 0.5)], dtype="float32")]
    return Case(op, inputs, {"center_point_box": r.int(0, 1)})


@generator("DFT", "STFT")
def transform(r, op):
    if op == "DFT":
        n, inverse = r.int(1, 17), r.int(0, 1)
        shape = [r.int(1, 3), n, 2 if inverse else r.int(1, 2)]
        attributes = {"axis": 1, "inverse": inverse, "onesided": r.int(0, 1) if shape[2] == 1 else 0}
        return Case(op, [r.values("float32", shape)] + ([ints(r.int(1, 20))] if r.chance(0.4) else []), attributes, opset=17, close=(1e-3, 1e-2))
    frame = r.int(2, 8)
    inputs = [r.values("float32", [r.int(1, 2), r.int(12, 30), 1]), ints(r.int(1, 5)), r.values("float32", [frame]), ints(frame)]
    return Case(op, inputs, {"onesided": r.int(0, 1)}, opset=17, constant={1, 3}, close=(1e-3, 1e-2))


@generator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(r, op):
    return Case(op, [numpy.array(r.int(2, 20), dtype=r.pick(("int32", "int64")))], {"periodic": r.int(0, 1)}, opset=17, close=(1e-4, 1e-5))


@generator("MelWeightMatrix")
def mel(r, op):
    inputs = [ints(r.int(1, 8)), ints(r.int(16, 64)), ints(8192), numpy.float32(r.real(0, 100)), numpy.float32(r.real(2000, 4000))]
    return Case(op, [numpy.asarray(i) for i in inputs], opset=17, constant=set(range(5)), close=(1e-3, 1e-3))


@generator("Dropout")
def dropout(r, op):
    return Case(op, [r.values(r.pick(FLOATS), r.shape()), numpy.array(0.5, dtype="float32")], outputs=r.int(1, 2))


@generator("Attention", "RotaryEmbedding", "TensorScatter")
def attention(r, op):
    batch, heads, length, width = r.int(1, 2), r.int(1, 3), r.int(1, 5), 2 * r.int(1, 4)
    if op == "RotaryEmbedding":
        inputs = [r.values("float32", [batch, heads, length, width]), r.values("float32", [9, width // 2]), r.values("float32", [9, width // 2]),
                  r.values("int64", [batch, length], 0, 8)]
        return Case(op, inputs, {"interleaved": r.int(0, 1)}, opset=23)
    if op == "TensorScatter":
        inputs = [r.values("float32", [batch, heads, 8, width]), r.values("float32", [batch, heads, length, width]), ints([r.int(0, 3) for _ in range(batch)])]
        return Case(op, inputs, {"axis": 2, "mode": r.pick(("linear", "circular"))}, opset=24)
    groups, total = r.int(1, 2), r.int(1, 7)
    inputs = [r.values("float32", [batch, heads * groups, length, width]), r.values("float32", [batch, heads, total, width]),
              r.values("float32", [batch, heads, total, 3])]
    if r.chance():
        inputs.append(r.values(r.pick(("bool", "float32")), [length, total]))
        if inputs[3].dtype.kind == "b":
            inputs[3][:, 0] = True
    attributes = r.maybe({}, "scale", r.real(0.1, 1))
    r.maybe(attributes, "softcap", r.real(1, 5), 0.3)
    r.maybe(attributes, "is_causal", 1, 0.3)
    return Case(op, inputs, attributes, opset=23, close=(1e-3, 1e-3))


@generator("DeformConv")
def deform_conv(r, op):
    n, c, h, w, k, out = r.int(1, 2), r.int(1, 3), r.int(4, 7), r.int(4, 7), r.int(1, 3), r.int(1, 3)
    oh, ow = h - k + 3, w - k + 3
    inputs = [r.values("float32", [n, c, h, w]), r.values("float32", [out, c, k, k]), r.values("float32", [n, 2 * k * k, oh, ow], -1, 1),
              r.values("float32", [out]), r.values("float32", [n, k * k, oh, ow], 0, 1)]
    return Case(op, inputs, {"pads": [1, 1, 1, 1], "kernel_shape": [k, k]}, opset=r.opset(19), close=(1e-3, 1e-3))


@generator("If", "Loop", "Scan")
def control(r, op):
    dtype = r.pick(("float32", "int64", "float64"))
    kind = wire.ELEMENT_TYPES[dtype]
    shape = r.solid(1, 3)
    x = r.values(dtype, shape)

    def body(name):
        return wire.Graph(wire.graph([wire.node(name, ["s", "s"], ["y"])], outputs=[wire.value_info("y", kind)],
                                     initializers=[wire.tensor("s", x)], name="branch"))

    if op == "If":
        return Case(op, [numpy.array(r.chance())], {"then_branch": body("Add"), "else_branch": body("Mul")})
    if op == "Scan":
        inner = wire.graph([wire.node("Add", ["a", "b"], ["c"]), wire.node("Mul", ["c", "b"], ["d"])],
                           [wire.value_info("a", kind, shape[1:]), wire.value_info("b", kind, shape[1:])],
                           [wire.value_info("c", kind, shape[1:]), wire.value_info("d", kind, shape[1:])])
        attributes = {"body": wire.Graph(inner), "num_scan_inputs": 1}
        r.maybe(attributes, "scan_input_directions", [r.int(0, 1)])
        r.maybe(attributes, "scan_output_directions", [r.int(0, 1)])
        return Case(op, [r.values(dtype, shape[1:]), x], attributes, outputs=2)
    inner = wire.graph([wire.node("Add", ["a", "a"], ["c"]), wire.node("Identity", ["a"], ["d"]), wire.node("Identity", ["go"], ["on"])],
                       [wire.value_info("i", wire.INT64, []), wire.value_info("go", wire.BOOL, []), wire.value_info("a", kind, shape)],
                       [wire.value_info("on", wire.BOOL, []), wire.value_info("c", kind, shape), wire.value_info("d", kind, shape)])
    return Case(op, [ints(r.int(0, 4)), numpy.array(True), x], {"body": wire.Graph(inner)}, outputs=2)


@generator("BiasGelu", "FastGelu", "QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def fused(r, op):
    width = r.pick((1, 3, 8, 13))
    shape = [r.int(1, 3), r.int(1, 5), width]
    inputs, attributes = [r.values("float32", shape)], {}
    if op in ("BiasGelu", "FastGelu"):
        inputs.append(r.values("float32", [width]))
    if op.startswith("Skip"):
        inputs += [r.values("float32", shape)] + [r.values("float32", [width]) for _ in range(1 if "Simplified" in op else 2)]
        if r.chance():
            inputs.append(r.values("float32", [width]))
    return Case(op, inputs, attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu")
def quantized(r, op):
    kind, shape = r.pick(("uint8", "int8")), r.solid(1, 4)

    def parameters():
        return [numpy.array(r.real(0.01, 0.1), dtype="float32"), r.values(kind, [], -50, 50)]

    inputs = [r.any_values(kind, shape), *parameters()]
    if op in ("QLinearAdd", "QLinearMul"):
        inputs += [r.any_values(kind, r.broadcast(shape)), *parameters()]
    attributes = {"alpha": r.real(0.01, 0.5)} if op == "QLinearLeakyRelu" else {}
    return Case(op, inputs + parameters(), attributes, domain=MS_DOMAIN, constant=set(range(8)) - {0, 3}, steps=1)


@generator("FusedConv")
def fused_conv(r, op):
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "activation": r.pick(("Relu", "Tanh", "Sigmoid"))}
    channels, out = r.int(1, 4), r.int(1, 5)
    inputs = [r.values("float32", [1, channels, r.int(3, 8), r.int(3, 8)]), r.values("float32", [out, channels, 3, 3]), r.values("float32", [out])]
    return Case(op, inputs, attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("EmbedLayerNormalization")
def embed(r, op):
    batch, length, width, words = r.int(1, 3), r.int(1, 5), r.pick((2, 5, 8)), 11
    segments, mask, positions = r.chance(), r.chance(), r.chance(0.3)
    ids = r.values("int32", [batch, length], 0, words - 1)
    inputs = [ids, r.values("int32", [batch, length], 0, 1) if segments else None, r.values("float32", [words, width]), r.values("float32", [9, width]),
              r.values("float32", [2, width]) if segments else None, r.values("float32", [width]), r.values("float32", [width]),
              r.values("int32", [batch, length], 0, 1) if mask else None, r.values("int32", [batch, length], 0, 8) if positions else None]
    return Case(op, inputs, {"epsilon": 1e-5}, outputs=r.int(1, 3), domain=MS_DOMAIN, constant={2, 3, 4, 5, 6}, close=(1e-3, 1e-3))


@generator("FusedAttention")
def fused_attention(r, op):
    batch, length, width, heads, size = r.int(1, 3), r.int(1, 5), r.int(1, 6), r.int(1, 3), r.int(1, 4)
    past = r.int(1, 4) if r.chance(0.3) else 0
    hidden, total = heads * size, length + past
    inputs = [r.values("float32", [batch, length, width]), r.values("float32", [width, 3 * hidden]), r.values("float32", [3 * hidden])]
    kind = r.pick((0, 1, 2, 3) if not past else (0, 2, 3))
    mask = [None, r.values("int32", [batch], 1, total), r.values("int32", [batch, total], 0, 1), r.values("int32", [batch, length, total], 0, 1)][kind]
    if kind > 1:
        mask[..., 0] = 1
    inputs += [mask, r.values("float32", [2, batch, heads, past, size]) if past else None,
               r.values("float32", [batch, heads, length, total]) if r.chance(0.3) else None]
    attributes = r.maybe({"num_heads": heads}, "unidirectional", r.int(0, 1))
    r.maybe(attributes, "scale", r.real(0.2, 1), 0.3)
    return Case("Attention", inputs, attributes, outputs=2 if past or r.chance(0.3) else 1, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("ArrayFeatureExtractor")
def extract(r, op):
    shape = r.solid(1, 3)
    return Case(op, [r.values(r.pick(("float32", "int64")), shape), r.values("int64", [1, r.int(1, 4)], 0, shape[-1] - 1)], domain=ML_DOMAIN)
