"""Nodes that must be refused (REFUSED, and those of spoilt.py), and damaged nodes that may be: with exit 3 and a message that names
node and operator, never a crash."""
import os
import re
import resource
import subprocess

import numpy

import wire
from case import DOMAIN_VERSIONS, GENERATORS, Case, Random, ints
from spoilt import spoilt_cases

OK, BAD_INPUT, NO_MEMORY, TIMEOUT = 0, 3, 5, 60
FEW = 8  # one of so many spoilt nodes in a short run
MEMORY = 4 << 30  # what a node may ask for in earnest is refused by the system early
# A node that became others is named by itself and the operator that found the fault.
WHERE = re.compile(r"(node|from) 'bad'")


def f(*shape):
    return numpy.ones(shape, dtype="float32")


def i(*values):
    return ints(list(values))


def scalar(value, dtype="int64"):
    return numpy.array(value, dtype=dtype)


HUGE = 2**62
U8 = numpy.ones([1, 1, 4, 4], dtype="uint8")

# (operator, inputs, attributes, what is wrong)
REFUSED = [
    ("Add", [f(2, 3), f(2, 4)], {}, "shapes do not broadcast"),
    ("Where", [numpy.ones([3], dtype=bool), f(2), f(2)], {}, "shapes do not broadcast"),
    ("Add", [f(2)], {}, "too few inputs"),
    ("Add", [f(2), f(2), f(2)], {}, "too many inputs"),
    ("Add", [f(2), i(1, 2)], {}, "two element types"),
    ("And", [f(2), f(2)], {}, "element type"),
    ("Not", [f(2)], {}, "element type"),
    ("BitShift", [i(1), i(1)], {"direction": "LEFT"}, "signed"),
    ("BitShift", [numpy.ones([2], dtype="uint8")] * 2, {"direction": "UP"}, "direction"),
    ("Div", [i(1, 2), i(1, 0)], {}, "division by zero"),
    ("Mod", [i(1, 2), i(0, 1)], {}, "division by zero"),
    ("Cast", [f(2)], {"to": 99}, "element type out of range"),
    ("Softmax", [f(2, 3)], {"axis": 2}, "axis"),
    ("Softmax", [f(2, 3)], {"axis": -3}, "axis"),
    ("LogSoftmax", [i(1, 2)], {}, "element type"),
    ("ArgMax", [f(2, 3)], {"axis": 5}, "axis"),
    ("ArgMax", [f(0, 3)], {"axis": 0}, "nothing to choose from"),
    ("ReduceSum", [f(2, 3), i(7)], {}, "axis"),
    ("ReduceMax", [f(2, 3), i(0, 0)], {}, "axis twice"),
    ("CumSum", [f(2, 3), scalar(4)], {}, "axis"),
    ("LayerNormalization", [f(2, 3), f(4)], {}, "scale does not fit"),
    ("BatchNormalization", [f(1, 3, 2, 2), f(2), f(3), f(3), f(3)], {}, "scale does not fit"),
    ("GroupNormalization", [f(1, 4, 2), f(4), f(4)], {"num_groups": 3}, "groups"),
    ("InstanceNormalization", [f(1, 3, 2), f(3), f(2)], {}, "bias does not fit"),
    ("LpNormalization", [f(2, 3)], {"p": 3}, "p"),
    ("LRN", [f(1, 3, 2, 2)], {"size": -1}, "size"),
    ("Reshape", [f(2, 3), i(7)], {}, "count of elements"),
    ("Reshape", [f(2, 3), i(-1, -1)], {}, "two unknowns"),
    ("Reshape", [f(2, 3), i(-2, 3)], {}, "negative extent"),
    ("Reshape", [f(2, 3), i(HUGE, HUGE)], {}, "overflow"),
    ("Expand", [f(2, 3), i(2, 4)], {}, "shapes do not broadcast"),
    ("Expand", [f(1), i(HUGE, HUGE)], {}, "overflow"),
    ("Tile", [f(2, 3), i(2)], {}, "count of repeats"),
    ("Tile", [f(2), i(-1)], {}, "negative repeats"),
    ("Tile", [f(2), i(HUGE)], {}, "overflow"),
    ("ConstantOfShape", [i(-1)], {}, "negative extent"),
    ("ConstantOfShape", [i(HUGE, HUGE)], {}, "overflow"),
    ("Transpose", [f(2, 3)], {"perm": [0, 0]}, "axis twice"),
    ("Transpose", [f(2, 3)], {"perm": [0]}, "count of axes"),
    ("Transpose", [f(2, 3)], {"perm": [0, 2]}, "axis"),
    ("Squeeze", [f(2, 3), i(0)], {}, "extent is not 1"),
    ("Unsqueeze", [f(2, 3), i(5)], {}, "axis"),
    ("Unsqueeze", [f(2, 3), i(0, 0)], {}, "axis twice"),
    ("Flatten", [f(2, 3)], {"axis": 3}, "axis"),
    ("Concat", [f(2, 3), f(3, 3)], {"axis": 1}, "extents differ"),
    ("Concat", [f(2, 3), f(2)], {"axis": 0}, "ranks differ"),
    ("Concat", [f(2, 3)], {}, "no axis"),
    ("Split", [f(5), i(2, 2)], {}, "sizes do not add up"),
    ("Slice", [f(5), i(0), i(5), i(0), i(0)], {}, "step 0"),
    ("Slice", [f(5), i(0), i(5), i(1)], {}, "axis"),
    ("Slice", [f(5), i(0, 0), i(5)], {}, "starts and ends differ"),
    ("Pad", [f(0), i(3, 0)], {"mode": "reflect"}, "nothing to reflect"),
    ("Pad", [f(3), i(-2, -2)], {}, "removes more than there is"),
    ("Pad", [f(3), i(1)], {}, "count of pads"),
    ("Pad", [f(3), i(1, 1)], {"mode": "mirror"}, "mode"),
    ("Pad", [f(3), i(HUGE, HUGE)], {}, "overflow"),
    ("Gather", [f(3, 2), i(3)], {}, "index"),
    ("Gather", [f(3, 2), i(-4)], {}, "index"),
    ("Gather", [f(3, 2), f(1)], {}, "element type of indices"),
    ("Gather", [f(3, 2), i(0)], {"axis": 2}, "axis"),
    ("GatherElements", [f(3), i(0, 3)], {}, "index"),
    ("GatherElements", [f(3, 2), i(0)], {}, "ranks differ"),
    ("GatherND", [f(3, 2), ints([[3]])], {}, "index"),
    ("GatherND", [f(3, 2), ints([[0, 0, 0]])], {}, "index too long"),
    ("ScatterElements", [f(3), i(3), f(1)], {}, "index"),
    ("ScatterElements", [f(3), i(0), f(2)], {}, "updates do not fit"),
    ("ScatterElements", [f(3), i(0), f(1)], {"reduction": "most"}, "reduction"),
    ("ScatterND", [f(3), ints([[-4]]), f(1)], {}, "index"),
    ("ScatterND", [f(3), ints([[0]]), f(2)], {}, "updates do not fit"),
    ("OneHot", [i(0), scalar(-1), f(2)], {}, "depth"),
    ("OneHot", [i(0), scalar(3), f(3)], {}, "count of values"),
    ("TopK", [f(3), i(4)], {}, "k"),
    ("TopK", [f(3), i(-1)], {}, "k"),
    ("Range", [scalar(0), scalar(5), scalar(0)], {}, "step 0"),
    ("Range", [scalar(0), scalar(HUGE), scalar(1)], {}, "overflow"),
    ("DepthToSpace", [f(1, 3, 2, 2)], {"blocksize": 2}, "channels"),
    ("DepthToSpace", [f(1, 4, 2, 2)], {"blocksize": 0}, "block"),
    ("SpaceToDepth", [f(1, 1, 3, 3)], {"blocksize": 2}, "extent"),
    ("ReverseSequence", [f(2, 3), i(4, 1)], {"batch_axis": 0, "time_axis": 1}, "length"),
    ("Trilu", [f(3)], {}, "rank"),
    ("EyeLike", [f(3)], {}, "rank"),
    ("Det", [f(2, 3)], {}, "not square"),
    ("Compress", [f(2, 3), numpy.ones([2, 2], dtype=bool)], {}, "rank of the condition"),
    ("Unique", [f(2, 3)], {"axis": 2}, "axis"),
    ("Conv", [f(1, 3, 5, 5), f(2, 2, 3, 3)], {}, "channels"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3)], {}, "ranks differ"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3)], {"strides": [0, 1]}, "stride 0"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3)], {"dilations": [0, 1]}, "dilation 0"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3)], {"group": 0}, "group 0"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3)], {"pads": [1]}, "count of pads"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3)], {"kernel_shape": [2, 2]}, "kernel"),
    ("Conv", [f(1, 3, 5, 5), f(2, 3, 3, 3), f(3)], {}, "bias"),
    ("ConvTranspose", [f(1, 3, 5, 5), f(2, 2, 3, 3)], {}, "channels"),
    ("ConvTranspose", [f(1, 2, 5, 5), f(2, 2, 3, 3)], {"strides": [-1, 1]}, "negative stride"),
    ("MaxPool", [f(1, 1, 4, 4)], {"kernel_shape": [0, 2]}, "kernel 0"),
    ("MaxPool", [f(1, 1, 4, 4)], {"kernel_shape": [2, 2], "strides": [0, 1]}, "stride 0"),
    ("MaxPool", [f(1, 1, 4, 4)], {}, "no kernel"),
    ("AveragePool", [f(4, 4)], {"kernel_shape": [2, 2]}, "rank"),
    ("AveragePool", [f(1, 1, 4, 4)], {"kernel_shape": [2, 2], "auto_pad": "SOME"}, "auto_pad"),
    ("MaxUnpool", [f(1, 1, 1, 1), ints([[[[99]]]])], {"kernel_shape": [2, 2], "strides": [2, 2]}, "index"),
    ("MatMul", [f(2, 3), f(4, 2)], {}, "inner extents"),
    ("MatMul", [f(2, 3), scalar(1, "float32")], {}, "scalar"),
    ("Gemm", [f(2, 3), f(4, 2)], {}, "inner extents"),
    ("Gemm", [f(2, 3), f(3, 2), f(3)], {}, "C does not broadcast"),
    ("Gemm", [f(2, 3, 1), f(3, 2)], {}, "rank"),
    ("Einsum", [f(2, 3), f(4, 2)], {"equation": "ij,jk->ik"}, "extents"),
    ("Einsum", [f(2, 3)], {"equation": "ijk->i"}, "rank"),
    ("Einsum", [f(2, 3)], {"equation": "ij->z"}, "letter"),
    ("QuantizeLinear", [f(2, 3), f(2), numpy.ones([3], dtype="uint8")], {}, "zero point"),
    ("DequantizeLinear", [U8, f(3)], {"axis": 2}, "scale"),
    ("Resize", [f(1, 1, 2, 2), None, numpy.array([1, 1, 0, 1], dtype="float32")], {}, "scale 0"),
    ("Resize", [f(1, 1, 2, 2), None, None, i(1, 1, -1, 2)], {}, "negative extent"),
    ("Resize", [f(1, 1, 2, 2), None, None, i(1, 1, 2)], {}, "count of sizes"),
    ("GridSample", [f(1, 1, 2, 2), f(1, 2, 2, 3)], {}, "coordinates"),
    ("RoiAlign", [f(1, 1, 4, 4), f(1, 4), i(1)], {}, "batch index"),
    ("LSTM", [f(1, 1, 2), f(1, 8, 3), f(1, 8, 2)], {"hidden_size": 2}, "width of W"),
    ("GRU", [f(1, 1, 2), f(1, 6, 2), f(1, 5, 2)], {"hidden_size": 2}, "R"),
    ("RNN", [f(1, 1, 2), f(1, 2, 2), f(1, 2, 2)], {"hidden_size": 2, "direction": "up"}, "direction"),
    ("CenterCropPad", [f(3), i(-1)], {}, "negative extent"),
    ("Col2Im", [f(1, 4, 9), i(5, 5), i(2, 2)], {}, "count of blocks"),
    ("HannWindow", [scalar(-1)], {}, "negative size"),
    ("NonMaxSuppression", [f(1, 2, 3), f(1, 1, 2)], {}, "boxes"),
    ("Attention", [f(1, 2, 3, 4), f(1, 2, 3, 5), f(1, 2, 3, 4)], {}, "width of keys"),
]


