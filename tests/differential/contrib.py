"""Cases of operators that are ONNX Runtime's own (com.microsoft), of ai.onnx.ml, and of ai.onnx before its first release."""
import numpy

import wire
from case import ML_DOMAIN, MS_DOMAIN, Case, generator
from layers import BYTES, image, windows


def scale(r):
    return numpy.array(r.real(0.01, 0.1), dtype="float32")


def scale_and_zero(r, kind, optional=True):
    """The zero point is sometimes left out; not at the end, where ONNX Runtime reads past its list of inputs."""
    return [scale(r), None if optional and r.chance(0.2) else r.values(kind, [], -50, 50)]


# ---- Activations and normalisations ----


@generator("ms.Gelu", "BiasGelu", "FastGelu", "QuickGelu")
def gelu(r, op):
    width = r.pick((1, 3, 8, 13))
    inputs, attributes = [r.values("float32", [r.int(1, 3), r.int(1, 5), width])], {}
    if op == "BiasGelu" or op == "FastGelu" and r.chance(0.7):
        inputs.append(r.values("float32", [width]))
    if op == "QuickGelu":
        r.maybe(attributes, "alpha", r.real(0.5, 2))
    return Case(op.removeprefix("ms."), inputs, attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def skip_norm(r, op):
    shape = [r.int(1, 3), r.int(1, 5), r.pick((1, 3, 8, 13))]
    dtype = r.pick(("float32", "float32", "float64", "float16"))
    inputs = [r.values(dtype, shape), r.values(dtype, shape), r.values(dtype, shape[2:])]
    if "Simplified" not in op:
        inputs.append(r.values(dtype, shape[2:]) if r.chance(0.8) else None)
    inputs.append(r.values(dtype, shape[2:]) if r.chance() else None)
    attributes = r.maybe({}, "epsilon", r.real(1e-6, 1e-2))
    return Case(op, inputs, attributes, domain=MS_DOMAIN, close=(2e-2, 2e-2) if dtype == "float16" else (1e-3, 1e-3))


@generator("SimplifiedLayerNormalization")
def simplified_norm(r, op):
    shape = r.solid(1, 4)
    axis = r.axis(len(shape))
    attributes = r.maybe({"axis": axis}, "epsilon", r.real(1e-6, 1e-2))
    r.maybe(attributes, "stash_type", wire.FLOAT, 0.3)
    dtype = r.pick(("float32", "float32", "float64", "float16"))
    inputs = [r.values(dtype, shape), r.values(dtype, shape[axis:])]
    return Case(op, inputs, attributes, opset=r.opset(7, 16), close=(2e-2, 2e-2) if dtype == "float16" else (1e-3, 1e-3))


@generator("EmbedLayerNormalization")
def embed(r, op):
    batch, length, width, words = r.int(1, 3), r.int(1, 5), r.pick((2, 5, 8)), 11
    segments, mask, positions = r.chance(), r.chance(), r.chance(0.3)
    ids = r.values("int32", [batch, length], 0, words - 1)
    inputs = [ids, r.values("int32", [batch, length], 0, 1) if segments else None, r.values("float32", [words, width]), r.values("float32", [9, width]),
              r.values("float32", [2, width]) if segments else None, r.values("float32", [width]), r.values("float32", [width]),
              r.values("int32", [batch, length], 0, 1) if mask else None, r.values("int32", [batch, length], 0, 8) if positions else None]
    attributes = r.maybe({"epsilon": r.pick((1e-5, 1e-3))}, "mask_index_type", r.int(0, 1), 0.2)
    return Case(op, inputs, attributes, outputs=r.int(2, 3), domain=MS_DOMAIN, constant={2, 3, 4, 5, 6}, close=(1e-3, 1e-3))


@generator("ms.Attention")
def attention(r, op):
    batch, length, width, heads, size = r.int(1, 3), r.int(1, 5), r.int(1, 6), r.int(1, 3), r.int(1, 4)
    past = r.int(1, 4) if r.chance(0.3) else 0
    total, hidden, value = length + past, heads * size, heads * size
    attributes = {"num_heads": heads}
    if not past and r.chance(0.2):
        value = heads * r.int(1, 4)
        attributes["qkv_hidden_sizes"] = [hidden, hidden, value]
    inputs = [r.values("float32", [batch, length, width]), r.values("float32", [width, 2 * hidden + value]),
              r.values("float32", [2 * hidden + value])]
    kind = r.pick((0, 1, 2, 3) if not past else (0, 2, 3))
    mask = [None, r.values("int32", [batch], 1, total), r.values("int32", [batch, total], 0, 1), r.values("int32", [batch, length, total], 0, 1)][kind]
    if kind > 1:
        mask[..., 0] = 1
    inputs += [mask, r.values("float32", [2, batch, heads, past, size]) if past else None,
               r.values("float32", [batch, heads, length, total]) if r.chance(0.3) and not past else None]
    r.maybe(attributes, "unidirectional", r.int(0, 1))
    r.maybe(attributes, "scale", r.real(0.2, 1), 0.3)
    r.maybe(attributes, "mask_filter_value", r.real(-9000, -5000), 0.2)
    return Case("Attention", inputs, attributes, outputs=2 if past or value == hidden and r.chance(0.3) else 1, domain=MS_DOMAIN, close=(1e-3, 1e-3))


# ---- Products ----

# Name and parameters of what a FusedConv or FusedGemm ends with.
ENDS = (("Relu", ()), ("Tanh", ()), ("Sigmoid", ()), ("LeakyRelu", (0.1, 0.5)), ("HardSigmoid", (0.1, 0.3), (0.3, 0.6)), ("Clip", (-1, 0), (0.5, 2)))


@generator("FusedConv")
def fused_conv(r, op):
    kernel, group, into, out = [r.int(1, 3), r.int(1, 3)], r.pick((1, 1, 2)), r.int(1, 4), r.int(1, 5)
    attributes = windows(r, 2, kernel)
    r.maybe(attributes, "kernel_shape", kernel)
    if group > 1 or r.chance():
        attributes["group"] = group
    name, *ranges = r.pick(ENDS)
    attributes["activation"] = name
    if ranges and ranges[0]:
        attributes["activation_params"] = [r.real(*limits) for limits in ranges]
    inputs = [r.values("float32", [1, group * into, *image(r, kernel)]), r.values("float32", [group * out, into, *kernel])]
    inputs.append(r.values("float32", [group * out]) if r.chance(0.7) else None)
    if "strides" not in attributes and "dilations" not in attributes and r.chance(0.5):
        attributes.pop("pads", None)
        attributes["auto_pad"] = "SAME_UPPER"
        inputs.append(r.values("float32", [1, group * out, *inputs[0].shape[2:]]))
    return Case(op, inputs, attributes, domain=MS_DOMAIN, constant={1, 2} if r.chance() else set(), close=(1e-3, 1e-3))


@generator("FusedGemm")
def fused_gemm(r, op):
    m, k, n = (r.pick((1, 2, 5, 7, 16)) for _ in range(3))
    attributes = {"activation": r.pick(("Relu", "Tanh", "Sigmoid", "LeakyRelu"))}
    if attributes["activation"] == "LeakyRelu":
        attributes["activation_alpha"] = r.real(0.1, 0.5)
    for key, value in (("transA", r.int(0, 1)), ("transB", r.int(0, 1)), ("alpha", r.real(-2, 2)), ("beta", r.real(-2, 2))):
        r.maybe(attributes, key, value)
    inputs = [r.values("float32", [k, m] if attributes.get("transA") else [m, k]), r.values("float32", [n, k] if attributes.get("transB") else [k, n])]
    inputs += [r.values("float32", r.broadcast([m, n]))] if r.chance(0.7) else []
    return Case(op, inputs, attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("FusedMatMul", "TransposeMatMul")
def fused_matmul(r, op):
    m, k, n = (r.pick((1, 2, 5, 7, 16, 17, 33)) for _ in range(3))
    batch, dtype = r.shape(0, 2, (1, 2, 3)), r.pick(("float32", "float32", "float64"))
    attributes = r.maybe({}, "alpha", r.real(0.5, 2))
    r.maybe(attributes, "transA", r.int(0, 1))
    r.maybe(attributes, "transB", r.int(0, 1))
    a, b = r.values(dtype, [*r.broadcast(batch), m, k]), r.values(dtype, [*r.broadcast(batch), k, n])
    a = numpy.swapaxes(a, -1, -2) if attributes.get("transA") else a
    b = numpy.swapaxes(b, -1, -2) if attributes.get("transB") else b
    if op == "FusedMatMul" and a.ndim == b.ndim == 3 and r.chance(0.4):  # the batch is next to last
        if r.chance():
            attributes["transBatchA"], a = 1, numpy.moveaxis(a, 0, 1)
        if r.chance():
            attributes["transBatchB"], b = 1, numpy.moveaxis(b, 0, 1)
    return Case(op, [a, b], attributes, domain=MS_DOMAIN, close=(1e-3, 1e-3))


@generator("QGemm")
def quantized_gemm(r, op):
    m, k, n = (r.pick((1, 2, 5, 7, 16)) for _ in range(3))
    attributes = r.maybe({}, "transA", r.int(0, 1))
    r.maybe(attributes, "transB", r.int(0, 1))
    r.maybe(attributes, "alpha", r.real(0.5, 2))
    kind, weight = r.pick((("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")))
    inputs = [r.any_values(kind, [k, m] if attributes.get("transA") else [m, k]), scale(r), r.values(kind, [], -50, 50),
              r.any_values(weight, [n, k] if attributes.get("transB") else [k, n]), scale(r), r.values(weight, [], -50, 50),
              r.values("int32", [n], -3000, 3000) if r.chance() else None]
    if r.chance(0.7):
        inputs += [numpy.float32(2), r.values(kind, [], -50, 50)]
    return Case(op, inputs, attributes, domain=MS_DOMAIN, constant={1, 2, 3, 4, 5, 6, 7, 8}, steps=1, close=(1e-3, 1e-3))


# ---- Quantised ----


@generator("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu")
def quantized(r, op):
    kind, shape = r.pick(BYTES), r.solid(1, 4)
    inputs = [r.any_values(kind, shape), *scale_and_zero(r, kind)]
    if op in ("QLinearAdd", "QLinearMul"):
        inputs += [r.any_values(kind, r.broadcast(shape)), *scale_and_zero(r, kind)]
    attributes = r.maybe({}, "alpha", r.real(0.01, 0.5)) if op == "QLinearLeakyRelu" else {}
    return Case(op, inputs + scale_and_zero(r, kind, False), attributes, domain=MS_DOMAIN, constant=set(range(8)) - {0, 3}, steps=1)


@generator("QLinearGlobalAveragePool", "QLinearAveragePool")
def quantized_pool(r, op):
    kind, kernel, attributes = r.pick(BYTES), [r.int(1, 3), r.int(1, 3)], {}
    shape = [r.int(1, 2), r.int(1, 4), *image(r, kernel)]
    if op == "QLinearAveragePool":
        attributes = {"kernel_shape": kernel, **windows(r, 2, kernel, dilated=False)}
        r.maybe(attributes, "count_include_pad", r.int(0, 1))
        r.maybe(attributes, "ceil_mode", r.int(0, 1))
    if r.chance(0.3):
        attributes["channels_last"], shape = 1, [shape[0], *shape[2:], shape[1]]
    optional = op == "QLinearAveragePool"
    inputs = [r.any_values(kind, shape), *scale_and_zero(r, kind, optional), *scale_and_zero(r, kind, False)]
    return Case(op, inputs, attributes, domain=MS_DOMAIN, constant={1, 2, 3, 4}, steps=1)


@generator("QLinearConcat")
def quantized_concat(r, op):
    kind, shape = r.pick(BYTES), r.solid(1, 4)
    axis, inputs = r.axis(len(shape)), []
    for _ in range(r.int(1, 4)):
        part = list(shape)
        part[axis] = r.int(1, 5)
        inputs += [r.any_values(kind, part), *scale_and_zero(r, kind, False)]
    inputs = scale_and_zero(r, kind, False) + inputs
    return Case(op, inputs, {"axis": axis}, domain=MS_DOMAIN, constant={i for i in range(len(inputs)) if i < 2 or i % 3 != 2}, steps=1)


@generator("ms.QLinearConv")
def quantized_conv(r, op):
    kernel, group, into, out = [r.int(1, 3), r.int(1, 3)], r.pick((1, 1, 2)), r.int(1, 4), r.int(1, 5)
    attributes = {**windows(r, 2, kernel), "group": group}
    r.maybe(attributes, "kernel_shape", kernel)
    x = r.any_values(r.pick(BYTES), [r.int(1, 2), group * into, *image(r, kernel)])
    if r.chance():
        attributes["channels_last"], x = 1, numpy.moveaxis(x, 1, -1)
    w = r.any_values(r.pick(BYTES), [group * out, into, *kernel])
    inputs = [x, scale(r), r.any_values(x.dtype, []), w, scale(r), r.any_values(w.dtype, []), numpy.float32(2), r.any_values(x.dtype, [])]
    inputs += [r.values("int32", [group * out], -3000, 3000)] if r.chance() else []
    return Case("QLinearConv", inputs, attributes, domain=MS_DOMAIN, constant=set(range(1, 9)), steps=1)


@generator("ms.QuantizeLinear", "ms.DequantizeLinear")
def own_quantize(r, op):
    op, shape, kind, attributes, extent = op.removeprefix("ms."), r.solid(1, 4), r.pick(BYTES + ("int16", "uint16")), {}, []
    kind = "int32" if op == "DequantizeLinear" and r.chance(0.1) else kind
    if r.chance():
        attributes["axis"] = axis = r.axis(len(shape))
        extent = [shape[axis]]
    x = r.values("float32", shape, -20, 20) if op == "QuantizeLinear" else r.any_values(kind, shape)
    inputs = [x, r.values("float32", extent, 0.02, 0.2)]
    if kind != "int32" and (kind != "uint8" or r.chance()):
        inputs.append(r.any_values(kind, extent))
    return Case(op, inputs, attributes, domain=MS_DOMAIN, constant={1, 2}, steps=1)


# ---- Others ----


@generator("ms.Trilu")
def own_trilu(r, op):
    inputs = [r.values(r.pick(("float32", "float64", "int64")), r.shape(2, 4))] + ([numpy.array(r.int(-5, 5))] if r.chance() else [])
    return Case("Trilu", inputs, r.maybe({}, "upper", r.int(0, 1)), domain=MS_DOMAIN)


@generator("ArrayFeatureExtractor")
def extract(r, op):
    shape = r.solid(1, 3)
    kind = r.pick(("float32", "float64", "int32", "int64"))
    return Case(op, [r.values(kind, shape), r.values("int64", [1, r.int(1, 4)], 0, shape[-1] - 1)], domain=ML_DOMAIN)


@generator("Affine", "ParametricSoftplus", "ScaledTanh")
def first_pointwise(r, op):
    attributes = {"alpha": r.real(0.2, 2), "beta": r.real(0.2, 2)}
    return Case(op, [r.values("float32", r.shape(), -4, 4)], attributes, opset=r.opset(7, 9))


@generator("ImageScaler")
def image_scaler(r, op):
    channels = r.int(1, 4)
    attributes = {"scale": r.real(0.1, 2), "bias": [r.real(-2, 2) for _ in range(channels)]}
    return Case(op, [r.values("float32", [r.int(1, 2), channels, r.int(1, 5), r.int(1, 5)])], attributes, opset=r.opset(7, 9))


@generator("Crop")
def crop(r, op):
    border = [r.int(0, 2) for _ in range(4)]
    attributes = {"border": border}
    height, width = r.int(1, 4), r.int(1, 4)
    if r.chance():
        attributes["scale"] = [height, width]
        height, width = height + r.int(0, 2), width + r.int(0, 2)
    x = r.values("float32", [r.int(1, 2), r.int(1, 3), height + border[1] + border[3], width + border[0] + border[2]])
    return Case(op, [x], attributes, opset=r.opset(7, 9))
