"""Cases of recurrences, attention, bodies and signals."""
import numpy

import wire
from case import FLOATS, ALL, NUMBERS, Case, generator, ints

# Activations of recurrences, and which of alpha and beta they take.
ACTIVATIONS = {"Sigmoid": "", "Tanh": "", "Relu": "", "Affine": "ab", "LeakyRelu": "a", "ThresholdedRelu": "a", "ScaledTanh": "ab", "HardSigmoid": "ab",
               "Elu": "a", "Softsign": "", "Softplus": ""}


def activations(r, attributes, count, directions):
    names = [r.pick(sorted(ACTIVATIONS)) for _ in range(count)] * directions
    attributes["activations"] = names
    for key, letter in (("activation_alpha", "a"), ("activation_beta", "b")):
        values = [r.real(0.1, 0.9) for name in names if letter in ACTIVATIONS[name]]
        if values:
            attributes[key] = values


@generator("RNN", "GRU", "LSTM")
def recurrent(r, op):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    direction = r.pick(("forward", "reverse", "bidirectional"))
    d = 2 if direction == "bidirectional" else 1
    steps, batch, width, hidden = r.int(1, 5), r.int(1, 3), r.int(1, 5), r.int(1, 5)
    attributes = {"direction": direction} if direction != "forward" or r.chance() else {}
    r.maybe(attributes, "hidden_size", hidden, 0.9)
    if op == "GRU":
        r.maybe(attributes, "linear_before_reset", r.int(0, 1))
    if op == "LSTM":
        r.maybe(attributes, "input_forget", r.int(0, 1), 0.3)
    r.maybe(attributes, "clip", r.real(0.5, 3), 0.3)
    if r.chance(0.4):
        activations(r, attributes, {"RNN": 1, "GRU": 2, "LSTM": 3}[op], d)
    inputs = [r.values("float32", [steps, batch, width], -1, 1), r.values("float32", [d, gates * hidden, width], -1, 1),
              r.values("float32", [d, gates * hidden, hidden], -1, 1)]
    inputs.append(r.values("float32", [d, 2 * gates * hidden], -1, 1) if r.chance() else None)
    inputs.append(numpy.array([r.int(1, steps) for _ in range(batch)], dtype="int32") if r.chance() else None)
    inputs.append(r.values("float32", [d, batch, hidden], -1, 1) if r.chance() else None)
    if op == "LSTM":
        inputs.append(r.values("float32", [d, batch, hidden], -1, 1) if r.chance() else None)
        inputs.append(r.values("float32", [d, 3 * hidden], -1, 1) if r.chance(0.3) else None)
    return Case(op, inputs, attributes, outputs=3 if op == "LSTM" else 2, opset=r.opset(7), constant={1, 2, 3} if r.chance() else set(),
                close=(1e-3, 1e-4))


# ---- Attention ----