# ---- Damage ----


def damage_count(r, case):
    if r.chance() and case.inputs:
        case.inputs.pop()
    else:
        case.inputs.extend([r.pick(case.inputs) if case.inputs else f(2)] * r.int(1, 3))


def damage_rank(r, case):
    index = r.int(0, len(case.inputs) - 1)
    x = case.inputs[index]
    if x is not None:
        case.inputs[index] = x[None] if r.chance() else x.reshape(-1) if r.chance() else x.reshape(-1)[:1].reshape([] if x.size else [0])


def damage_dtype(r, case):
    index = r.int(0, len(case.inputs) - 1)
    if case.inputs[index] is not None:
        with numpy.errstate(invalid="ignore"):
            case.inputs[index] = case.inputs[index].astype(r.pick(("float32", "float64", "int64", "uint8", "bool", "int32")))


def damage_extent(r, case):
    index = r.int(0, len(case.inputs) - 1)
    x = case.inputs[index]
    if x is not None and x.ndim:
        axis = r.int(0, x.ndim - 1)
        case.inputs[index] = numpy.repeat(x, 2, axis) if r.chance() else x.take(range(r.int(0, x.shape[axis])), axis)


EXTREMES = (-(2**63), 2**63 - 1, 2**62, 2**31, -(2**31), 2**31 - 1, -1, 0, 1, 99, -99)


