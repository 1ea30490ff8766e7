#!/usr/bin/env python3
"""Random nodes through smelt and through ONNX Runtime: the outputs must agree.

Each case is one node with random attributes, element types and shapes (with 0, 1 and primes), drawn from --seed and its number alone,
so that `--only NUMBER` repeats it. Cases go to smelt twenty in one model and singly after a mismatch. The inputs' sizes are
sometimes known to the model, sometimes symbols, sometimes only the rank is; operands such as axes are initializers or inputs.
Cases of bad input follow (bad_input.py). Needs numpy and onnxruntime, skips with 77 without.

Tolerances, where a case has none of its own: float64 1e-6, float32 1e-4, float16 1e-2 (ONNX Runtime computes most of float16 in
float32), relative to the larger of 1 and the expected value; integers and booleans equal; quantized outputs within one step.
"""
import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIP = 77

try:
    import numpy
    import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIP)

import bad_input
import coverage
import contrib, layers, movement, older, pointwise, sequences  # noqa: E401,F401 (they register their generators)
import wire
from case import DOMAIN_VERSIONS, GENERATORS, Random
from explained import explanation
from regressions import REGRESSIONS

BATCH, TIMEOUT = 20, 120
# Operators that fusions have much to do with are often followed by pointwise ones.
FOLLOWED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "MaxPool", "AveragePool", "Softmax", "LayerNormalization", "RMSNormalization",
            "InstanceNormalization", "GroupNormalization", "BatchNormalization", "Resize", "ReduceMean", "ReduceSum", "ReduceMax", "Concat",
            "Slice", "Transpose", "Add", "Mul", "Pad", "DepthToSpace", "Gather", "Squeeze"}
FOLLOWERS = (("Relu", {}), ("Sigmoid", {}), ("Neg", {}), ("Abs", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.25}), ("Add", {}), ("Mul", {}))
TWICE = ("Add", "Mul")
TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2}


def make_case(seed, number):
    op, function = GENERATORS[number % len(GENERATORS)]
    r = Random(seed, number)
    case = function(r, op)
    case.number = number
    case.inputs = [None if x is None else numpy.asarray(x) for x in case.inputs]
    while case.inputs and case.inputs[-1] is None:
        case.inputs.pop()
    if not case.after and case.op in FOLLOWED and case.inputs[0].dtype == "float32" and r.chance(0.4):
        case.after = [r.pick(FOLLOWERS) for _ in range(r.int(1, 3))]
    return case


# ---- Models of cases ----


