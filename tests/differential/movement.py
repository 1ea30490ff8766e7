"""Cases of operators that move elements, make tensors, or depend on shapes and indices."""
import numpy

import wire
from case import ALL, FLOATS, NUMBERS, Case, generator, ints

MOVED = ALL


@generator("Identity", "Shape", "Size", "Flatten", "Transpose", "NonZero", "Trilu", "EyeLike", "Det")
def plain(r, op):
    attributes, low = {}, 0
    if op in ("Trilu", "Det"):
        low = 2
    if op == "EyeLike":
        shape = r.shape(2, 2)
        r.maybe(attributes, "k", r.int(-4, 4))
    else:
        shape = r.shape(low, 4)
    rank = len(shape)
    inputs = [r.values("float32" if op == "Det" else r.pick(MOVED), shape)]
    if op == "Det":
        side = r.int(1, 5)
        inputs = [r.values(r.pick(("float32", "float64")), r.shape(0, 2) + [side, side])]
    if op == "EyeLike":
        inputs = [r.values(r.pick(("float32", "float64", "int32", "int64", "uint64")), shape)]
        r.maybe(attributes, "dtype", r.pick((wire.FLOAT, wire.DOUBLE, wire.INT64, wire.INT32)), 0.5)
    opset = r.opset({"Trilu": 14, "Det": 11, "Shape": 13, "EyeLike": 9, "NonZero": 9, "Flatten": 11}.get(op, 7))
    if op == "Shape" and opset >= 15:
        r.maybe(attributes, "start", r.int(-6, 6), 0.4)
        r.maybe(attributes, "end", r.int(-6, 6), 0.4)
    if op == "Flatten":
        r.maybe(attributes, "axis", r.int(-rank, rank))
    if op == "Transpose" and rank:
        r.maybe(attributes, "perm", r.permutation(rank), 0.8)
    if op == "Trilu":
        r.maybe(attributes, "upper", r.int(0, 1))
        if r.chance():
            inputs.append(ints(r.int(-5, 5)))
    return Case(op, inputs, attributes, opset=opset, close=(1e-3, 1e-3) if op == "Det" else None)


@generator("Reshape")
def reshape(r, op):
    shape = r.shape()
    flat = r.permutation(len(shape))
    target = [shape[i] for i in flat] + [1] * r.int(0, 2)
    attributes, opset = {}, r.opset(7)
    if 0 in shape:
        attributes["allowzero"], opset = 1, max(opset, 14)
    elif target and r.chance():
        target[r.int(0, len(target) - 1)] = -1
    elif shape and r.chance():  # 0 keeps the extent
        target = list(shape)
        target[r.int(0, len(target) - 1)] = 0
    if opset >= 14 and 0 not in target:
        r.maybe(attributes, "allowzero", r.int(0, 1), 0.3)
    return Case(op, [r.values(r.pick(MOVED), shape), ints(target)], attributes, opset=opset, constant={1} if r.chance() else set())


@generator("Squeeze", "Unsqueeze")
def squeeze(r, op):
    shape = r.shape(0, 4)
    constant = {1} if r.chance() else set()
    if op == "Unsqueeze":
        count = r.int(1, 2)
        rank = len(shape) + count
        axes = [a - (rank if r.chance(0.3) else 0) for a in r.permutation(rank)[:count]]
        return Case(op, [r.values(r.pick(MOVED), shape), ints(axes)], opset=r.opset(13), constant=constant)
    axes = [i - (len(shape) if r.chance(0.3) else 0) for i, size in enumerate(shape) if size == 1 and r.chance(0.8)]
    inputs = [r.values(r.pick(MOVED), shape)] + ([ints(axes)] if axes else [])
    return Case(op, inputs, opset=r.opset(13), constant=constant)


@generator("Concat")
def concat(r, op):
    shape = r.shape(1, 4)
    axis = r.axis(len(shape))
    dtype = r.pick(MOVED)
    inputs = []
    for _ in range(r.int(1, 5)):
        part = list(shape)
        part[axis] = r.pick((0, 1, 2, 3, 7))
        inputs.append(r.values(dtype, part))
    return Case(op, inputs, {"axis": axis}, opset=r.opset(11))


