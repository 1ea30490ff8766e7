"""A case of the differential test: one node with random inputs and attributes, and the source of randomness."""
import dataclasses

import numpy

import wire

FLOATS = ("float32", "float32", "float32", "float64", "float16")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS
ALL = NUMBERS + ("bool",)
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 11, 13)
LATEST = 26  # opset that ONNX Runtime knows
ML_DOMAIN, MS_DOMAIN = "ai.onnx.ml", "com.microsoft"
DOMAIN_VERSIONS = {ML_DOMAIN: 3, MS_DOMAIN: 1}

CONSTANT = "constant"


@dataclasses.dataclass
class Case:
    """inputs: arrays, None where left out. constant: indices of those written as initializers.
    after: (operator, attributes) of nodes that output 0 goes through; operators of two inputs get it twice.
    close: (rtol, atol) in place of the tolerances of the element type; steps: allowed difference of integers."""

    op: str
    inputs: list
    attributes: dict = dataclasses.field(default_factory=dict)
    outputs: int = 1
    domain: str = ""
    opset: int = 21
    constant: set = dataclasses.field(default_factory=set)
    close: tuple = None
    steps: int = 0
    after: list = dataclasses.field(default_factory=list)
    number: int = 0

    def describe(self):
        inputs = ", ".join(
            "-" if x is None else f"{'=' if i in self.constant else ''}{x.dtype}{list(x.shape)}" + (
                f"={x.tolist()}" if x.size <= 8 and (i in self.constant or x.dtype.kind in "iub") else "")
            for i, x in enumerate(self.inputs))
        attributes = ", ".join(f"{k}={v if not isinstance(v, wire.Graph) else '{...}'}" for k, v in self.attributes.items())
        name = f"{self.domain}.{self.op}" if self.domain else self.op
        after = "".join(f" > {op}{values or ''}" for op, values in self.after)
        return f"case {self.number}: {name}-{self.opset}({inputs}) {{{attributes}}}{after}"


class Random:
    """Everything that a generator draws."""

    def __init__(self, seed, number):
        self.rng = numpy.random.default_rng([seed, number])

    def chance(self, probability=0.5):
        return self.rng.random() < probability

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def int(self, low, high):
        """low to high, both included"""
        return int(self.rng.integers(low, high + 1))

    def real(self, low, high):
        return float(numpy.float32(self.rng.uniform(low, high)))

    def opset(self, least=13, most=LATEST):
        return self.int(least, most)

    def shape(self, low=0, high=4, sizes=SIZES):
        shape = [self.pick(sizes) for _ in range(self.int(low, high))]
        while numpy.prod(shape) > 4096:
            shape[int(numpy.argmax(shape))] = 2
        return shape

    def solid(self, low=0, high=4):
        """A shape without zeros."""
        return self.shape(low, high, SIZES[1:])

    def broadcast(self, shape):
        """A shape that stretches to this one."""
        part = [1 if self.chance(0.25) else size for size in shape]
        return part[self.int(0, len(part)):] if self.chance(0.35) else part

    def values(self, dtype, shape, low=-3.0, high=3.0):
        dtype = numpy.dtype(dtype)
        if dtype.kind == "b":
            return self.rng.random(shape) < 0.5
        if dtype.kind == "f":
            return self.rng.uniform(low, high, shape).astype(dtype)
        low = max(int(low), 0) if dtype.kind == "u" else int(low)
        return self.rng.integers(low, max(int(high), low) + 1, shape).astype(dtype)

    def any_values(self, dtype, shape):
        """Integers over their whole range; floats as usual."""
        dtype = numpy.dtype(dtype)
        if dtype.kind in "iu":
            info = numpy.iinfo(dtype)
            return self.rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        return self.values(dtype, shape)

    def axis(self, rank, negative=True):
        return self.int(-rank if negative else 0, rank - 1)

    def axes(self, rank, least=0):
        count = self.int(least, rank)
        chosen = self.rng.permutation(rank)[:count]
        return [int(a) - (rank if self.chance(0.3) else 0) for a in chosen]

    def permutation(self, count):
        return [int(i) for i in self.rng.permutation(count)]

    def maybe(self, attributes, key, value, probability=0.6):
        if self.chance(probability):
            attributes[key] = value
        return attributes


def ints(values):
    return numpy.array(values, dtype=numpy.int64)


GENERATORS = []


def generator(*ops):
    """Registers a function of (Random, operator name) that returns a Case, for each operator."""

    def register(function):
        GENERATORS.extend((op, function) for op in ops)
        return function

    return register