@generator("RotaryEmbedding")
def rotary(r, op):
    batch, heads, length, width = r.int(1, 2), r.int(1, 3), r.int(1, 5), 2 * r.int(1, 4)
    dtype, attributes, turned = r.pick(("float32", "float32", "float16")), r.maybe({}, "interleaved", r.int(0, 1)), width
    if r.chance(0.3) and width > 2:
        attributes["rotary_embedding_dim"] = turned = 2 * r.int(1, width // 2)
    shape = [batch, heads, length, width]
    if r.chance(0.3):
        attributes["num_heads"], shape = heads, [batch, length, heads * width]
    if r.chance():
        caches, positions = [9, turned // 2], [r.values("int64", [batch, length], 0, 8)]
    else:
        caches, positions = [batch, length, turned // 2], []
    inputs = [r.values(dtype, shape), r.values(dtype, caches), r.values(dtype, caches), *positions]
    return Case(op, inputs, attributes, opset=r.opset(23), close=(1e-2, 1e-2) if dtype == "float16" else (1e-4, 1e-5))


@generator("TensorScatter")
def tensor_scatter(r, op):
    shape = r.solid(2, 4)
    axis = r.int(1, len(shape) - 1)
    update = list(shape)
    update[axis] = r.int(1, shape[axis])
    dtype = r.pick(ALL)
    inputs = [r.values(dtype, shape), r.values(dtype, update)]
    mode = r.pick(("linear", "circular"))
    if r.chance(0.7):
        most = shape[axis] - (update[axis] if mode == "linear" else 1)
        inputs.append(ints([r.int(0, most) for _ in range(shape[0])]))
    attributes = {"axis": axis - (len(shape) if r.chance(0.3) else 0)} if axis != len(shape) - 2 or r.chance() else {}
    return Case(op, inputs, r.maybe(attributes, "mode", mode, 1 if mode == "circular" else 0.5), opset=r.opset(24))


@generator("Attention")
def attention(r, op):
    batch, heads, groups, length, total = r.int(1, 2), r.int(1, 3), r.int(1, 2), r.int(1, 5), r.int(1, 7)
    width, value_width, opset = 2 * r.int(1, 4), r.int(1, 4), r.opset(23)
    dtype = r.pick(("float32", "float32", "float16"))
    attributes, flat = {}, r.chance(0.3)
    if flat:
        attributes.update(q_num_heads=heads * groups, kv_num_heads=heads)
    past = r.int(1, 4) if r.chance(0.25) else 0
    mask = None
    if r.chance():
        mask = r.values(r.pick(("bool", dtype)), r.pick(([], [batch, 1], [1, heads * groups], [batch, heads * groups])) + [length, past + total])
        if mask.dtype.kind == "b":
            mask[..., 0] = True
    shapes = [[batch, heads * groups, length, width], [batch, heads, total, width], [batch, heads, total, value_width]]
    if flat:
        shapes = [[b, n, h * w] for b, h, n, w in shapes]
    inputs = [r.values(dtype, shape) for shape in shapes] + [mask]
    inputs += [r.values(dtype, [batch, heads, past, w]) if past else None for w in (width, value_width)]
    r.maybe(attributes, "scale", r.real(0.1, 1))
    r.maybe(attributes, "softcap", r.real(1, 5), 0.3)
    r.maybe(attributes, "is_causal", r.int(0, 1), 0.4)
    r.maybe(attributes, "softmax_precision", wire.FLOAT, 0.2)
    outputs = r.pick((1, 3, 4)) if past else 1
    if outputs == 4 or (not past and r.chance(0.2)):
        r.maybe(attributes, "qk_matmul_output_mode", r.int(0, 3))
    if opset >= 24 and not past and r.chance(0.2):
        inputs.append(ints([r.int(1, total) for _ in range(batch)]))
    return Case(op, inputs, attributes, outputs=outputs, opset=opset, close=(2e-2, 2e-2) if dtype == "float16" else (1e-3, 1e-3))


# ---- Bodies ----


@generator("If", "Loop", "Scan")
def control(r, op):
    dtype = r.pick(NUMBERS)
    kind = wire.ELEMENT_TYPES[dtype]
    shape = r.solid(1, 3)
    x = r.values(dtype, shape)
    return {"If": branches, "Loop": loop, "Scan": scan}[op](r, x, kind, shape)


def branches(r, x, kind, shape):
    def body(op):
        return wire.Graph(wire.graph([wire.node(op, ["s", "s"], ["y"])], outputs=[wire.value_info("y", kind)],
                                     initializers=[wire.tensor("s", x)], name="branch"))

    return Case("If", [numpy.array(r.chance())], {"then_branch": body("Add"), "else_branch": body("Mul")}, opset=r.opset(13))


def loop(r, x, kind, shape):
    """Doubles its state, for a number of times or while a counter of its own is small, and stacks what it had before."""
    trips, start = ints(r.int(0, 4)), numpy.array(r.chance(0.9))
    form = r.pick(("both", "trips", "condition"))
    nodes = [wire.node("Add", ["a", "a"], ["c"]), wire.node("Identity", ["a"], ["d"])]
    constants = []
    if form == "condition":
        nodes.append(wire.node("Less", ["i", "last"], ["on"]))
        constants = [wire.tensor("last", ints(r.int(0, 3)))]
    else:
        nodes.append(wire.node("Identity", ["go"], ["on"]))
    inner = wire.graph(nodes, [wire.value_info("i", wire.INT64, []), wire.value_info("go", wire.BOOL, []), wire.value_info("a", kind, shape)],
                       [wire.value_info("on", wire.BOOL, []), wire.value_info("c", kind, shape), wire.value_info("d", kind, shape)], constants)
    inputs = {"both": [trips, start, x], "trips": [trips, None, x], "condition": [None, start, x]}[form]
    return Case("Loop", inputs, {"body": wire.Graph(inner)}, outputs=2, opset=r.opset(14), constant={0} if r.chance(0.3) else set())


def scan(r, x, kind, shape):
    """Adds slices of one or two inputs to its state; axes and directions at will."""
    count, part = r.int(1, 2), shape[1:]
    nodes = [wire.node("Add", ["a", "b0"], ["c"]), wire.node("Mul", ["c", "b1" if count == 2 else "b0"], ["d"])]
    slices = [wire.value_info(f"b{i}", kind, part) for i in range(count)]
    inner = wire.graph(nodes, [wire.value_info("a", kind, part), *slices], [wire.value_info("c", kind, part), wire.value_info("d", kind, part)])
    attributes = {"body": wire.Graph(inner), "num_scan_inputs": count}
    axes = [r.int(0, len(part)) for _ in range(count)]
    inputs = [r.values(x.dtype, part)] + [numpy.moveaxis(r.values(x.dtype, shape), 0, axis) for axis in axes]
    if any(axes) or r.chance():
        attributes["scan_input_axes"] = [axis - (len(shape) if r.chance(0.3) else 0) for axis in axes]
    r.maybe(attributes, "scan_input_directions", [r.int(0, 1) for _ in range(count)])
    r.maybe(attributes, "scan_output_directions", [r.int(0, 1)])
    r.maybe(attributes, "scan_output_axes", [r.int(-len(shape), len(part))])
    return Case("Scan", inputs, attributes, outputs=2, opset=r.opset(14))


# ---- Signals ----


@generator("DFT")
def dft(r, op):
    n, dtype, opset = r.int(1, 17), r.pick(("float32", "float32", "float64")), r.opset(17)
    inverse = r.int(0, 1)
    shape = [r.int(1, 3), n, 2 if inverse else r.int(1, 2)]
    attributes = r.maybe({}, "inverse", inverse, 1 if inverse else 0.5)
    if shape[2] == 1:
        r.maybe(attributes, "onesided", r.int(0, 1))
    if r.chance(0.3):
        shape.insert(2, r.int(1, 3))
    inputs = [r.values(dtype, shape), numpy.array(r.int(1, 20), dtype=r.pick(("int64", "int64", "int32"))) if r.chance(0.4) else None]
    if opset < 20:
        r.maybe(attributes, "axis", 1)
    elif len(shape) == 4 or r.chance():
        inputs.append(ints(r.pick((1, 1 - len(shape)))))
    return Case(op, inputs, attributes, opset=opset, constant={2}, close=(1e-3, 1e-2))


@generator("STFT")
def stft(r, op):
    frame, dtype, kind = r.int(2, 8), r.pick(("float32", "float32", "float64")), r.pick(("int64", "int64", "int32"))
    window, length = r.values(dtype, [frame]), numpy.array(frame, dtype=kind)
    inputs = [r.values(dtype, [r.int(1, 2), r.int(12, 30), 1]), numpy.array(r.int(1, 5), dtype=kind)]
    inputs += r.pick(([window], [window, length], [None, length]))
    return Case(op, inputs, r.maybe({}, "onesided", r.int(0, 1)), opset=r.opset(17), constant={1, 3}, close=(1e-3, 1e-2))


@generator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(r, op):
    attributes = r.maybe({}, "periodic", r.int(0, 1))
    r.maybe(attributes, "output_datatype", r.pick((wire.FLOAT, wire.DOUBLE, wire.INT32, wire.INT64)), 0.4)
    return Case(op, [numpy.array(r.int(2, 20), dtype=r.pick(("int32", "int64")))], attributes, opset=r.opset(17), close=(1e-4, 1e-5))


@generator("MelWeightMatrix")
def mel(r, op):
    kind = r.pick(("int32", "int64"))
    inputs = [numpy.array(v, dtype=kind) for v in (r.int(1, 8), r.int(16, 64), 8192)] + [numpy.float32(r.real(0, 100)), numpy.float32(r.real(2000, 4000))]
    attributes = r.maybe({}, "output_datatype", r.pick((wire.FLOAT, wire.DOUBLE)), 0.4)
    return Case(op, inputs, attributes, opset=r.opset(17), constant=set(range(5)), close=(1e-3, 1e-3))


@generator("Dropout")
def dropout(r, op):
    """In inference; the output of training is random."""
    inputs = [r.values(r.pick(FLOATS), r.shape())]
    if r.chance(0.7):
        inputs.append(numpy.array(r.pick((0.0, 0.5)), dtype=r.pick(("float32", "float64"))))
        if r.chance(0.4):
            inputs.append(numpy.array(False))
    return Case(op, inputs, r.maybe({}, "seed", r.int(0, 9), 0.3), outputs=r.int(1, 2), opset=r.opset(12))