LONG_RUNS = ("Loop", "HannWindow", "HammingWindow", "BlackmanWindow", "Range", "MelWeightMatrix", "DFT")


def damage_values(r, case):
    """Of operands that are integers: axes, sizes, indices; not of those that say how long to run."""
    if case.op in LONG_RUNS:
        return
    whole = [n for n, x in enumerate(case.inputs) if x is not None and x.dtype.kind == "i" and x.size]
    if not whole:
        damage_attribute(r, case)
        return
    index = r.pick(whole)
    x = case.inputs[index].copy()
    info = numpy.iinfo(x.dtype)
    x.flat[r.int(0, x.size - 1)] = max(min(r.pick(EXTREMES), info.max), info.min)
    case.inputs[index] = x


def damage_attribute(r, case):
    if not case.attributes:
        damage_rank(r, case)
        return
    key = r.pick(sorted(case.attributes))
    value = case.attributes[key]
    if r.chance(0.2):
        del case.attributes[key]
    elif isinstance(value, list):
        value = list(value)
        if value and isinstance(value[0], int) and r.chance(0.7):
            value[r.int(0, len(value) - 1)] = r.pick(EXTREMES)
        else:
            value = value[1:] if r.chance() else value * 2
        case.attributes[key] = value
    elif isinstance(value, int):
        case.attributes[key] = r.pick(EXTREMES)
    elif isinstance(value, str):
        case.attributes[key] = r.pick(("", "none", value + "x", "->", ",,->..."))
    elif isinstance(value, float):
        case.attributes[key] = r.pick((float("nan"), float("inf"), -1e30, 0.0))


