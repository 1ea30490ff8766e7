#!/usr/bin/env python3
"""Every operator on tensors of about a million elements, against ONNX Runtime on the CPU. Prints a table.

Needs numpy and onnxruntime. Both run the same model of one node on the same data with the same number of threads; the figures are
medians in milliseconds. Reading: "slow" marks operators that take more than 10 times as long.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "differential"))

import wire  # noqa: E402

MANY, SLOW = 1 << 20, 10
RANDOM = numpy.random.default_rng(1)


def real(*shape, low=-1.0, high=1.0):
    return RANDOM.uniform(low, high, shape).astype("float32")


def whole(*shape, low=0, high=100, dtype="int64"):
    return RANDOM.integers(low, high, shape).astype(dtype)


def fixed(*values, dtype="int64"):
    """An operand that goes into the model."""
    return ("constant", numpy.array(values, dtype=dtype))


def one(value, dtype):
    return ("constant", numpy.array(value, dtype=dtype))


def weights(array):
    return ("constant", array)


def bits():
    return whole(MANY, high=2).astype(bool)


SQUARE, PLANES, ROWS = (1024, 1024), (1, 16, 256, 256), (1024, 1024)
UNARY = ("Abs", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid",
         "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh", "Elu", "Celu", "Selu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Shrink",
         "Identity", "IsNaN", "IsInf", "Acos", "Asin", "Atanh", "NonZero")
BINARY = ("Add", "Sub", "Mul", "Div", "PRelu", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Max", "Min", "Sum", "Mean")
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
ROWWISE = ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "LpNormalization")
U8, I8 = "uint8", "int8"


def table():
    """(operator, inputs, attributes, outputs, opset)"""
    rows = [(op, [real(MANY)], {}, 1, 21) for op in UNARY]
    rows += [(op, [real(*SQUARE, low=0.1, high=2)], {}, 1, 21) for op in ("Log", "Sqrt")]
    rows += [("Acosh", [real(MANY, low=1, high=4)], {}, 1, 21), ("Gelu", [real(MANY)], {}, 1, 21), ("Clip", [real(MANY), one(-0.5, "float32"), one(0.5, "float32")], {}, 1, 21)]
    rows += [(op, [real(*SQUARE), real(*SQUARE)], {}, 1, 21) for op in BINARY]
    rows += [(f"{op}", [real(*SQUARE), real(1024, 1)], {}, 1, 21) for op in ("Add", "Mul")]
    rows += [("Pow", [real(MANY, low=0.1, high=2), real(MANY)], {}, 1, 21), ("Mod", [whole(MANY), whole(MANY, low=1)], {}, 1, 21)]
    rows += [(op, [bits(), bits()], {}, 1, 21) for op in ("And", "Or", "Xor")] + [("Not", [bits()], {}, 1, 21)]
    rows += [(op, [whole(MANY, dtype="int32"), whole(MANY, dtype="int32")], {}, 1, 21) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]
    rows += [("BitwiseNot", [whole(MANY, dtype="int32")], {}, 1, 21), ("BitShift", [whole(MANY, dtype=U8), whole(MANY, high=7, dtype=U8)], {"direction": "LEFT"}, 1, 21)]
    rows += [("Where", [bits(), real(MANY), real(MANY)], {}, 1, 21), ("Cast", [real(MANY)], {"to": wire.INT32}, 1, 21), ("Cast", [real(MANY)], {"to": wire.FLOAT16}, 1, 21)]
    rows += [(op, [real(*SQUARE, low=0.5, high=1.5), fixed(axis)], {}, 1, 21) for op in REDUCTIONS for axis in (0, 1)]
    rows += [(op, [real(*ROWS)], {}, 1, 21) for op in ROWWISE] + [("CumSum", [real(*ROWS), one(1, "int64")], {}, 1, 21)]
    rows += [("LayerNormalization", [real(*ROWS), real(1024), real(1024)], {}, 1, 21), ("LRN", [real(*PLANES)], {"size": 5}, 1, 21)]
    rows += [("BatchNormalization", [real(*PLANES)] + [weights(real(16, low=0.5)) for _ in range(4)], {}, 1, 21)]
    rows += [("InstanceNormalization", [real(*PLANES), real(16), real(16)], {}, 1, 21), ("GroupNormalization", [real(*PLANES), real(16), real(16)], {"num_groups": 4}, 1, 21)]
    rows += [("MeanVarianceNormalization", [real(*PLANES)], {}, 1, 21), ("Dropout", [real(MANY)], {}, 1, 21)]
    rows += [("QuantizeLinear", [real(MANY), one(0.02, "float32"), one(128, U8)], {}, 1, 21), ("DequantizeLinear", [whole(MANY, dtype=U8), one(0.02, "float32"), one(128, U8)], {}, 1, 21)]
    rows += [("DynamicQuantizeLinear", [real(MANY)], {}, 3, 21)]
    rows += [("Reshape", [real(*SQUARE), fixed(512, -1)], {}, 1, 21), ("Transpose", [real(*SQUARE)], {"perm": [1, 0]}, 1, 21), ("Transpose", [real(*PLANES)], {"perm": [0, 2, 3, 1]}, 1, 21)]
    rows += [("Concat", [real(*SQUARE), real(*SQUARE)], {"axis": 1}, 1, 21), ("Split", [real(*SQUARE)], {"axis": 1, "num_outputs": 2}, 2, 21)]
    rows += [("Slice", [real(*SQUARE), fixed(10, 900), fixed(1000, 10), fixed(0, 1), fixed(1, -1)], {}, 1, 21), ("Tile", [real(256, 1024), fixed(2, 2)], {}, 1, 21)]
    rows += [("Expand", [real(1024, 1), fixed(1024, 1024)], {}, 1, 21)]
    rows += [("Pad", [real(*PLANES), fixed(0, 0, 2, 2, 0, 0, 2, 2)], {"mode": mode}, 1, 21) for mode in ("constant", "reflect", "edge")]
    rows += [("Gather", [real(*SQUARE), whole(1024, high=1024)], {"axis": axis}, 1, 21) for axis in (0, 1)]
    rows += [("GatherElements", [real(*SQUARE), whole(*SQUARE, high=1024)], {"axis": 1}, 1, 21), ("GatherND", [real(*SQUARE), whole(MANY, 2, high=1024)], {}, 1, 21)]
    rows += [("ScatterElements", [real(*SQUARE), whole(*SQUARE, high=1024), real(*SQUARE)], {"axis": 1}, 1, 21), ("ScatterND", [real(*SQUARE), whole(1024, 1, high=1024), real(*SQUARE)], {}, 1, 21)]
    rows += [("DepthToSpace", [real(*PLANES)], {"blocksize": 2}, 1, 21), ("SpaceToDepth", [real(*PLANES)], {"blocksize": 2}, 1, 21), ("Trilu", [real(*SQUARE)], {}, 1, 21)]
    rows += [("OneHot", [whole(10000), one(100, "int64"), fixed(0, 1, dtype="float32")], {}, 1, 21), ("EyeLike", [real(*SQUARE)], {}, 1, 21)]
    rows += [("ReverseSequence", [real(*SQUARE), whole(1024, high=1024)], {"batch_axis": 0, "time_axis": 1}, 1, 21), ("TopK", [real(*ROWS), fixed(10)], {}, 2, 21)]
    rows += [("Unique", [whole(MANY)], {}, 1, 21), ("Compress", [real(MANY), bits()], {}, 1, 21), ("Range", [one(0, "int64"), ("input", numpy.array(MANY)), one(1, "int64")], {}, 1, 21)]
    rows += [("Conv", [real(1, 16, 256, 256), weights(real(16, 16, 3, 3))], {"pads": [1] * 4}, 1, 21), ("Conv", [real(1, 16, 256, 256), weights(real(16, 1, 3, 3))], {"pads": [1] * 4, "group": 16}, 1, 21)]
    rows += [("ConvTranspose", [real(1, 16, 128, 128), weights(real(16, 16, 2, 2))], {"strides": [2, 2]}, 1, 21)]
    rows += [("ConvInteger", [whole(1, 16, 256, 256, dtype=U8), weights(whole(16, 16, 3, 3, dtype=U8))], {"pads": [1] * 4}, 1, 21)]
    quantized = [whole(1, 16, 256, 256, dtype=U8), one(0.1, "float32"), one(9, U8), weights(whole(16, 16, 3, 3, dtype=I8)), one(0.1, "float32"), one(0, I8), one(9, "float32"), one(9, U8)]
    rows += [("QLinearConv", quantized, {"pads": [1] * 4}, 1, 21)]
    rows += [("MatMul", [real(*SQUARE), weights(real(*SQUARE))], {}, 1, 21), ("Gemm", [real(*SQUARE), weights(real(*SQUARE)), real(1024)], {"transB": 1}, 1, 21)]
    rows += [("MatMulInteger", [whole(*SQUARE, dtype=U8), weights(whole(*SQUARE, dtype=I8))], {}, 1, 21), ("Einsum", [real(64, 128, 128), real(64, 128, 128)], {"equation": "bij,bjk->bik"}, 1, 21)]
    rows += [(op, [real(*PLANES)], {"kernel_shape": [3, 3], "pads": [1] * 4}, 1, 21) for op in ("MaxPool", "AveragePool", "LpPool")]
    rows += [(op, [real(*PLANES)], {}, 1, 21) for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")]
    rows += [("Resize", [real(1, 16, 128, 128), None, fixed(1, 1, 2, 2, dtype="float32")], {"mode": mode}, 1, 19) for mode in ("nearest", "linear", "cubic")]
    rows += [("GridSample", [real(*PLANES), real(1, 256, 256, 2)], {"mode": "linear"}, 1, 20), ("RoiAlign", [real(*PLANES), real(200, 4, low=0, high=200), whole(200, high=1)], {"output_height": 7, "output_width": 7}, 1, 16)]
    rows += [("NonMaxSuppression", [real(1, 5000, 4, low=0, high=9), real(1, 4, 5000), fixed(100), fixed(0.5, dtype="float32")], {}, 1, 21)]
    rows += [(op, [real(64, 8, 128), weights(real(1, gates * 128, 128, high=0.1)), weights(real(1, gates * 128, 128, high=0.1))], {"hidden_size": 128}, 1, 21)
             for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))]
    rows += [("DFT", [real(1024, 1024, 1)], {"axis": 1}, 1, 17), ("Det", [real(1024, 32, 32)], {}, 1, 21)]
    return rows


def write_row(row, path):
    """The model's file; returns what to feed."""
    op, inputs, attributes, outputs, opset = row
    names, infos, constants, feeds = [], [], [], {}
    for index, value in enumerate(inputs):
        if value is None:
            names.append("")
            continue
        names.append(f"x{index}")
        kind, array = value if isinstance(value, tuple) else ("input", value)
        if kind == "constant":
            constants.append(wire.tensor(f"x{index}", array))
        else:
            infos.append(wire.value_info(f"x{index}", wire.ELEMENT_TYPES[array.dtype.name], array.shape))
            feeds[f"x{index}"] = array
    results = [f"y{index}" for index in range(outputs)]
    graph = wire.graph([wire.node(op, names, results, attributes, name="n")], infos, [wire.value_info(name) for name in results], constants)
    path.write_bytes(wire.model(graph, opset))
    return feeds