@generator("Split")
def split(r, op):
    shape = r.shape(1, 4)
    axis = r.axis(len(shape))
    x = r.values(r.pick(MOVED), shape)
    count = r.int(1, 4)
    attributes = {"axis": axis}
    if r.chance() and -(-shape[axis] // count) * (count - 1) < shape[axis]:
        attributes["num_outputs"] = count
        return Case(op, [x], attributes, outputs=count, opset=r.opset(18))
    cuts = sorted(r.int(0, shape[axis]) for _ in range(count - 1))
    sizes = numpy.diff([0, *cuts, shape[axis]])
    return Case(op, [x, ints(sizes)], attributes, outputs=count, opset=r.opset(13), constant={1} if r.chance(0.7) else set())


@generator("Slice")
def slices(r, op):
    shape = r.shape(1, 4)
    axes = r.permutation(len(shape))[: r.int(1, len(shape))]
    starts = [r.int(-15, 15) for _ in axes]
    ends = [r.pick((r.int(-15, 15), 2**63 - 1, -(2**63))) for _ in axes]
    steps = [r.pick((1, 1, 2, 3, -1, -2)) for _ in axes]
    kind = r.pick(("int32", "int64"))
    if kind == "int32":
        ends = [max(min(e, 2**31 - 1), -(2**31)) for e in ends]
    inputs = [r.values(r.pick(MOVED), shape)] + [numpy.array(v, dtype=kind) for v in (starts, ends, axes, steps)]
    if r.chance(0.3):
        inputs = inputs[:4]
    elif r.chance(0.3):
        inputs[3] = None  # the first axes
    return Case(op, inputs, opset=r.opset(10), constant=set(range(1, 5)) if r.chance(0.7) else set())


@generator("Pad")
def pad(r, op):
    mode = r.pick(("constant", "reflect", "edge", "wrap"))
    shape = r.solid(1, 4)
    low = -1 if mode == "constant" else 0
    most = [min(3, size - 1) if mode == "reflect" else min(3, size) for size in shape]
    pads = [r.int(max(low, -(m // 2)), m) for m in most] + [r.int(max(low, -(m // 2)), m) for m in most]
    dtype, opset = r.pick(("float32", "float64", "int32", "int64", "uint8", "int8", "uint32", "uint64", "bool")), r.opset(19 if mode == "wrap" else 13)
    inputs = [r.values(dtype, shape), ints(pads)]
    if mode == "constant" and r.chance():
        inputs.append(r.values(dtype, []) if dtype != "bool" else numpy.array(True))
    if opset >= 18 and r.chance(0.3):
        axes = r.permutation(len(shape))[: r.int(1, len(shape))]
        inputs[1] = ints([pads[a] for a in axes] + [pads[len(shape) + a] for a in axes])
        inputs += [None] * (3 - len(inputs))
        inputs.append(numpy.array([a - (len(shape) if r.chance(0.3) else 0) for a in axes], dtype=r.pick(("int32", "int64"))))
    return Case(op, inputs, {"mode": mode} if mode != "constant" or r.chance() else {}, opset=opset, constant={1} if r.chance(0.7) else set())


@generator("Expand", "Tile")
def expand(r, op):
    shape = r.shape()
    if op == "Tile":
        return Case(op, [r.values(r.pick(MOVED), shape), ints([r.int(0, 3) for _ in shape])], opset=r.opset(13),
                    constant={1} if r.chance() else set())
    part = r.broadcast(shape)
    target = [1 if r.chance(0.2) and i >= len(shape) - len(part) and part[i - len(shape)] == size else size for i, size in enumerate(shape)]
    return Case(op, [r.values(r.pick(MOVED), part), ints(target)], opset=r.opset(13), constant={1} if r.chance() else set())


@generator("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "ScatterElementsReduce", "ScatterNDReduce")
def gather(r, op):
    reduce = op.endswith("Reduce")
    op = op.removesuffix("Reduce")
    shape = r.solid(1, 4)
    rank = len(shape)
    dtype = r.pick(("float32", "float64", "int32", "int64")) if reduce else r.pick(MOVED)
    x = r.values(dtype, shape)
    attributes, opset = {}, r.opset(18 if reduce else {"Gather": 7, "GatherND": 12}.get(op, 11))
    if reduce:
        attributes["reduction"] = r.pick(("add", "mul", "max", "min"))
    kind = r.pick(("int32", "int64"))
    if op.endswith("ND"):
        batch = r.int(0, rank - 1) if op == "GatherND" else 0
        depth = r.int(1, rank - batch)
        lead = shape[:batch] + r.shape(0, 2)
        if op == "ScatterND" and not reduce:
            cells = int(numpy.prod(shape[:depth]))
            count = r.int(0, min(cells, 20))
            index = numpy.stack(numpy.unravel_index(r.rng.permutation(cells)[:count], shape[:depth]), -1)
        else:
            index = numpy.stack([r.rng.integers(-s, s, lead) for s in shape[batch : batch + depth]], -1)
        if op == "GatherND":
            attributes["batch_dims"] = batch
            return Case(op, [x, index.astype(numpy.int64)], attributes, opset=opset)
        updates = r.values(dtype, list(index.shape[:-1]) + shape[depth:])
        return Case(op, [x, index.astype(numpy.int64), updates], attributes, opset=opset)
    axis = r.axis(rank)
    attributes["axis"] = axis
    size = shape[axis]
    if op == "Gather":
        index = r.rng.integers(-size, size, r.shape(0, 3, (0, 1, 2, 3, 5)))
        return Case(op, [x, index.astype(kind)], attributes, opset=opset, constant={1} if r.chance() else set())
    part = [r.int(1, s) for s in shape]
    if op == "ScatterElements" and not reduce:
        order = [numpy.apply_along_axis(r.rng.permutation, axis, numpy.broadcast_to(
            numpy.arange(size).reshape([-1 if i == axis % rank else 1 for i in range(rank)]), [size if i == axis % rank else p for i, p in enumerate(part)]))]
        index = order[0].take(range(part[axis]), axis)
    else:
        index = r.rng.integers(-size, size, part)
    inputs = [x, index.astype(kind)]
    if op == "ScatterElements":
        inputs.append(r.values(dtype, part))
    return Case(op, inputs, attributes, opset=opset)


@generator("DepthToSpace", "SpaceToDepth")
def blocks(r, op):
    block = r.int(1, 3)
    n, c, h, w = r.int(0, 3), r.int(1, 4), r.int(1, 5), r.int(1, 5)
    dtype = r.pick(("float32", "float64", "int8", "uint8"))
    if op == "SpaceToDepth":
        return Case(op, [r.values(dtype, [n, c, h * block, w * block])], {"blocksize": block}, opset=r.opset(7))
    attributes = r.maybe({"blocksize": block}, "mode", r.pick(("DCR", "CRD")))
    return Case(op, [r.values(dtype, [n, c * block * block, h, w])], attributes, opset=r.opset(11))


@generator("ReverseSequence")
def reverse_sequence(r, op):
    shape = r.solid(2, 4)
    batch = r.int(0, 1)
    lengths = ints([r.int(0, shape[1 - batch]) for _ in range(shape[batch])])
    attributes = {"batch_axis": batch, "time_axis": 1 - batch} if batch == 0 or r.chance() else {}
    return Case(op, [r.values(r.pick(MOVED), shape), lengths], attributes, opset=r.opset(10))


@generator("OneHot")
def one_hot(r, op):
    depth = r.int(1, 7)
    indices = r.values(r.pick(("int64", "int32", "float32")), r.shape(0, 3), -depth, depth)
    values = r.values(r.pick(("float32", "int64", "int32")), [2])
    indices = numpy.round(indices)
    depths = numpy.array(depth, dtype=r.pick(("int64", "int64", "int32", "float32")))
    return Case(op, [indices, depths.reshape([1] if r.chance(0.3) else []), values], {"axis": r.int(-indices.ndim - 1, indices.ndim)})


@generator("Range")
def number_range(r, op):
    dtype = r.pick(("float32", "float64", "int32", "int64", "int16"))
    step = r.values(dtype, [], 1, 3) * (-1 if r.chance(0.3) else 1)
    return Case(op, [r.values(dtype, [], -9, 9), r.values(dtype, [], -20, 20), numpy.array(step, dtype=dtype)],
                constant={0, 1, 2} if r.chance() else set())


@generator("ConstantOfShape")
def constant_of_shape(r, op):
    attributes = r.maybe({}, "value", r.values(r.pick(MOVED), [1]))
    return Case(op, [ints(r.shape())], attributes, constant={0} if r.chance() else set())


@generator("TopK")
def top_k(r, op):
    shape = r.solid(1, 4)
    axis = r.axis(len(shape))
    values = numpy.argsort(r.rng.random(shape), axis=axis) - shape[axis] // 2
    x = values.astype(r.pick(("float32", "float64", "int32", "int64", "int8", "int16")))
    x = (values + shape[axis]).astype("uint8") if r.chance(0.1) else x
    attributes = r.maybe({"axis": axis}, "largest", r.int(0, 1))
    count = r.int(0, shape[axis])
    r.maybe(attributes, "sorted", 0 if count < 2 else 1, 0.4)  # else the order is not defined
    return Case(op, [x, ints([count])], attributes, outputs=2, opset=r.opset(24 if x.dtype in ("int8", "int16", "uint8") else 11), constant={1} if r.chance() else set())


@generator("Unique")
def unique(r, op):
    shape = r.solid(1, 3)
    attributes = r.maybe({}, "axis", r.axis(len(shape)))
    r.maybe(attributes, "sorted", r.int(0, 1))
    return Case(op, [r.values(r.pick(("float32", "int64", "int8", "float64")), shape, 0, 3).round()], attributes, outputs=r.int(1, 4))


@generator("Compress")
def compress(r, op):
    shape = r.solid(1, 4)
    axis = r.axis(len(shape))
    attributes = r.maybe({}, "axis", axis)
    most = shape[axis] if attributes else int(numpy.prod(shape))
    return Case(op, [r.values(r.pick(MOVED), shape), r.values("bool", [r.int(1, most)])], attributes)


@generator("CenterCropPad")
def center_crop(r, op):
    shape = r.solid(1, 4)
    axes = r.axes(len(shape), 1)
    attributes = {"axes": axes}
    if r.chance(0.3):
        axes, attributes = range(len(shape)), {}
    return Case(op, [r.values(r.pick(("float32", "int32", "float64")), shape), ints([r.int(1, 9) for _ in axes])], attributes, opset=r.opset(18))


@generator("Col2Im")
def col2im(r, op):
    image, block = [r.int(3, 8), r.int(3, 8)], [r.int(1, 3), r.int(1, 3)]
    strides, dilations, pads = [r.int(1, 2) for _ in "hw"], [r.int(1, 2) for _ in "hw"], [r.int(0, 1) for _ in range(4)]
    count = 1
    for i in range(2):
        span = image[i] + pads[i] + pads[i + 2] - dilations[i] * (block[i] - 1) - 1
        if span < 0:
            dilations[i], block[i], span = 1, 1, image[i] + pads[i] + pads[i + 2] - 1
        count *= span // strides[i] + 1
    x = r.values("float32", [r.int(1, 2), r.int(1, 3) * block[0] * block[1], count])
    return Case(op, [x, ints(image), ints(block)], {"strides": strides, "dilations": dilations, "pads": pads}, opset=r.opset(18))


@generator("BitCast")
def bit_cast(r, op):
    group = r.pick((("float32", "int32", "uint32"), ("int64", "float64", "uint64"), ("uint8", "int8"), ("int16", "uint16", "float16")))
    source, target = r.pick(group), r.pick(group)
    return Case(op, [r.any_values(source, r.shape())], {"to": wire.ELEMENT_TYPES[target]}, opset=26)