def input_shape(case, index, array):
    """Fixed sizes, symbols, or fixed with the first one a symbol, in turn of the case's number. Integers after the first
    operand are fixed: the number of axes or the length of index tuples decides ranks."""
    kind = (case.number // len(GENERATORS) + index) % 3
    if array.dtype.kind == "i" and (index > 0 or case.op == "ConstantOfShape"):
        kind = 0
    prefix = f"c{case.number}i{index}"
    if kind == 0:
        return array.shape
    return [f"{prefix}d{d}" if kind == 1 or d == 0 else size for d, size in enumerate(array.shape)]


def case_parts(case):
    """(nodes, inputs, initializers, outputs, feeds) of one case."""
    names, inputs, initializers, feeds = [], [], [], {}
    for index, array in enumerate(case.inputs):
        if array is None:
            names.append("")
            continue
        name = f"c{case.number}_x{index}"
        names.append(name)
        if index in case.constant or array.dtype == "int64" and array.shape == (0,):  # an input's extent of 0 means any
            initializers.append(wire.tensor(name, array))
            continue
        inputs.append(wire.value_info(name, wire.ELEMENT_TYPES[array.dtype.name], input_shape(case, index, array)))
        feeds[name] = array
    outputs = [f"c{case.number}_y{i}" for i in range(case.outputs)]
    chain = [f"{outputs[0]}_{step}" for step in range(len(case.after))] + outputs[:1]
    nodes = [wire.node(case.op, names, chain[:1] + outputs[1:], case.attributes, case.domain, f"n{case.number}")]
    for step, (op, attributes) in enumerate(case.after):
        operands = [chain[step]] * (2 if op in TWICE else 1)
        nodes.append(wire.node(op, operands, [chain[step + 1]], attributes, "", f"n{case.number}_{step}"))
    return nodes, inputs, initializers, outputs, feeds


def write_model(cases, path=None):
    parts = [case_parts(case) for case in cases]
    graph = wire.graph([n for p in parts for n in p[0]], [v for p in parts for v in p[1]], [wire.value_info(o) for p in parts for o in p[3]],
                       [t for p in parts for t in p[2]])
    encoded = wire.model(graph, cases[0].opset, DOMAIN_VERSIONS.items())
    feeds = {name: array for p in parts for name, array in p[4].items()}
    if path is not None:
        path.write_bytes(encoded)
    return encoded, feeds


# ---- The two programs ----


def reference(case):
    """ONNX Runtime's outputs, or why it has none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    encoded, feeds = write_model([case])
    try:
        session = onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds), None
    except Exception as refusal:  # whatever its classes are, a refusal has no expected values
        return None, str(refusal).replace("\n", " ")


class Smelt:
    def __init__(self, program, folder, target):
        self.program, self.folder, self.target = program, folder, target

    def run(self, cases):
        """(outputs in the order of the cases, None) or (None, the failed process)"""
        model, out = self.folder / "model.onnx", self.folder / "out"
        feeds = write_model(cases, model)[1]
        command = [self.program, "run", str(model), "--output-dir", str(out), "--threads", "1", "--target", self.target]
        for index, (name, array) in enumerate(feeds.items()):
            file = self.folder / f"{index}.npy"
            numpy.save(file, array)
            command += ["--input", f"{name}={file}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(command, -9, "", f"no result within {TIMEOUT} s")
        if done.returncode != 0:
            return None, done
        return [numpy.load(out / f"output_{i}.npy") for i in range(sum(case.outputs for case in cases))], None


# ---- Comparison ----


def difference(case, expected, found):
    for index, (want, have) in enumerate(zip(expected, found)):
        want = numpy.asarray(want)
        if want.dtype != have.dtype or want.shape != have.shape:
            return f"output {index} is {have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}"
        if want.dtype.kind == "f":
            rtol, atol = case.close or [TOLERANCES[want.dtype.name]] * 2
            wrong = ~numpy.isclose(have.astype("float64"), want.astype("float64"), rtol=rtol, atol=atol, equal_nan=True)
        elif want.dtype.kind == "b":
            wrong = want != have
        else:
            wrong = (want != have) if case.steps == 0 else abs(want.astype("float64") - have.astype("float64")) > case.steps
        if wrong.any():
            at = tuple(int(i) for i in numpy.argwhere(wrong)[0])
            return f"output {index}: {int(wrong.sum())} of {wrong.size} differ, first at {list(at)}: {have[at]}, expected {want[at]}"
    return None


class Tally:
    def __init__(self):
        self.agreed, self.explained, self.refused = collections.Counter(), collections.Counter(), collections.Counter()
        self.refusals, self.problems = collections.defaultdict(str), []

    def judge(self, case, problem):
        if problem is None:
            self.agreed[case.op] += 1
            return
        reason = explanation(case, problem)
        if reason is not None:
            self.explained[reason] += 1
            return
        self.problems.append(f"{case.describe()}\n    {problem}")
        print("DIFFERS " + self.problems[-1], flush=True)


def compare_singly(smelt, case, expected, tally):
    found, failed = smelt.run([case])
    if failed is not None:
        lines = [line for line in failed.stderr.splitlines() if line.startswith("smelt:")] or [failed.stderr]
        tally.judge(case, f"exit {failed.returncode}: {lines[0]}")
    else:
        tally.judge(case, difference(case, expected, found))


def compare(smelt, batch, tally):
    """batch: (case, expected) of one opset. Halves it when smelt refuses the whole."""
    if len(batch) == 1:
        compare_singly(smelt, *batch[0], tally)
        return
    found, failed = smelt.run([case for case, _ in batch])
    if failed is not None:
        compare(smelt, batch[: len(batch) // 2], tally)
        compare(smelt, batch[len(batch) // 2 :], tally)
        return
    for case, expected in batch:
        mine, found = found[: case.outputs], found[case.outputs :]
        if difference(case, expected, mine) is None:
            tally.judge(case, None)
        else:
            compare_singly(smelt, case, expected, tally)


def run_cases(smelt, seed, numbers):
    tally, waiting = Tally(), collections.defaultdict(list)
    for number in numbers:
        case = make_case(seed, number)
        expected, refusal = reference(case)
        if refusal is not None:
            tally.refused[case.op] += 1
            tally.refusals[case.op] = refusal
            continue
        waiting[case.opset].append((case, expected))
        if len(waiting[case.opset]) == BATCH:
            compare(smelt, waiting.pop(case.opset), tally)
    for batch in waiting.values():
        compare(smelt, batch, tally)
    return tally


def operators(program):
    """All that smelt takes: operators of its tables and older or others' forms."""
    rows = subprocess.run([program, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {row.split("|")[1].strip() for row in rows if row.startswith("|")}
    return names - {"operator", "form", "---"}


def run_regressions(smelt):
    tally = Tally()
    for number, case in enumerate(REGRESSIONS):
        case.number = number
        expected, refusal = reference(case)
        if refusal is not None:
            tally.problems.append(refusal)
            print(f"REFUSED {case.describe()}\n    {refusal}")
            continue
        compare_singly(smelt, case, expected, tally)
    return tally.problems


def report(tally, verbose):
    print(f"{sum(tally.agreed.values())} agree, {sum(tally.explained.values())} differ for a known reason, "
          f"{sum(tally.refused.values())} refused by ONNX Runtime, {len(tally.problems)} differ")
    for reason, count in tally.explained.most_common():
        print(f"  {count:5} {reason}")
    if verbose:
        for op, count in sorted(tally.refused.items()):
            print(f"  refused {op} {count} of {count + tally.agreed[op]}: {tally.refusals[op][:200]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"))
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="just this case")
    parser.add_argument("--op", help="just this operator")
    parser.add_argument("--bad-input", action="store_true", help="just the cases of bad input")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    alone = options.only is not None or options.op
    missing = [] if alone or options.bad_input else coverage.gaps(coverage.draw_all(make_case), operators(options.smelt))
    for gap in missing:
        print("NOT DRAWN " + gap)
    numbers = [options.only] if options.only is not None else range(0 if options.bad_input else options.cases)
    if options.op:
        numbers = [n for n in range(options.cases * len(GENERATORS)) if GENERATORS[n % len(GENERATORS)][0] == options.op][: options.cases]
    with tempfile.TemporaryDirectory() as folder:
        smelt = Smelt(options.smelt, pathlib.Path(folder), options.target)
        again = [] if alone or options.bad_input else run_regressions(smelt)
        tally = run_cases(smelt, options.seed, numbers)
        report(tally, options.verbose)
        wrong = [] if alone else bad_input.check_all(
            options.smelt, options.target, pathlib.Path(folder), options.seed, options.cases // 2)
    return 1 if missing or again or tally.problems or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
