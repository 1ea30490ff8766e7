"""An ONNX model as a torch module, operator by operator, so that torch.compile and eager torch run the very file that
smelt compiles. Shape arithmetic is done once with numpy while the module is made (shapes are those of the inputs given);
what remains are torch calls on tensors. Covers the operators of the benchmark models."""
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def pads_of(attrs, rank):
    pads = attrs.get("pads", [0] * 2 * rank)
    if pads[:rank] != pads[rank:]:
        raise NotImplementedError("uneven padding")
    return tuple(pads[:rank])


def convolution(x, w, b, attrs):
    rank = w.dim() - 2
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    return function(x, w, b, tuple(attrs.get("strides", [1] * rank)), pads_of(attrs, rank),
                    tuple(attrs.get("dilations", [1] * rank)), attrs.get("group", 1))


def transposed(x, w, b, attrs):
    rank = w.dim() - 2
    function = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[rank]
    return function(x, w, b, tuple(attrs.get("strides", [1] * rank)), pads_of(attrs, rank),
                    tuple(attrs.get("output_padding", [0] * rank)), attrs.get("group", 1))


def max_pool(x, attrs):
    rank = len(attrs["kernel_shape"])
    function = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    return function(x, tuple(attrs["kernel_shape"]), tuple(attrs.get("strides", [1] * rank)), pads_of(attrs, rank),
                    ceil_mode=bool(attrs.get("ceil_mode", 0)))


