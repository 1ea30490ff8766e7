"""What bench/ops.py measures: for every operator a model of one node on about a million elements."""
import collections
import pathlib
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "differential"))

import wire  # noqa: E402

MANY = 1 << 20
SQUARE, PLANES = (1024, 1024), (1, 16, 256, 256)
F32, U8, I8 = "float32", "uint8", "int8"
RANDOM = numpy.random.default_rng(1)

Row = collections.namedtuple("Row", "op inputs attributes outputs opset domain")

UNARY = ("Abs", "Acos", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
         "IsInf", "IsNaN", "LeakyRelu", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
         "Softsign", "Tan", "Tanh", "ThresholdedRelu", "Identity", "Dropout", "NonZero", "Shape", "Size")
BINARY = ("Add", "Sub", "Mul", "Div", "PRelu", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Max", "Min", "Sum", "Mean")
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
ROWWISE = ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "LpNormalization")
WINDOWS = ("HannWindow", "HammingWindow", "BlackmanWindow")


def row(op, *inputs, outputs=1, opset=21, domain="", **attributes):
    return Row(op, inputs, attributes, outputs, opset, domain)


def real(*shape, low=-1.0, high=1.0):
    return RANDOM.uniform(low, high, shape).astype(F32)


def whole(*shape, low=0, high=100, dtype="int64"):
    return RANDOM.integers(low, high, shape).astype(dtype)


def bits(*shape):
    return whole(*(shape or (MANY,)), high=2).astype(bool)


def weights(array):
    """An operand that is in the model."""
    return ("constant", array)


def fixed(*values, dtype="int64"):
    return weights(numpy.array(values, dtype=dtype))


def one(value, dtype="int64"):
    return weights(numpy.array(value, dtype=dtype))


def late(value, dtype="int64"):
    """A scalar that is not in the model."""
    return ("input", numpy.array(value, dtype=dtype))


def scales(scale, zero, dtype=U8):
    return one(scale, F32), one(zero, dtype)


def pointwise():
    rows = [row(op, real(MANY)) for op in UNARY]
    rows += [row(op, real(*SQUARE, low=0.1, high=2)) for op in ("Log", "Sqrt")] + [row("Acosh", real(MANY, low=1, high=4))]
    rows += [row("Swish", real(MANY), opset=24), row("Clip", real(MANY), one(-0.5, F32), one(0.5, F32))]
    rows += [row(op, real(*SQUARE), real(*SQUARE)) for op in BINARY]
    rows += [row(op, real(*SQUARE), real(*shape)) for op in ("Add", "Mul") for shape in ((1024, 1), (1, 1024))]
    rows += [row("Add", real(1 << 18, 4), real(*shape)) for shape in ((1 << 18, 1), (1, 4))]
    rows += [row("Pow", real(MANY, low=0.1, high=2), real(MANY)), row("Mod", whole(MANY), whole(MANY, low=1)), row("Mod", real(MANY), real(MANY, low=0.1), fmod=1)]
    rows += [row(op, whole(MANY, low=1, dtype=dtype), whole(MANY, low=1, dtype=dtype)) for op in ("Add", "Mul", "Div", "Max", "Equal", "Less") for dtype in ("int64", "int32")]
    rows += [row(op, bits(), bits()) for op in ("And", "Or", "Xor", "Equal")] + [row("Not", bits())]
    rows += [row(op, whole(MANY, dtype="int32"), whole(MANY, dtype="int32")) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]
    rows += [row("BitwiseNot", whole(MANY, dtype="int32")), row("BitShift", whole(MANY, dtype=U8), whole(MANY, high=7, dtype=U8), direction="LEFT")]
    rows += [row("Where", bits(), real(MANY), real(MANY)), row("Where", bits(), whole(MANY), whole(MANY))]
    rows += [row("Cast", real(MANY, low=0, high=100), to=to) for to in (wire.INT32, wire.INT64, wire.UINT8, wire.BOOL, wire.FLOAT16, wire.BFLOAT16, wire.DOUBLE)]
    rows += [row("Cast", whole(MANY, dtype=dtype), to=wire.FLOAT) for dtype in ("int64", "int32", U8, "bool", "float16")]
    return rows + [row("CastLike", real(MANY), fixed(1, dtype="int32")), row("BitCast", real(MANY), to=wire.INT32, opset=26)]