DAMAGES = (damage_count, damage_rank, damage_dtype, damage_extent, damage_values, damage_attribute)


def damaged_case(seed, number):
    op, function = GENERATORS[number % len(GENERATORS)]
    r = Random(seed, number)
    case = function(r, op)
    case.number = number
    case.inputs = [None if x is None else numpy.asarray(x) for x in case.inputs]
    for _ in range(r.int(1, 2)):
        if case.inputs:
            r.pick(DAMAGES)(r, case)
    return case


# ---- Running ----


def write_case(case, folder):
    """The model of a node named 'bad', with the inputs' files. Odd cases do not tell the model its extents."""
    names, inputs, initializers, files = [], [], [], []
    for index, array in enumerate(case.inputs):
        if array is None:
            names.append("")
            continue
        name = f"x{index}"
        names.append(name)
        if index in case.constant:
            initializers.append(wire.tensor(name, array))
            continue
        hidden = case.number % 2 == 1 and (array.dtype.kind != "i" or index == 0)
        shape = [f"d{index}_{axis}" for axis in range(array.ndim)] if hidden else array.shape
        inputs.append(wire.value_info(name, wire.ELEMENT_TYPES[array.dtype.name], shape))
        files += ["--input", f"{name}={folder / name}.npy"]
        numpy.save(folder / f"{name}.npy", array)
    outputs = [f"y{index}" for index in range(case.outputs)]
    node = wire.node(case.op, names, outputs, case.attributes, case.domain, "bad")
    graph = wire.graph([node], inputs, [wire.value_info(output) for output in outputs], initializers)
    model = folder / "bad.onnx"
    model.write_bytes(wire.model(graph, case.opset, DOMAIN_VERSIONS.items()))
    return model, files


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def limited(smelt):
    """Arguments of subprocess.run that limit memory: sanitizers do it themselves, as they reserve much more than they use."""
    plain = subprocess.run([smelt, "ops"], capture_output=True, preexec_fn=limit_memory).returncode == 0
    options = os.environ.get("ASAN_OPTIONS", "") + f":allocator_may_return_null=1:max_allocation_size_mb={MEMORY >> 20}"
    return {"preexec_fn": limit_memory} if plain else {"env": {**os.environ, "ASAN_OPTIONS": options}}


