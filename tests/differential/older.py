"""Cases of forms that operators had in older opsets: attributes that became inputs, dropped names, other meanings."""
import numpy

import wire
from case import ALL, FLOATS, NUMBERS, Case, generator, ints


@generator("Clip-6")
def clip(r, op):
    attributes = r.maybe({}, "min", r.real(-3, 0))
    r.maybe(attributes, "max", r.real(0, 3))
    return Case("Clip", [r.values("float32", r.shape(), -9, 9)], attributes, opset=r.opset(7, 10))


@generator("Pad-2")
def pad(r, op):
    mode, shape = r.pick(("constant", "reflect", "edge")), r.solid(1, 4)
    low = -1 if mode == "constant" else 0
    most = [min(3, size - 1) if mode == "reflect" else min(3, size) for size in shape]
    pads = [r.int(max(low, -(m // 2)), m) for m in most] + [r.int(max(low, -(m // 2)), m) for m in most]
    attributes = r.maybe({"pads": pads}, "mode", mode, 1 if mode != "constant" else 0.5)
    if mode == "constant":
        r.maybe(attributes, "value", r.real(-2, 2))
    return Case("Pad", [r.values(r.pick(("float32", "float64")), shape)], attributes, opset=r.opset(7, 10))


@generator("Slice-1")
def slices(r, op):
    shape = r.shape(1, 4)
    axes = sorted(r.permutation(len(shape))[: r.int(1, len(shape))])
    attributes = {"starts": [r.int(-15, 15) for _ in axes], "ends": [r.pick((r.int(-15, 15), 2**63 - 1)) for _ in axes], "axes": axes}
    if axes == list(range(len(axes))) and r.chance():
        del attributes["axes"]
    return Case("Slice", [r.values(r.pick(ALL), shape)], attributes, opset=r.opset(7, 9))


@generator("Squeeze-1", "Unsqueeze-1")
def squeeze(r, op):
    shape, opset = r.shape(0, 4), r.opset(7, 12)
    if op == "Unsqueeze-1":
        count = r.int(1, 2)
        rank = len(shape) + count
        axes = [a - (rank if opset >= 11 and r.chance(0.3) else 0) for a in r.permutation(rank)[:count]]
        return Case("Unsqueeze", [r.values(r.pick(ALL), shape)], {"axes": axes}, opset=opset)
    axes = [i - (len(shape) if opset >= 11 and r.chance(0.3) else 0) for i, size in enumerate(shape) if size == 1 and r.chance(0.8)]
    return Case("Squeeze", [r.values(r.pick(ALL), shape)], {"axes": axes} if axes else {}, opset=opset)


@generator("Split-2")
def split(r, op):
    shape, count = r.solid(1, 4), r.int(1, 4)
    axis, attributes = r.int(0, len(shape) - 1), {}
    if r.chance():
        attributes["split"] = sizes = [r.int(1, 3) for _ in range(count)]
        shape[axis] = sum(sizes)
    else:
        shape[axis] = count * r.int(1, 3)
    if axis or r.chance():
        attributes["axis"] = axis
    return Case("Split", [r.values(r.pick(NUMBERS), shape)], attributes, outputs=count, opset=r.opset(7, 12))


@generator("TopK-1")
def top_k(r, op):
    shape, opset = r.solid(1, 4), r.opset(7, 10)
    axis = r.int(0, len(shape) - 1)
    x = (numpy.argsort(r.rng.random(shape), axis=axis) - shape[axis] // 2).astype(r.pick(("float32", "float64")) if opset >= 10 else "float32")
    count = r.int(1, shape[axis])
    if opset < 10:
        return Case("TopK", [x], {"axis": axis, "k": count}, outputs=2, opset=opset)
    return Case("TopK", [x, ints([count])], {"axis": axis}, outputs=2, opset=opset, constant={1} if r.chance() else set())


@generator("Dropout-7")
def dropout(r, op):
    return Case("Dropout", [r.values(r.pick(FLOATS), r.shape())], r.maybe({}, "ratio", 0.25), outputs=1, opset=r.opset(7, 11))


@generator("Upsample", "Resize-10")
def upsample(r, op):
    opset = r.opset(7, 9) if op == "Upsample" else 10
    shape = [1, r.int(1, 2), r.int(2, 5), r.int(2, 5)]
    factors = (1.0, 1.5, 2.0, 3.0) if op == "Upsample" else (0.5, 1.0, 1.5, 2.0, 3.0)
    scales = [1.0, 1.0, r.pick(factors), r.pick(factors)]
    attributes = r.maybe({}, "mode", r.pick(("nearest", "linear")))
    x = r.values("float32", shape)
    if opset < 9:
        return Case("Upsample", [x], {**attributes, "scales": scales}, opset=opset, close=(1e-3, 1e-3))
    return Case(op.removesuffix("-10"), [x, numpy.array(scales, dtype="float32")], attributes, opset=opset, constant={1}, close=(1e-3, 1e-3))


@generator("Scatter")
def scatter(r, op):
    shape = r.solid(1, 4)
    axis, dtype = r.int(0, len(shape) - 1), r.pick(ALL)
    part = [r.int(1, size) for size in shape]
    index = numpy.broadcast_to(r.rng.permutation(shape[axis])[: part[axis]].reshape([-1 if i == axis else 1 for i in range(len(shape))]), part)
    inputs = [r.values(dtype, shape), index.astype(r.pick(("int32", "int64"))), r.values(dtype, part)]
    return Case(op, inputs, {"axis": axis} if axis or r.chance() else {}, opset=r.opset(9, 10))


@generator("BatchNormalization-7")
def batch_norm(r, op):
    channels = r.int(1, 4)
    shape = [r.int(1, 3), channels] + r.solid(1, 3)
    attributes = r.maybe({}, "epsilon", r.real(1e-5, 1e-2))
    r.maybe(attributes, "momentum", r.real(0.1, 1), 0.3)
    inputs = [r.values("float32", shape)] + [r.values("float32", [channels], low, 3) for low in (-3, -3, -3, 0.1)]
    opset = r.opset(7, 8)
    return Case("BatchNormalization", inputs, r.maybe(attributes, "spatial", 1, 0.3), opset=opset, constant={1, 2, 3, 4} if r.chance() else set(), close=(1e-3, 1e-3))


@generator("Softmax-1", "LogSoftmax-1", "Hardmax-1")
def softmax(r, op):
    shape = r.solid(1, 4)
    attributes = r.maybe({}, "axis", r.int(0, len(shape) - 1))
    if "axis" not in attributes and len(shape) < 2:
        attributes["axis"] = 0
    return Case(op.removesuffix("-1"), [r.values("float32", shape, -9, 9)], attributes, opset=r.opset(7, 12))


@generator("Scan-8")
def scan(r, op):
    """With a batch in front of everything."""
    batch, shape, count = r.int(1, 3), [r.int(1, 4)] + r.solid(0, 2), r.int(1, 2)
    part = shape[1:]
    kind = wire.FLOAT
    nodes = [wire.node("Add", ["a", "b0"], ["c"]), wire.node("Mul", ["c", "b1" if count == 2 else "b0"], ["d"])]
    slices = [wire.value_info(f"b{i}", kind, part) for i in range(count)]
    inner = wire.graph(nodes, [wire.value_info("a", kind, part), *slices], [wire.value_info("c", kind, part), wire.value_info("d", kind, part)])
    attributes = r.maybe({"body": wire.Graph(inner), "num_scan_inputs": count}, "directions", [r.int(0, 1) for _ in range(count)])
    inputs = [None, r.values("float32", [batch, *part])] + [r.values("float32", [batch, *shape]) for _ in range(count)]
    return Case("Scan", inputs, attributes, outputs=2, opset=8)