def resize(x, sizes, attrs):
    rank = x.dim() - 2
    mode = {b"nearest": "nearest", b"cubic": "bicubic", b"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]}[attrs.get("mode", b"nearest")]
    aligned = attrs.get("coordinate_transformation_mode", b"half_pixel") == b"align_corners"
    return F.interpolate(x, size=tuple(sizes[2:]), mode=mode, align_corners=None if mode == "nearest" else aligned)


def transpose(x, perm):
    """Keys of attention in two steps, as models are written: Inductor's patterns of attention take one step for the second of them."""
    return x.permute(0, 2, 1, 3).transpose(-1, -2) if perm == (0, 2, 3, 1) else x.permute(perm)


# name: function of (tensors, attributes); None for omitted inputs
TENSOR_OPS = {
    "Add": lambda i, a: i[0] + i[1],
    "Sub": lambda i, a: i[0] - i[1],
    "Mul": lambda i, a: i[0] * i[1],
    "Div": lambda i, a: i[0] / i[1],
    "Relu": lambda i, a: F.relu(i[0]),
    "LeakyRelu": lambda i, a: F.leaky_relu(i[0], a.get("alpha", 0.01)),
    "Sigmoid": lambda i, a: torch.sigmoid(i[0]),
    "Erf": lambda i, a: torch.erf(i[0]),
    "Sqrt": lambda i, a: torch.sqrt(i[0]),
    "Softmax": lambda i, a: F.softmax(i[0], a.get("axis", -1)),
    "MatMul": lambda i, a: torch.matmul(i[0], i[1]),
    "Conv": lambda i, a: convolution(i[0], i[1], i[2] if len(i) > 2 else None, a),
    "ConvTranspose": lambda i, a: transposed(i[0], i[1], i[2] if len(i) > 2 else None, a),
    "BatchNormalization": lambda i, a: F.batch_norm(i[0], i[3], i[4], i[1], i[2], False, 0.0, a.get("epsilon", 1e-5)),
    "InstanceNormalization": lambda i, a: F.instance_norm(i[0], weight=i[1], bias=i[2], eps=a.get("epsilon", 1e-5)),
    "LayerNormalization": lambda i, a: F.layer_norm(i[0], i[1].shape, i[1], i[2], a.get("epsilon", 1e-5)),
    "MaxPool": lambda i, a: max_pool(i[0], a),
    "GlobalAveragePool": lambda i, a: i[0].mean(tuple(range(2, i[0].dim())), keepdim=True),
    "Gemm": lambda i, a: F.linear(i[0], i[1] if a.get("transB") else i[1].t(), i[2] if len(i) > 2 else None),
    "Transpose": lambda i, a: transpose(i[0], tuple(a["perm"])),
    "Flatten": lambda i, a: i[0].flatten(a.get("axis", 1)),
    "Concat": lambda i, a: torch.cat(i, a["axis"]),
    "Where": lambda i, a: torch.where(i[0].bool(), i[1], i[2]),
    "Equal": lambda i, a: i[0] == i[1],
    "Identity": lambda i, a: i[0],
}
# Whose further inputs are numbers that are known when the module is made: lists, plain numbers, or None.
SHAPED_OPS = {
    "Reshape": lambda x, n, a: x.reshape([x.shape[k] if d == 0 else d for k, d in enumerate(n[0])]),
    "Unsqueeze": lambda x, n, a: unsqueeze(x, n[0]),
    "Squeeze": lambda x, n, a: x.squeeze(tuple(n[0])) if n else x.squeeze(),
    "Expand": lambda x, n, a: x.expand(torch.broadcast_shapes(x.shape, n[0])),
    "Clip": lambda x, n, a: x.clamp(n[0], n[1]),
    "Slice": lambda x, n, a: slice_tensor(x, *n),
    "Resize": lambda x, n, a: resize(x, n[-1] if len(n) > 2 and n[2] is not None else [round(s * f) for s, f in zip(x.shape, n[1])], a),
}


def unsqueeze(x, axes):
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def slice_tensor(x, starts, ends, axes=None, steps=None):
    index = [slice(None)] * x.dim()
    for k, (start, end) in enumerate(zip(starts, ends)):
        axis = axes[k] if axes is not None else k
        index[axis] = slice(start, min(end, x.shape[axis]), steps[k] if steps is not None else 1)
    return x[tuple(index)]


def gather(data, indices, attrs):
    axis = attrs.get("axis", 0)
    return data.index_select(axis, indices.reshape(-1)).reshape(data.shape[:axis] + tuple(indices.shape) + data.shape[axis + 1:])


class OnnxModule(torch.nn.Module):
    """model: a ModelProto; half: float weights in float16. prepare(*inputs) must come first: it runs the model once and keeps
    what is to be done with tensors. Then call it with inputs of the same shapes, in their order."""

    def __init__(self, model, half=True, channels_last=False):
        super().__init__()
        self.inputs = [i.name for i in model.graph.input]
        self.outputs = [o.name for o in model.graph.output]
        self.half, self.channels_last = half, channels_last
        self.nodes = [(n.op_type, [str(i) for i in n.input], [str(o) for o in n.output], attributes(n)) for n in model.graph.node]
        self.known = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        self.program = []  # (name of the result, function of tensors, names of operands; None: omitted; names that end here)

    def weight(self, array):
        array = np.array(array)
        if self.half and array.dtype == np.float32:  # what is finite stays so, such as the lowest float of a mask
            array = np.where(np.isfinite(array), np.clip(array, -65504, 65504), array).astype(np.float16)
        tensor = torch.from_numpy(array)
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return tensor.contiguous(memory_format=formats[tensor.dim()]) if self.channels_last and tensor.dim() in formats else tensor

    def slot(self, name, numbers, device):
        """The operand's name among the tensors: constants become buffers."""
        if name == "" or name not in numbers:
            return name or None
        own = "w_" + "".join(c if c.isalnum() else f"_{ord(c)}_" for c in name)
        if not hasattr(self, own):
            self.register_buffer(own, self.weight(numbers[name]).to(device), persistent=False)
        return own

    @torch.no_grad()
    def prepare(self, *arguments):
        values, numbers = dict(zip(self.inputs, arguments)), dict(self.known)
        device = arguments[0].device

        def numbers_of(names):
            return [None if n == "" else numbers[n] for n in names]

        for op, inputs, outputs, attrs in self.nodes:
            tensors = any(i in values for i in inputs)
            large = op not in ("Gather", "Slice", "Reshape", "Unsqueeze", "Squeeze") and any(
                i in numbers and numbers[i].dtype == np.float32 and numbers[i].size > 64 for i in inputs)
            if op == "Constant":
                numbers[outputs[0]] = numpy_helper.to_array(attrs["value"])
            elif op == "Shape":
                numbers[outputs[0]] = np.array(values[inputs[0]].shape if tensors else numbers[inputs[0]].shape, np.int64)
            elif not tensors and not large:
                numbers[outputs[0]] = fold(op, numbers_of(inputs), attrs)
            else:
                if op == "Cast":
                    kind = {1: torch.float16 if self.half else torch.float32, 7: torch.int64, 9: torch.bool, 10: torch.float16}[attrs["to"]]
                    function, operands = (lambda t, kind=kind: t[0].to(kind)), inputs[:1]
                elif op == "Gather":
                    function, operands = (lambda t, attrs=attrs: gather(t[0], t[1], attrs)), inputs
                elif op in SHAPED_OPS:
                    function, operands = (lambda t, f=SHAPED_OPS[op], n=[None if v is None else v.tolist() for v in numbers_of(inputs[1:])], a=attrs: f(t[0], n, a)), inputs[:1]
                else:
                    function, operands = (lambda t, f=TENSOR_OPS[op], a=attrs: f(t, a)), inputs
                slots = [self.slot(name, numbers, device) for name in operands]
                values[outputs[0]] = function([None if s is None else values[s] if s in values else getattr(self, s) for s in slots])
                self.program.append((outputs[0], function, slots))
        self.program = [step + (ended,) for step, ended in zip(self.program, self.last_uses())]
        return self

    def last_uses(self):
        """Per step, the results that nothing reads behind it, so that their memory can be used again."""
        seen, lists = set(self.outputs), []
        for name, _, slots in reversed(self.program):
            ended = {s for s in (name, *slots) if s is not None and not s.startswith("w_") and s not in seen}
            seen |= ended
            lists.append(sorted(ended))
        return lists[::-1]

    def forward(self, *arguments):
        values = dict(zip(self.inputs, arguments))
        for name, function, slots, ended in self.program:
            values[name] = function([None if s is None else values[s] if s in values else getattr(self, s) for s in slots])
            for done in ended:
                del values[done]
        return tuple(values[o] for o in self.outputs)


def fold(op, i, attrs):
    """Shape arithmetic."""
    simple = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Mod": np.mod, "Equal": np.equal, "Where": np.where}
    if op in simple:
        return simple[op](*i)
    if op == "Div":
        return i[0] // i[1] if np.issubdtype(i[0].dtype, np.integer) else i[0] / i[1]
    if op == "Gather":
        return np.take(i[0], i[1], attrs.get("axis", 0))
    if op == "Concat":
        return np.concatenate([np.atleast_1d(x) for x in i], attrs["axis"])
    if op == "Unsqueeze":
        return np.expand_dims(i[0], tuple(int(d) for d in i[1]))
    if op == "Squeeze":
        return np.squeeze(i[0], tuple(int(d) for d in i[1]) if len(i) > 1 else None)
    if op == "Cast":
        return i[0].astype({1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_}[attrs["to"]])
    if op == "ConstantOfShape":
        value = numpy_helper.to_array(attrs["value"]) if "value" in attrs else np.zeros(1, np.float32)
        return np.full([int(d) for d in i[0]], value[0])
    if op == "Slice":
        index = [slice(None)] * i[0].ndim
        for k, (start, end) in enumerate(zip(i[1], i[2])):
            axis = int(i[3][k]) if len(i) > 3 else k
            index[axis] = slice(int(start), int(end), int(i[4][k]) if len(i) > 4 else 1)
        return i[0][tuple(index)]
    if op == "Expand":
        return np.broadcast_to(i[0], np.broadcast_shapes(i[0].shape, tuple(int(d) for d in i[1])))
    if op == "Reshape":
        return i[0].reshape([int(d) for d in i[1]])
    if op == "Transpose":
        return i[0].transpose(attrs["perm"])
    if op == "Sqrt":
        return np.sqrt(i[0])
    if op == "Identity":
        return i[0]
    raise NotImplementedError(op)