def reductions():
    rows = [row(op, real(*SQUARE, low=0.5, high=1.5), fixed(axis), opset=20) for op in REDUCTIONS for axis in (0, 1)]
    rows += [row("ReduceSum", whole(*SQUARE), fixed(1)), row("ReduceMean", real(*PLANES), fixed(2, 3)), row("ReduceMean", real(*PLANES), fixed(1))]
    rows += [row(op, real(*SQUARE)) for op in ROWWISE] + [row("Softmax", real(*PLANES), axis=1), row("ArgMax", real(*PLANES), axis=1)]
    rows += [row("CumSum", real(*SQUARE), one(axis)) for axis in (0, 1)] + [row("CumProd", real(*SQUARE), one(1), opset=26)]
    rows += [row("TopK", real(*SQUARE), fixed(10), outputs=2), row("TopK", real(MANY), fixed(MANY // 2), outputs=2), row("TopK", real(*SQUARE), fixed(10), outputs=2, axis=0)]
    rows += [row("Unique", whole(MANY)), row("Unique", real(MANY), outputs=4), row("Compress", real(MANY), bits()), row("Det", real(1024, 32, 32))]
    return rows


def normalizations():
    rows = [row("LayerNormalization", real(*SQUARE), real(1024), real(1024)), row("RMSNormalization", real(*SQUARE), real(1024), opset=23)]
    rows += [row("BatchNormalization", real(*PLANES), *(weights(real(16, low=0.5)) for _ in range(4)))]
    rows += [row("InstanceNormalization", real(*PLANES), real(16), real(16)), row("GroupNormalization", real(*PLANES), real(16), real(16), num_groups=4)]
    return rows + [row("MeanVarianceNormalization", real(*PLANES)), row("LRN", real(*PLANES), size=5), row("LpNormalization", real(*PLANES), axis=1)]


def movement():
    rows = [row("Reshape", real(*SQUARE), fixed(512, -1)), row("Flatten", real(*PLANES)), row("Squeeze", real(*PLANES), fixed(0)), row("Unsqueeze", real(*SQUARE), fixed(0))]
    rows += [row("Transpose", real(*SQUARE), perm=[1, 0]), row("Transpose", real(*PLANES), perm=[0, 2, 3, 1]), row("Transpose", real(1, 256, 16, 256), perm=[0, 2, 1, 3])]
    rows += [row("Transpose", real(16, 16, 16, 16, 16), perm=[4, 3, 2, 1, 0])]
    rows += [row("Concat", real(*SQUARE), real(*SQUARE), axis=axis) for axis in (0, 1)] + [row("Split", real(*SQUARE), outputs=2, axis=1, num_outputs=2)]
    rows += [row("Slice", real(*SQUARE), fixed(10, 900), fixed(1000, 10), fixed(0, 1), fixed(1, -1)), row("Tile", real(256, 1024), fixed(2, 2))]
    rows += [row("Expand", real(1024, 1), fixed(*SQUARE)), row("Expand", real(1, 1024), fixed(*SQUARE)), row("CenterCropPad", real(*SQUARE), fixed(1000, 1100))]
    rows += [row("Pad", real(*PLANES), fixed(0, 0, 2, 2, 0, 0, 2, 2), mode=mode) for mode in ("constant", "reflect", "edge", "wrap")]
    rows += [row(op, real(*PLANES), blocksize=2) for op in ("DepthToSpace", "SpaceToDepth")] + [row("Trilu", real(*SQUARE)), row("EyeLike", real(*SQUARE))]
    rows += [row("ReverseSequence", real(*SQUARE), whole(1024, low=1, high=1024), batch_axis=0, time_axis=1)]
    rows += [row("Gather", real(*SQUARE), whole(1024, high=1024), axis=axis) for axis in (0, 1)] + [row("GatherND", real(*SQUARE), whole(MANY, 2, high=1024))]
    rows += [row(op, real(*SQUARE), whole(*SQUARE, high=1024), *extra, axis=axis) for axis in (0, 1) for op, extra in (("GatherElements", ()), ("ScatterElements", (real(*SQUARE),)))]
    rows += [row("ScatterElements", real(*SQUARE), whole(*SQUARE, high=1024), real(*SQUARE), axis=1, reduction="add"), row("Scatter", real(*SQUARE), whole(*SQUARE, high=1024), real(*SQUARE), opset=10)]
    rows += [row("ScatterND", real(*SQUARE), whole(1024, 1, high=1024), real(*SQUARE)), row("ScatterND", real(*SQUARE), whole(MANY, 2, high=1024), real(MANY))]
    rows += [row("ScatterND", real(*SQUARE), whole(MANY, 2, high=1024), real(MANY), reduction="add"), row("TensorScatter", real(8, 8, 128, 128), real(8, 8, 64, 128), whole(8, high=64), opset=24)]
    rows += [row("OneHot", whole(10000), one(100), fixed(0, 1, dtype=F32)), row("Range", one(0), late(MANY), one(1)), row("Range", one(0, F32), late(MANY, F32), one(1, F32))]
    rows += [row("ConstantOfShape", ("input", numpy.array([MANY]))), row("ArrayFeatureExtractor", real(*SQUARE), whole(512, high=1024), domain="ai.onnx.ml")]
    return rows + [row("ImageScaler", real(1, 3, 512, 512), bias=[0.1, 0.2, 0.3], scale=2.0), row("Crop", real(*PLANES), border=[2, 2, 2, 2])]


def contractions():
    image, small = real(1, 16, 256, 256), real(16, 16, 3, 3)
    same, relu = {"pads": [1] * 4}, {"pads": [1] * 4, "activation": "Relu"}
    rows = [row("Conv", image, weights(small), **same), row("Conv", image, weights(real(16, 1, 3, 3)), group=16, **same), row("Conv", image, weights(small), pads=[2] * 4, dilations=[2, 2])]
    rows += [row("Conv", real(1, 16, 65536), weights(real(16, 16, 3)), pads=[1, 1]), row("Conv", real(1, 16, 16, 64, 64), weights(real(16, 16, 3, 3, 3)), pads=[1] * 6)]
    rows += [row("FusedConv", image, weights(small), domain="com.microsoft", **relu), row("ConvTranspose", real(1, 16, 128, 128), weights(real(16, 16, 2, 2)), strides=[2, 2])]
    rows += [row("ConvTranspose", real(1, 16, 128, 128), weights(small), strides=[2, 2], pads=[1] * 4)]
    rows += [row("DeformConv", real(1, 16, 128, 128), weights(small), real(1, 18, 128, 128), opset=19, **same), row("Col2Im", real(1, 144, 65536), fixed(256, 256), fixed(3, 3), pads=[1] * 4)]
    rows += [row("ConvInteger", whole(*PLANES, dtype=U8), weights(whole(16, 16, 3, 3, dtype=U8)), **same)]
    quantized = [whole(*PLANES, dtype=U8), *scales(0.1, 9), weights(whole(16, 16, 3, 3, dtype=I8)), *scales(0.1, 0, I8), *scales(9, 9)]
    rows += [row("QLinearConv", *quantized, **same), row("QLinearConv", *quantized[:3], weights(whole(16, 1, 3, 3, dtype=I8)), *quantized[4:], group=16, **same)]
    rows += [row("QLinearConv", whole(1, 256, 256, 16, dtype=U8), *quantized[1:], domain="com.microsoft", channels_last=1, **same)]
    rows += [row("MatMul", real(*SQUARE), weights(real(*SQUARE))), row("MatMul", real(64, 128, 128), real(64, 128, 128)), row("Gemm", real(*SQUARE), weights(real(*SQUARE)), real(1024), transB=1)]
    rows += [row(op, real(*SQUARE), weights(real(*SQUARE)), domain="com.microsoft", **extra) for op, extra in (("FusedMatMul", {"transA": 1}), ("TransposeMatMul", {"transB": 1}))]
    rows += [row("FusedGemm", real(*SQUARE), weights(real(*SQUARE)), real(1024), domain="com.microsoft", activation="Relu")]
    rows += [row("MatMulInteger", whole(*SQUARE, dtype=U8), weights(whole(*SQUARE, dtype=I8)))]
    rows += [row("QLinearMatMul", whole(*SQUARE, dtype=U8), *scales(0.1, 9), weights(whole(*SQUARE, dtype=I8)), *scales(0.1, 0, I8), *scales(9, 9))]
    rows += [row("QGemm", whole(*SQUARE, dtype=U8), *scales(0.1, 9), weights(whole(*SQUARE, dtype=I8)), *scales(0.1, 0, I8), None, *scales(9, 9), domain="com.microsoft")]
    rows += [row("Einsum", real(64, 128, 128), real(64, 128, 128), equation=text) for text in ("bij,bjk->bik", "bij,bkj->bik", "bij,bij->b")] + [row("Einsum", real(*SQUARE), equation="ij->ji")]
    heads = [real(2, 8, 256, 64) for _ in range(3)]
    rows += [row("Attention", *heads, opset=23), row("Attention", *heads, opset=23, is_causal=1)]
    rows += [row("Attention", real(2, 512, 512), weights(real(512, 1536, high=0.1)), weights(real(1536)), domain="com.microsoft", num_heads=8)]
    return rows + [row("RotaryEmbedding", real(2, 8, 1024, 64), real(2, 1024, 32), real(2, 1024, 32), opset=23)]


def windows():
    rows = [row(op, real(*PLANES), kernel_shape=[3, 3], pads=[1] * 4, **extra) for op in ("MaxPool", "AveragePool", "LpPool") for extra in ({}, {"strides": [2, 2]})]
    rows += [row("MaxPool", real(*PLANES), outputs=2, kernel_shape=[2, 2], strides=[2, 2]), row("MaxPool", real(1, 16, 16, 64, 64), kernel_shape=[3, 3, 3], pads=[1] * 6)]
    rows += [row(op, real(*PLANES)) for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")]
    places = numpy.arange(MANY // 4).reshape(1, 16, 128, 128) * 4
    rows += [row("MaxUnpool", real(1, 16, 128, 128), places, kernel_shape=[2, 2], strides=[2, 2])]
    double = fixed(1, 1, 2, 2, dtype=F32)
    rows += [row("Resize", real(1, 16, 128, 128), None, double, opset=19, mode=mode) for mode in ("nearest", "linear", "cubic")]
    rows += [row("Resize", real(*PLANES), None, fixed(1, 1, 0.5, 0.5, dtype=F32), opset=19, mode=mode, antialias=1) for mode in ("linear", "cubic")]
    rows += [row("Resize", real(1, 4, 32, 64, 64), None, fixed(1, 1, 1, 2, 2, dtype=F32), opset=19, mode="linear"), row("Upsample", real(1, 16, 128, 128), double, opset=9, mode="linear")]
    rows += [row("GridSample", real(*PLANES), real(1, 256, 256, 2), opset=20, mode=mode) for mode in ("linear", "nearest", "cubic")]
    rows += [row("GridSample", real(1, 4, 64, 64, 64), real(1, 64, 64, 64, 3), opset=20), row("AffineGrid", real(4, 2, 3), fixed(4, 3, 512, 512), opset=20)]
    corners = real(200, 4, low=0, high=100)
    corners[:, 2:] += corners[:, :2]
    rows += [row("RoiAlign", real(*PLANES), corners, whole(200, high=1), opset=16, output_height=7, output_width=7, **extra) for extra in ({}, {"sampling_ratio": 2}, {"mode": "max"})]
    return rows + [row("NonMaxSuppression", real(1, 5000, 4, low=0, high=9), real(1, 4, 5000), fixed(100), fixed(0.5, dtype=F32))]


def quantization():
    rows = [row("QuantizeLinear", real(MANY), *scales(0.02, 128)), row("DequantizeLinear", whole(MANY, dtype=U8), *scales(0.02, 128)), row("DynamicQuantizeLinear", real(MANY), outputs=3)]
    rows += [row("QuantizeLinear", real(*PLANES), weights(real(16, low=0.1)), weights(numpy.zeros(16, I8)), axis=1)]
    rows += [row("DequantizeLinear", whole(*PLANES, dtype=I8), weights(real(16, low=0.1)), weights(numpy.zeros(16, I8)), axis=1)]
    rows += [row("DequantizeLinear", whole(*SQUARE, dtype=I8), weights(real(1024, 32, low=0.1)), weights(numpy.zeros((1024, 32), I8)), axis=1, block_size=32)]
    rows += [row("QuantizeLinear", real(*SQUARE), weights(real(1024, 32, low=0.1)), weights(numpy.zeros((1024, 32), I8)), axis=1, block_size=32)]
    rows += [row(op, value, *scales(0.02, 128), domain="com.microsoft") for op, value in (("QuantizeLinear", real(MANY)), ("DequantizeLinear", whole(MANY, dtype=U8)))]
    byte = lambda *shape: whole(*(shape or PLANES), high=255, dtype=U8)  # noqa: E731
    rows += [row(op, byte(), *scales(0.1, 9), byte(), *scales(0.1, 9), *scales(0.2, 9), domain="com.microsoft") for op in ("QLinearAdd", "QLinearMul")]
    rows += [row(op, byte(), *scales(0.1, 9), *scales(0.2, 9), domain="com.microsoft") for op in ("QLinearSigmoid", "QLinearLeakyRelu", "QLinearGlobalAveragePool")]
    rows += [row("QLinearAveragePool", byte(), *scales(0.1, 9), *scales(0.1, 9), domain="com.microsoft", kernel_shape=[3, 3], pads=[1] * 4)]
    return rows + [row("QLinearConcat", *scales(0.2, 9), byte(), *scales(0.1, 9), byte(), *scales(0.1, 9), domain="com.microsoft", axis=1)]


def recurrent():
    parts = [(op, gates, real(64, 8, 128), weights(real(1, gates * 128, 128, high=0.1)), weights(real(1, gates * 128, 128, high=0.1))) for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))]
    rows = [row(op, *inputs, opset=14, hidden_size=128) for op, _, *inputs in parts]
    both = [weights(real(2, 512, 128, high=0.1)) for _ in range(2)]
    return rows + [row("LSTM", real(64, 8, 128), *both, opset=14, hidden_size=128, direction="bidirectional")]


def signal():
    rows = [row("DFT", real(1024, length, 1), opset=17, axis=1) for length in (1024, 1021, 1000)] + [row("DFT", real(1024, 1024, 1), opset=17, axis=1, onesided=1)]
    rows += [row("DFT", real(1024, 1024, 2), opset=17, axis=1, inverse=1)]
    rows += [row("STFT", real(4, 65536, 1), one(128), weights(real(512)), opset=17)] + [row(op, late(MANY), opset=17) for op in WINDOWS]
    return rows + [row("MelWeightMatrix", one(128), late(8192), one(16000), one(0.0, F32), one(8000.0, F32), opset=17)]


def generators():
    like = {"high": 1.0, "low": 0.0}
    rows = [row("RandomNormal", shape=list(SQUARE), seed=1.0), row("RandomUniform", shape=list(SQUARE), seed=1.0, **like), row("RandomNormalLike", real(MANY), seed=1.0)]
    rows += [row("RandomUniformLike", real(MANY), seed=1.0, **like), row("Bernoulli", real(MANY, low=0), seed=1.0), row("Multinomial", real(16, 1024), sample_size=1024, seed=1.0)]
    return rows


def contrib():
    ms = {"domain": "com.microsoft"}
    rows = [row(op, real(MANY), **ms) for op in ("Gelu", "QuickGelu")] + [row(op, real(*SQUARE), real(1024), **ms) for op in ("BiasGelu", "FastGelu")]
    rows += [row("SkipLayerNormalization", real(4, 256, 1024), real(4, 256, 1024), real(1024), real(1024), **ms), row("SimplifiedLayerNormalization", real(*SQUARE), real(1024), axis=-1)]
    rows += [row("SkipSimplifiedLayerNormalization", real(4, 256, 1024), real(4, 256, 1024), real(1024), **ms), row("Trilu", real(*SQUARE), **ms)]
    tables = [real(1000, 1024), real(256, 1024), real(2, 1024), real(1024), real(1024)]
    rows += [row("EmbedLayerNormalization", whole(4, 256, dtype="int32"), whole(4, 256, high=2, dtype="int32"), *tables, outputs=2, **ms)]
    rows += [row("Affine", real(MANY), alpha=2.0, beta=1.0), row("ParametricSoftplus", real(MANY), alpha=2.0, beta=1.0), row("ScaledTanh", real(MANY), alpha=2.0, beta=1.0)]
    return rows + [row("Scale", real(MANY), scale=2.0)]


def control():
    """Bodies that add an outer value of 1024 elements, 1024 times."""
    line = ("a", wire.FLOAT, (1024,))
    add = wire.node("Add", ["a", "x0"], ["b"])
    keep = wire.node("Identity", ["go"], ["on"])
    branch = wire.Graph(wire.graph([wire.node("Relu", ["x1"], ["b"])], [], [wire.value_info("b")]))
    counter = [wire.value_info("i", wire.INT64, ()), wire.value_info("go", wire.BOOL, ()), wire.value_info(*line)]
    loop = wire.Graph(wire.graph([add, keep], counter, [wire.value_info("on", wire.BOOL, ()), wire.value_info("b", wire.FLOAT, (1024,))]))
    step = wire.graph([wire.node("Add", ["a", "r"], ["b"])], [wire.value_info(*line), wire.value_info("r", wire.FLOAT, (1024,))], [wire.value_info("b", wire.FLOAT, (1024,))])
    rows = [row("If", ("input", numpy.array(True)), ("outer", real(MANY)), then_branch=branch, else_branch=branch)]
    rows += [row("Loop", ("outer", real(1024)), one(1024), one(True, "bool"), real(1024), body=loop)]
    return rows + [row("Scan", real(1024), real(*SQUARE), num_scan_inputs=1, body=wire.Graph(step))]


def table():
    sections = (pointwise, reductions, normalizations, movement, contractions, windows, quantization, recurrent, signal, generators, contrib, control)
    return [entry for section in sections for entry in section()]
