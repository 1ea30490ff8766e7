"""Nodes that ONNX's own schemas rule out, made from good ones: counts of inputs, kinds of elements, axes, and words that mean nothing.

A type that the schema leaves out is none of them where it allows another of its kind (reals, integers, truth values): smelt takes
more than the standard asks for.
"""
import copy

import numpy

from case import GENERATORS, Random
from coverage import TYPES, schemas

FAR = 99  # no rank is that high
WORDS = ("mode", "auto_pad", "direction", "padding_mode", "coordinate_transformation_mode", "nearest_mode", "reduction", "approximate", "activation",
         "keep_aspect_ratio_policy", "round_mode")
# Lists of axes that name whole dimensions, and single ones.
AXES = ("axis", "axes", "batch_axis", "time_axis", "scan_input_axes", "scan_output_axes")
SCHEMAS = schemas()


# Operators of ai.onnx that were never released become others, and those check what they get.
# Sum adds integers, too.
WIDER = ("Sum", "Affine", "Crop", "ImageScaler", "ParametricSoftplus", "ScaledTanh")
LENIENT = {("QGemm", "too few inputs"): "a zero point that is left out is 0", ("QLinearGlobalAveragePool", "too few inputs"): "a zero point that is left out is 0",
           ("QuantizeLinear", "axis is 99"): "one scale has no axis, and ONNX Runtime does not look at it, either",
           ("DequantizeLinear", "axis is 99"): "one scale has no axis, and ONNX Runtime does not look at it, either"}


def schema_of(case):
    return SCHEMAS.get((case.domain, case.op))


def allowed(schema, parameter):
    """Element types of a parameter; all where it says nothing."""
    names = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == parameter.typeStr), [parameter.typeStr])
    return {TYPES[name] for name in names if name in TYPES}


def kind_of(name):
    return numpy.dtype(name).kind.replace("u", "i")


def of_other_kinds(names, kinds):
    return sorted(name for name in names if kind_of(name) not in kinds)


def parameters(schema, count):
    """The schema's parameters of `count` inputs; the last one repeats where it may."""
    listed = list(schema.inputs)
    return [listed[min(i, len(listed) - 1)] for i in range(count)] if listed else []


def spoil_count(case, schema):
    least = schema.min_input
    if len(case.inputs) >= least > 0 and all(x is not None for x in case.inputs[:least]):
        yield "too few inputs", lambda bad: bad.inputs.__delitem__(slice(least - 1, None))
    if schema.max_input < 100 and case.inputs:
        missing = schema.max_input + 1 - len(case.inputs)
        yield "too many inputs", lambda bad: bad.inputs.extend([None] * (missing - 1) + [numpy.ones([2], dtype="float32")])


def change_type(index, name):
    def change(bad):
        with numpy.errstate(invalid="ignore", over="ignore"):
            bad.inputs[index] = bad.inputs[index].astype(name)
    return change


def spoil_types(case, schema):
    listed = parameters(schema, len(case.inputs)) if case.domain == "" and case.op not in WIDER else []
    for index, (x, parameter) in enumerate(zip(case.inputs, listed)):
        if x is None or x.dtype.name not in allowed(schema, parameter):
            continue
        wrong = of_other_kinds(TYPES.values(), {kind_of(name) for name in allowed(schema, parameter)})
        if wrong:
            name = wrong[(case.number + index) % len(wrong)]
            yield f"input {index} is {name}", change_type(index, name)
        shared = sum(other is not None and p.typeStr == parameter.typeStr for other, p in zip(case.inputs, listed)) > 1
        others = of_other_kinds(allowed(schema, parameter), {kind_of(x.dtype.name)})
        if shared and others and parameter.isHomogeneous:
            name = others[(case.number + index) % len(others)]
            yield f"input {index} alone is {name}", change_type(index, name)


def set_attribute(key, value):
    def change(bad):
        bad.attributes[key] = value
    return change


def spoil_attributes(case, schema):
    for key in AXES:
        if key in schema.attributes and "axis" in key and (case.inputs or key in case.attributes):
            yield f"{key} is {FAR}", set_attribute(key, FAR)
        if isinstance(case.attributes.get(key), list) and case.attributes[key]:
            yield f"{key} holds {FAR}", set_attribute(key, [FAR, *case.attributes[key][1:]])
    for key in WORDS:
        if isinstance(case.attributes.get(key), str):
            yield f"{key} means nothing", set_attribute(key, "perhaps")


def spoilt_cases(seed):
    """[(case, what is wrong)] of one good case of each generator."""
    found = []
    for number, (op, function) in enumerate(GENERATORS):
        good = function(Random(seed, number), op)
        good.number, good.after = number, []
        good.inputs = [None if x is None else numpy.asarray(x) for x in good.inputs]
        while good.inputs and good.inputs[-1] is None:
            good.inputs.pop()
        schema = schema_of(good)
        if schema is None:
            continue
        for spoil in (spoil_count, spoil_types, spoil_attributes):
            for what, change in spoil(good, schema):
                bad = copy.copy(good)
                bad.inputs, bad.attributes = list(good.inputs), dict(good.attributes)
                change(bad)
                if (good.op, what) not in LENIENT:
                    found.append((bad, what))
    return found
