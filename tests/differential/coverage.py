"""What the generators never draw of what ONNX Runtime's own tables offer: attributes, element types, omitted inputs.

ONNX Runtime tells the schema of every operator and the element types that its CPU kernels take. Of each operator that smelt
knows, every attribute must be drawn and left out, every optional input given and left out, and every element type given to
the inputs that may have it, or UNDRAWN says why not.
"""
import collections

import numpy
import onnxruntime.capi.onnxruntime_pybind11_state as state

from case import GENERATORS, LATEST
from undrawn import UNDRAWN

DRAWS = 100  # of each generator
TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}
TYPES.update((f"tensor({name})", name) for name in ("float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))


KERNELS = collections.defaultdict(list)
for _kernel in state.get_all_opkernel_def():
    if _kernel.provider == "CPUExecutionProvider":
        KERNELS[_kernel.domain, _kernel.op_name].append(_kernel)


class Drawn:
    """What was drawn of one operator."""

    def __init__(self):
        self.count, self.least, self.most = 0, 99, 0
        self.attributes, self.given = collections.defaultdict(set), collections.Counter()
        self.inputs = collections.defaultdict(set)

    def add(self, case):
        self.count += 1
        self.least, self.most = min(self.least, case.opset), max(self.most, case.opset)
        self.given.update(list(case.attributes))
        for name, value in case.attributes.items():
            self.attributes[name].add(repr(value)[:80])
        for index, value in enumerate(case.inputs):
            self.inputs[index].add("" if value is None else value.dtype.name)
        self.inputs[len(case.inputs)].add("")


def draw_all(make_case, draws=DRAWS):
    drawn = collections.defaultdict(Drawn)
    for number in range(len(GENERATORS) * draws):
        case = make_case(0, number)
        drawn[case.domain, case.op].add(case)
    return drawn


def schemas():
    """The newest schema of each operator that a model of opset LATEST may use."""
    newest = {}
    for schema in state.get_all_operator_schema():
        key = ("" if schema.domain == "ai.onnx" else schema.domain, schema.name)
        if (key[0] or schema.since_version <= LATEST) and (key not in newest or newest[key].since_version < schema.since_version):
            newest[key] = schema
    return newest


def kernel_types(schema):
    """{type parameter: element types} of the CPU kernels of this version of an operator."""
    types = collections.defaultdict(set)
    for kernel in KERNELS[schema.domain, schema.name]:
        if kernel.version_range[0] <= LATEST and kernel.version_range[1] >= schema.since_version:
            for parameter, names in kernel.type_constraints.items():
                types[parameter].update(TYPES[name] for name in names if name in TYPES)
    return types


def gaps_of(drawn, schema, types):
    """Short texts: 'attribute alpha', 'attribute alpha omitted', 'input 2', 'input 2 omitted', 'T int8'."""
    for name, attribute in schema.attributes.items():
        if name not in drawn.attributes:
            yield f"attribute {name}"
        elif len(drawn.attributes[name]) < 2 and drawn.given[name] == drawn.count and "GRAPH" not in str(attribute.type):
            yield f"attribute {name} is always {next(iter(drawn.attributes[name]))}"
    found = collections.defaultdict(set)
    for index, parameter in enumerate(schema.inputs):
        seen = drawn.inputs.get(index, set())
        found[parameter.typeStr] |= seen
        if not seen - {""}:
            yield f"input {index}"
        elif "Optional" in str(parameter.option) and "" not in seen:
            yield f"input {index} omitted"
    for parameter, seen in found.items():
        for name in sorted(types.get(parameter, set()) - seen):
            yield f"{parameter} {name}"


def gaps(drawn, operators):
    """Texts about what was not drawn of these operators ("Conv", "com.microsoft::QGemm") and what UNDRAWN says for nothing."""
    known, wrong, used = schemas(), [], set()
    for name in sorted(operators):
        key = ("", name) if "::" not in name else tuple(name.split("::"))
        if key in drawn:
            missing = gaps_of(drawn[key], known[key], kernel_types(known[key])) if key in known else ()
        else:
            missing = ["all"]
        for gap in missing:
            used.add((name, gap))
            if (name, gap) not in UNDRAWN:
                wrong.append(f"{name}: {gap}")
    return wrong + [f"{name}: {gap} is drawn, but undrawn.py has it" for name, gap in UNDRAWN if (name, gap) not in used]