def complaint(smelt, target, case, folder, must_refuse, limits):
    """What is wrong with smelt's answer, or None."""
    model, files = write_case(case, folder)
    command = [smelt, "run", str(model), "--threads", "1", "--target", target, *files, "--output-dir", str(folder / "out")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, **limits)
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT} s"
    message = done.stderr.strip()
    if done.returncode == OK:
        return "accepted" if must_refuse else None
    if done.returncode == NO_MEMORY and "out of memory" in message and not must_refuse:
        return None
    if done.returncode != BAD_INPUT:
        return f"exit {done.returncode}: {message[-300:]}"
    if case.op in ("If", "Loop", "Scan") and re.search(r"(node|from) '", message):
        return None  # the fault is within the body
    if not (WHERE.search(message) and re.search(r"\([\w.]+(, opset \d+)?\)", message) or "\"bad\"" in message and case.op in message):
        return f"names neither node nor operator: {message}"
    return None


def check_all(smelt, target, folder, seed, damaged):
    """Complaints, printed as they come."""
    cases = []
    for number, (op, inputs, attributes, what) in enumerate(REFUSED):
        least = 24 if op == "Attention" else 21
        every = {index for index in range(1, len(inputs))}
        for constant in (set(), every):
            cases.append((Case(op, list(inputs), dict(attributes), opset=least, number=number, constant=constant), what))
            cases.append((Case(op, list(inputs), dict(attributes), opset=least, number=number + 1, constant=constant), what))
    spoilt = spoilt_cases(seed)
    cases += spoilt if damaged >= len(spoilt) else spoilt[seed % FEW :: FEW]
    cases += [(damaged_case(seed, number), None) for number in range(damaged)]
    wrong, limits = [], limited(smelt)
    for case, what in cases:
        problem = complaint(smelt, target, case, folder, what is not None, limits)
        if problem is not None:
            wrong.append(problem)
            print(f"BAD INPUT {case.describe()[:600]}\n    {what + ': ' if what else ''}{problem}", flush=True)
    print(f"{len(cases)} nodes with bad input, {len(wrong)} answered wrongly")
    return wrong
