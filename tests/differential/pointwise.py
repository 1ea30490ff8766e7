"""Cases of operators that work element by element, on reductions and normalisations."""
import numpy

import wire
from case import ALL, FLOATS, INTEGERS, NUMBERS, SIGNED, UNSIGNED, Case, generator, ints

UNARY_SINCE = {"Acosh": 9, "Asinh": 9, "Atanh": 9, "Cosh": 9, "Sinh": 9, "Erf": 9, "HardSwish": 14, "Mish": 18, "Round": 11}
UNARY_RANGES = {
    "Acos": (-1, 1), "Asin": (-1, 1), "Atanh": (-0.9, 0.9), "Acosh": (1, 9), "Log": (0.01, 9), "Sqrt": (0, 9), "Tan": (-1.4, 1.4),
    "Exp": (-9, 6), "Cosh": (-5, 5), "Sinh": (-5, 5), "Sigmoid": (-20, 20), "Tanh": (-8, 8), "Softplus": (-30, 30),
    "Reciprocal": (0.2, 4),
}


@generator("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish", "Log",
           "Mish", "Reciprocal", "Round", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh")
def unary(r, op):
    return Case(op, [r.values(r.pick(FLOATS), r.shape(), *UNARY_RANGES.get(op, (-6, 6)))], opset=r.opset(UNARY_SINCE.get(op, 7)))


@generator("Abs", "Neg", "Sign", "Relu")
def signed_unary(r, op):
    dtypes = FLOATS + SIGNED + (UNSIGNED if op in ("Abs", "Sign") else ())
    return Case(op, [r.values(r.pick(dtypes), r.shape(), -100, 100)], opset=r.opset(9))


@generator("Not")
def negation(r, op):
    return Case(op, [r.values("bool", r.shape())])


@generator("BitwiseNot")
def bitwise_not(r, op):
    return Case(op, [r.any_values(r.pick(INTEGERS), r.shape())], opset=r.opset(18))


@generator("IsNaN", "IsInf")
def classify(r, op):
    x = r.values(r.pick(FLOATS), r.shape())
    odd = r.rng.integers(0, 4, x.shape)
    for code, value in enumerate((numpy.nan, numpy.inf, -numpy.inf)):
        x[odd == code] = value
    attributes = {}
    if op == "IsInf":
        r.maybe(attributes, "detect_negative", r.int(0, 1))
        r.maybe(attributes, "detect_positive", r.int(0, 1))
    return Case(op, [x], attributes, opset=r.opset(20 if x.dtype == "float16" else 10))


@generator("Celu", "Elu", "LeakyRelu", "ThresholdedRelu", "Selu", "HardSigmoid", "Shrink", "Swish", "Gelu")
def activation(r, op):
    attributes, least = {}, 16
    if op == "Shrink":
        r.maybe(attributes, "lambd", r.real(0, 2))
        r.maybe(attributes, "bias", r.real(-1, 1))
    elif op == "Gelu":
        r.maybe(attributes, "approximate", r.pick(["none", "tanh"]))
        least = 20
    else:
        r.maybe(attributes, "alpha", r.real(0.1, 2))
        if op == "Selu":
            r.maybe(attributes, "gamma", r.real(0.1, 2))
        if op == "HardSigmoid":
            r.maybe(attributes, "beta", r.real(0.1, 1))
        least = {"Swish": 24, "Celu": 12, "ThresholdedRelu": 10}.get(op, 7)
    dtype = "float32" if op == "Celu" else r.pick(NUMBERS if op == "Shrink" else FLOATS)
    return Case(op, [r.values(dtype, r.shape(), -4, 4)], attributes, opset=r.opset(least))


@generator("Add", "Sub", "Mul", "Div", "Mod", "Pow", "And", "Or", "Xor", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
           "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "PRelu")
def binary(r, op):
    shape = r.shape()
    shapes = [shape, r.broadcast(shape)]
    attributes, dtypes = {}, NUMBERS
    if op in ("And", "Or", "Xor"):
        dtypes = ("bool",)
    elif op.startswith("Bitwise"):
        dtypes = INTEGERS
    elif op == "BitShift":
        dtypes, attributes = UNSIGNED, {"direction": r.pick(["LEFT", "RIGHT"])}
    elif op == "Equal":
        dtypes = ALL
    elif op in ("PRelu", "Pow"):
        dtypes = FLOATS + ("int32", "int64")
    dtype = r.pick(dtypes)
    if r.chance(0.3) and op != "PRelu":
        shapes.reverse()
    a, b = (r.values(dtype, s, -9, 9) for s in shapes)
    if op in ("Div", "Mod"):
        b[b == 0] = 1
    if op == "Mod":
        attributes = {"fmod": 1} if a.dtype.kind == "f" else r.maybe({}, "fmod", r.int(0, 1))
    if op == "Pow":
        a = abs(a)
        b = r.values(r.pick(("float32", "float64", "int32", "int64")), shapes[1], 0, 3)
    if op == "BitShift":
        b = r.values(dtype, shapes[1], 0, a.itemsize * 8 - 1)
    least = 18 if op.startswith("Bitwise") else {"BitShift": 11, "Mod": 10, "LessOrEqual": 12, "GreaterOrEqual": 12, "PRelu": 9, "Pow": 12}.get(op, 7)
    return Case(op, [a, b], attributes, opset=r.opset(least), constant={1} if r.chance(0.3) else set())


@generator("Max", "Min", "Sum", "Mean")
def variadic(r, op):
    shape = r.shape()
    dtype = r.pick(NUMBERS if op in ("Max", "Min") else FLOATS)
    inputs = [r.values(dtype, shape if i == 0 else r.broadcast(shape), -50, 50) for i in range(r.int(1, 4))]
    if inputs[0].dtype.kind == "f" and op in ("Max", "Min") and r.chance(0.2) and inputs[0].size:
        inputs[0].flat[0] = numpy.nan
    return Case(op, inputs, opset=r.opset(8))


@generator("Where")
def where(r, op):
    shape = r.shape()
    dtype = r.pick(ALL)
    inputs = [r.values("bool", r.broadcast(shape)), r.values(dtype, shape), r.values(dtype, r.broadcast(shape))]
    return Case(op, inputs, opset=r.opset(9))


@generator("Clip")
def clip(r, op):
    dtype = r.pick(NUMBERS)
    low, high = sorted(r.values(dtype, [2], -2, 5))
    inputs = [r.values(dtype, r.shape(), -9, 9)]
    inputs += r.pick([[], [numpy.array(low)], [None, numpy.array(high)], [numpy.array(low), numpy.array(high)]])
    return Case(op, inputs, constant={1, 2} if r.chance() else set(), opset=r.opset(11))


# Types that arrays of numpy cannot have: a Cast to one and another one back.
STORED = (wire.BFLOAT16, wire.FLOAT8E4M3FN, wire.FLOAT8E4M3FNUZ, wire.FLOAT8E5M2, wire.FLOAT8E5M2FNUZ, wire.UINT4, wire.INT4)


def cast_stored(r):
    target = r.pick(STORED)
    if target in (wire.UINT4, wire.INT4):
        x = r.values(r.pick(("float32", "float16", "int32", "uint8")), r.shape(), 0, 7)
        return Case("Cast", [x], {"to": target}, opset=r.opset(21), after=[("Cast", {"to": wire.FLOAT})])
    x = r.values("float32", r.shape(), -600, 600) * numpy.float32(r.pick((1e-3, 0.1, 1)))
    attributes = {"to": target} if target == wire.BFLOAT16 else r.maybe({"to": target}, "saturate", r.int(0, 1))
    return Case("Cast", [x.astype(r.pick(("float32", "float16")))], attributes, opset=r.opset(19), after=[("Cast", {"to": wire.FLOAT})])


@generator("Cast", "CastLike")
def cast(r, op):
    if op == "Cast" and r.chance(0.4):
        return cast_stored(r)
    source, target = r.pick(ALL), r.pick(ALL)
    x = r.values(source, r.shape(), -100, 100)
    if numpy.dtype(target).kind == "u" and x.dtype.kind == "f":
        x = abs(x)
    if op == "CastLike":
        opset = r.opset(15)
        attributes = r.maybe({}, "saturate", r.int(0, 1), 0.3) if opset >= 19 else {}
        return Case(op, [x, r.values(target, r.shape())], attributes, opset=opset)
    return Case(op, [x], {"to": wire.ELEMENT_TYPES[target]}, opset=r.opset(9))


REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
              "ReduceSumSquare")


@generator(*REDUCTIONS)
def reduction(r, op):
    dtype = r.pick(FLOATS + ("int32", "int64") + (("int8", "uint8", "bool") if op in ("ReduceMax", "ReduceMin") else ()))
    empty_allowed = op not in ("ReduceMean", "ReduceMax", "ReduceMin") and numpy.dtype(dtype).kind == "f"
    shape = r.shape(0, 5) if empty_allowed else r.solid(0, 5)
    low, high = (0.1, 3) if op == "ReduceProd" else (1, 3) if op == "ReduceLogSum" else (-3, 3)
    attributes = r.maybe({}, "keepdims", r.int(0, 1))
    opset = r.opset({"bool": 20, "int8": 12, "uint8": 12}.get(dtype, 7))
    axes = r.axes(len(shape)) if opset >= 11 else [axis % len(shape) for axis in r.axes(len(shape))]
    inputs, constant = [r.values(dtype, shape, low, high)], set()
    if opset >= (13 if op == "ReduceSum" else 18):
        r.maybe(attributes, "noop_with_empty_axes", r.int(0, 1), 0.3)
        if axes or r.chance():
            inputs.append(ints(axes))
            constant = {1} if r.chance(0.7) else set()
    elif axes:
        attributes["axes"] = axes
    return Case(op, inputs, attributes, opset=opset, constant=constant, close=(2e-2, 2e-2) if dtype == "float16" else (1e-4, 1e-4))


@generator("ArgMax", "ArgMin")
def arg_extreme(r, op):
    shape = r.solid(1, 4)
    attributes = r.maybe({}, "axis", r.axis(len(shape)))
    r.maybe(attributes, "keepdims", r.int(0, 1))
    r.maybe(attributes, "select_last_index", r.int(0, 1))
    dtype = r.pick(("float32", "float64", "int8", "uint8", "int32", "int64"))
    return Case(op, [numpy.round(r.values(dtype, shape))], attributes, opset=r.opset(13))


@generator("CumSum", "CumProd")
def cumulative(r, op):
    shape = r.shape(1, 4)
    opset = 26 if op == "CumProd" else r.opset(11)
    attributes = r.maybe({}, "exclusive", r.int(0, 1))
    r.maybe(attributes, "reverse", r.int(0, 1))
    x = r.values(r.pick(("float32", "float64", "int32", "int64") + (("uint32", "uint64") if op == "CumProd" else ())), shape, -2, 2)
    axis = numpy.array(r.axis(len(shape)), dtype=r.pick(("int32", "int64")))
    return Case(op, [x, axis], attributes, opset=opset, constant={1} if r.chance() else set())


@generator("Softmax", "LogSoftmax", "Hardmax")
def softmax(r, op):
    shape = r.shape(1, 4)
    attributes = r.maybe({}, "axis", r.axis(len(shape)))
    return Case(op, [r.values(r.pick(FLOATS), shape, -9, 9)], attributes, opset=r.opset(11))


@generator("LayerNormalization", "RMSNormalization")
def layer_norm(r, op):
    shape = r.solid(1, 4)
    axis = r.axis(len(shape))
    tail = shape[axis:]
    dtype = r.pick(FLOATS)
    attributes = r.maybe({}, "epsilon", r.real(1e-6, 1e-2))
    if axis != -1 or r.chance():
        attributes["axis"] = axis
    r.maybe(attributes, "stash_type", wire.FLOAT, 0.3)
    inputs = [r.values(dtype, shape), r.values(dtype, tail)]
    if op == "LayerNormalization" and r.chance(0.7):
        inputs.append(r.values(dtype, tail))
    return Case(op, inputs, attributes, opset=r.opset(23 if op == "RMSNormalization" else 17), close=(1e-2, 1e-2) if dtype == "float16" else (1e-3, 1e-3))


@generator("BatchNormalization", "InstanceNormalization", "GroupNormalization")
def channel_norm(r, op):
    batch, groups, per_group = r.int(1, 3), r.int(1, 3), r.int(1, 3)
    channels = groups * per_group
    shape = [batch, channels] + r.solid(1, 3)
    dtype = "float32" if op == "InstanceNormalization" else r.pick(FLOATS)
    attributes = r.maybe({}, "epsilon", r.real(1e-5, 1e-2))
    opset = r.opset({"GroupNormalization": 18, "BatchNormalization": 9}.get(op, 7))
    inputs = [r.values(dtype, shape), r.values(dtype, [channels]), r.values(dtype, [channels])]
    if op == "BatchNormalization":
        inputs += [r.values(dtype, [channels]), r.values(dtype, [channels], 0.1, 3)]
        r.maybe(attributes, "momentum", r.real(0.1, 1), 0.3)
    if op == "GroupNormalization":
        attributes["num_groups"] = groups
        if opset < 21:
            inputs[1:] = [r.values(dtype, [groups]), r.values(dtype, [groups])]
        else:
            r.maybe(attributes, "stash_type", wire.FLOAT, 0.3)
    return Case(op, inputs, attributes, opset=opset, constant=set(range(1, 5)) if r.chance() else set(),
                close=(2e-2, 2e-2) if dtype == "float16" else (1e-3, 1e-3))


@generator("LpNormalization", "MeanVarianceNormalization", "LRN")
def other_norm(r, op):
    attributes = {}
    shape = r.solid(4, 4) if op != "LpNormalization" else r.solid(1, 4)
    if op == "LpNormalization":
        r.maybe(attributes, "axis", r.axis(len(shape)))
        r.maybe(attributes, "p", r.int(1, 2))
    elif op == "MeanVarianceNormalization":
        r.maybe(attributes, "axes", r.pick(([0, 2, 3], [0, 1, 2, 3])))
    else:
        attributes = {"size": r.pick((1, 3, 5))}
        r.maybe(attributes, "alpha", r.real(1e-4, 1))
        r.maybe(attributes, "beta", r.real(0.1, 1))
        r.maybe(attributes, "bias", r.real(0.5, 2))
    dtype = r.pick(("float32", "float64")) if op == "LpNormalization" else "float32"
    return Case(op, [r.values(dtype, shape)], attributes, opset=r.opset(9), close=(1e-3, 1e-3))


def scale_shape(r, opset, shape, attributes):
    """The shape of scales for the whole, an axis or blocks of it; sets the attributes."""
    axis, mode = r.axis(len(shape)), r.pick(("tensor", "axis", "block") if opset >= 21 else ("tensor", "axis"))
    if mode == "tensor" or opset < 13:
        return []
    attributes["axis"] = axis
    if mode == "axis":
        return [shape[axis]]
    attributes["block_size"] = block = r.int(1, 3)
    return [-(-size // block) if i == axis % len(shape) else size for i, size in enumerate(shape)]


@generator("QuantizeLinear")
def quantize(r, op):
    opset, shape, attributes, after = r.opset(10), r.solid(1, 4), {}, []
    extent = scale_shape(r, opset, shape, attributes)
    dtype = r.pick(("float32", "float32", "float16")) if opset >= 19 else "float32"
    inputs = [r.values(dtype, shape, -20, 20), r.values(dtype, extent, 0.02, 0.2)]
    if opset >= 21 and r.chance(0.4):
        attributes["output_dtype"] = to = r.pick((wire.INT8, wire.UINT8, wire.INT16, wire.UINT16, *STORED[1:]))
        if to in STORED:
            after = [("Cast", {"to": wire.FLOAT})]
            r.maybe(attributes, "saturate", r.int(0, 1))
    else:
        kind = r.pick(("uint8", "int8") + (("int16", "uint16") if opset >= 21 else ()))
        info = numpy.iinfo(kind)
        if r.chance(0.8) or kind != "uint8":
            inputs.append(r.values(kind, extent, info.min // 2, info.max // 2))
    if opset >= 23:
        r.maybe(attributes, "precision", wire.FLOAT, 0.2)
    return Case(op, inputs, attributes, opset=opset, constant={1, 2} if r.chance() else set(), steps=1, after=after,
                close=(0.13, 1) if after else None)  # a step of a float8 of 3 or 2 bits


@generator("DequantizeLinear")
def dequantize(r, op):
    opset, shape, attributes = r.opset(10), r.solid(1, 4), {}
    extent = scale_shape(r, opset, shape, attributes)
    dtype = r.pick(("float32", "float32", "float16")) if opset >= 19 else "float32"
    kind = r.pick(("uint8", "int8", "int32") + (("int16", "uint16") if opset >= 21 else ()))
    x = r.values(kind, shape, -9999, 9999) if kind == "int32" else r.any_values(kind, shape)
    inputs = [x, r.values(dtype, extent, 0.02, 0.2)]
    if r.chance(0.8) and kind != "int32":
        inputs.append(r.any_values(kind, extent))
    if opset >= 23:
        r.maybe(attributes, "output_dtype", r.pick((wire.FLOAT, wire.FLOAT16)), 0.3)
    return Case(op, inputs, attributes, opset=opset, constant={1, 2} if r.chance() else set(), close=(2e-3, 1e-3))


@generator("DynamicQuantizeLinear")
def dynamic_quantize(r, op):
    return Case(op, [r.values("float32", r.solid(0, 4))], outputs=3, steps=1, opset=r.opset(11))
