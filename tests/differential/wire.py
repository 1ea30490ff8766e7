"""Writes ONNX models: just enough protobuf for graphs of nodes with tensors, so that the tests need no onnx package."""
import struct

import numpy

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, UINT32, UINT64 = range(1, 14)
BFLOAT16, FLOAT8E4M3FN, FLOAT8E4M3FNUZ, FLOAT8E5M2, FLOAT8E5M2FNUZ, UINT4, INT4 = range(16, 23)
FLOAT8E8M0 = 24
ELEMENT_TYPES = {
    "float32": FLOAT, "uint8": UINT8, "int8": INT8, "uint16": UINT16, "int16": INT16, "int32": INT32, "int64": INT64,
    "bool": BOOL, "float16": FLOAT16, "float64": DOUBLE, "uint32": UINT32, "uint64": UINT64,
}
IR_VERSION = 9
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = 1, 2, 3, 4, 5
ATTRIBUTE_FLOATS, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS = 6, 7, 8


class Graph:
    """The body of an If, Loop or Scan: already encoded."""

    def __init__(self, encoded):
        self.encoded = encoded


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(field, value):
    return varint(field << 3) + varint(value)


def bytes_field(field, value):
    if isinstance(value, str):
        value = value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def float_field(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def tensor(name, array):
    array = numpy.asarray(array)
    out = b"".join(number_field(1, size) for size in array.shape)
    out += number_field(2, ELEMENT_TYPES[array.dtype.name]) + bytes_field(8, name)
    return out + bytes_field(9, numpy.ascontiguousarray(array).tobytes())


def attribute(name, value):
    out = bytes_field(1, name)
    if isinstance(value, Graph):
        return out + bytes_field(6, value.encoded) + number_field(20, ATTRIBUTE_GRAPH)
    if isinstance(value, numpy.ndarray):
        return out + bytes_field(5, tensor("", value)) + number_field(20, ATTRIBUTE_TENSOR)
    if isinstance(value, str):
        return out + bytes_field(4, value) + number_field(20, ATTRIBUTE_STRING)
    if isinstance(value, float):
        return out + float_field(2, value) + number_field(20, ATTRIBUTE_FLOAT)
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], str):
            return out + b"".join(bytes_field(9, item) for item in value) + number_field(20, ATTRIBUTE_STRINGS)
        if value and isinstance(value[0], float):
            return out + b"".join(float_field(7, item) for item in value) + number_field(20, ATTRIBUTE_FLOATS)
        return out + b"".join(number_field(8, int(item)) for item in value) + number_field(20, ATTRIBUTE_INTS)
    return out + number_field(3, int(value)) + number_field(20, ATTRIBUTE_INT)


def node(op, inputs, outputs, attributes=None, domain="", name=""):
    out = b"".join(bytes_field(1, value) for value in inputs) + b"".join(bytes_field(2, value) for value in outputs)
    out += bytes_field(3, name) + bytes_field(4, op)
    out += b"".join(bytes_field(5, attribute(key, value)) for key, value in (attributes or {}).items())
    return out + bytes_field(7, domain)


def value_info(name, element_type=None, shape=None):
    """shape: ints or names of symbols; None says nothing about it."""
    if element_type is None:
        return bytes_field(1, name)
    kind = number_field(1, element_type)
    if shape is not None:
        dims = (bytes_field(2, dim) if isinstance(dim, str) else number_field(1, dim) for dim in shape)
        kind += bytes_field(2, b"".join(bytes_field(1, dim) for dim in dims))
    return bytes_field(1, name) + bytes_field(2, bytes_field(1, kind))


def graph(nodes, inputs=(), outputs=(), initializers=(), name="g"):
    """All arguments are encoded."""
    out = b"".join(bytes_field(1, item) for item in nodes) + bytes_field(2, name)
    out += b"".join(bytes_field(5, item) for item in initializers)
    out += b"".join(bytes_field(11, item) for item in inputs)
    return out + b"".join(bytes_field(12, item) for item in outputs)


def model(encoded_graph, opset, domains=()):
    out = number_field(1, IR_VERSION) + bytes_field(7, encoded_graph)
    for domain, version in [("", opset), *domains]:
        out += bytes_field(8, bytes_field(1, domain) + number_field(2, version))
    return out