def time_reference(path, feeds, threads, seconds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
    except Exception:  # it has no kernel for this
        return None
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def time_smelt(smelt, path, feeds, threads, seconds, folder):
    figures = folder / "figures.json"
    command = [smelt, "bench", path, "--target", "cpu", "--threads", threads, "--iterations", 1, "--duration", seconds, "--warmup", 20, "--json", figures]
    for name, array in feeds.items():
        numpy.save(folder / f"{name}.npy", array)
        command += ["--input", f"{name}={folder / name}.npy"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    return json.loads(figures.read_text())["latency_ms"]["median"]


def describe(row):
    op, inputs, attributes, _, _ = row
    shapes = [value[1] if isinstance(value, tuple) else value for value in inputs if value is not None]
    text = " ".join("x".join(map(str, shape.shape)) or "scalar" for shape in shapes[:2])
    options = [str(attributes[key]) for key in ("mode", "axis", "group", "to") if key in attributes]
    if op.startswith("Reduce"):
        options.append(f"axis {int(shapes[1][0])}")
    return " ".join([text, *options])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each operator and program (0.1)")
    parser.add_argument("--op", help="just this operator")
    options = parser.parse_args()
    slow, ratios = [], []
    print(f"{'operator':28} {'inputs':34} {'smelt ms':>9} {'ORT ms':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for row in table():
            if options.op and row[0] != options.op:
                continue
            feeds = write_row(row, folder / "model.onnx")
            theirs = time_reference(folder / "model.onnx", feeds, options.threads, options.seconds)
            mine = time_smelt(options.smelt, folder / "model.onnx", feeds, options.threads, options.seconds, folder)
            known = mine is not None and theirs is not None
            ratio = mine / theirs if known else None
            note = "slow" if known and ratio > SLOW else ""
            cells = [f"{value:9.3f}" if value is not None else f"{'-':>9}" for value in (mine, theirs)]
            print(f"{row[0]:28} {describe(row):34} {' '.join(cells)} {f'{ratio:6.2f}' if known else '     -'} {note}".rstrip(), flush=True)
            if known:
                ratios.append(ratio)
            if note:
                slow.append(f"{row[0]} {describe(row)}")
    if ratios:
        print(f"\nmedian ratio {statistics.median(ratios):.2f} over {len(ratios)}; slower than {SLOW} times: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
