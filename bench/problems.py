#!/usr/bin/env python3
"""Every unique convolution and matrix product of models: what a GPU needs at least, what smelt takes, what the libraries take.

    bench/problems.py --smelt build/smelt MODEL.onnx... [--precision fp16] [--gpu h200] [--torch] [--output problems.jsonl]

In place of a model what `smelt tune MODEL --tune=off --json` prints will do, in a .json file. Normalisations that convolutions would do on their way stay
apart (--disable-pass=normalize_on_read and normalize_on_write).

The floor is the roofline of the GPU's description. With --gpu smelt's times are the model's (or of --timing-cache). Without,
`smelt tune` measures them on the GPU that is here: first of each problem what the model chooses; then, with --torch, of those that
are slower than torch (without, of all) the best candidates, the slowest first, for at most --limit seconds; what is measured is kept in the
timing cache, so that a later call goes on. --torch times the same contraction with torch (cuDNN with its search on, cuBLAS) in
the same call, with a residual that smelt adds where cuDNN or cuBLAS can add it, too, else without what smelt fuses behind it, which flatters torch. With --libraries
`smelt tune` times cuDNN and cuBLASLt, too, with what they can fuse. While torch is timed all cores compile what smelt will be timed with. --shard K/N takes a part of the problems: one call for each GPU. Times are of one launch out of 24 (4 of long ones) in a CUDA graph,
with operands in L2 as far as they fit, on both sides. The last lines say how many problems are slower than the best of the libraries, and how fast the slowest and the median
are beside it. Rows go to --output, one JSON object a line, for bench/results.py.
"""
import argparse
import concurrent.futures
import json
import math
import multiprocessing
import pathlib
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import peers  # noqa: E402
import results  # noqa: E402

OPERATOR = re.compile(r"(?:^|\+ )\*?(\w+)\(([^)]*)\)((?: \w+=\S+)*)")
CONTRACTIONS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
VALUE = re.compile(r" (\w+)\[([\d, ]*)\]( channels_last)?(?: padding \d+)?(?: strides\[[\d, ]*\])?(=[-\w.,+]*)?")
PIECE = 48  # problems that are tuned together
LONG_US, LEAST_REPEATS, MOST_REPEATS = 2500, 4, 24  # as smelt's tuner repeats a launch

LIBRARIES = ("cudnn", "cublaslt")
APART = [f"--disable-pass={name}" for name in ("normalize_on_read", "normalize_on_write")]  # normalisations are not the libraries' work


def tune(arguments, what, limit, *options):
    """What `smelt tune` prints of a model, or of problems' lines; None where it takes longer than the limit (what it has measured is in the cache)."""
    command = [arguments.smelt, "tune", *what, "--json", *options]
    for option in ("gpu", "timing_cache", "cache_dir"):
        begins = option == "timing_cache" and "--tune=off" in options and not pathlib.Path(arguments.timing_cache or ".").exists()
        if getattr(arguments, option) and not begins:
            command.append(f"--{option.replace('_', '-')}={getattr(arguments, option)}")
    if arguments.libraries:
        command.append("--tactics=" + ",".join(f"+{name}" for name in LIBRARIES))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        sys.exit(f"{what[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)["problems"]


def problems_of(arguments, model):
    """Its contractions. A .json file is what `smelt tune --json` has printed of a model."""
    if model.endswith(".json"):
        found = json.loads(pathlib.Path(model).read_text())["problems"]
    else:
        found = tune(arguments, [model], None, "--tune=off", f"--precision={arguments.precision}", "--calib=off", *APART)
    return [problem for problem in found if anchor(problem["problem"]) in CONTRACTIONS]


def anchor(line):
    """What the kernel is made for: the operator with a star, or the only one. A product behind a pooled tensor, as in a squeeze-and-excite, is not (see memory.py)."""
    starred = re.search(r"\*(\w+)\(", line)
    return starred.group(1) if starred else OPERATOR.match(line).group(1)


def collect(arguments):
    """Problems by their line, with the steps of all models added up, those with most to do first."""
    found = {}
    for model in arguments.models:
        for problem in problems_of(arguments, model):
            known = found.setdefault(problem["problem"], {**problem, "steps": 0, "models": []})
            known["steps"] += problem["steps"]
            known["models"].append(pathlib.Path(model).stem)
    return sorted(found.values(), key=lambda problem: -problem["roofline_us"] * problem["steps"])


def measured(arguments, problem):
    """smelt's own choices that have a time (with --gpu the model's), the fastest first."""
    timed = [choice for choice in problem["choices"] if "us" in choice and choice["tactic"] not in LIBRARIES and (arguments.gpu or choice["source"] == "measured")]
    return sorted(timed, key=lambda choice: choice["us"])


def compile_ahead(arguments, problems):
    """Processes of low priority that compile, one behind the other, while torch has the GPU: what each problem is tried with first, then the other candidates."""
    lines = [problem["problem"] for problem in problems]
    cache = [f"--cache-dir={arguments.cache_dir}"] if arguments.cache_dir else []
    commands = []
    for effort, count in (("first", max(1, len(lines))), *([(arguments.tune, PIECE)] if arguments.tune != "first" else [])):
        for first in range(0, len(lines), count):
            commands.append([arguments.smelt, "tune", *lines[first : first + count], "--compile-only", f"--tune={effort}", *cache])
    script = tempfile.TemporaryFile("w+")  # longer than an argument may be
    script.write("\n".join(shlex.join(command) + " < /dev/null" for command in commands) + "\n")
    script.seek(0)
    return subprocess.Popen(["nice", "-n", "19", "sh"], stdin=script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def end(process):
    """With all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    process.wait()


def measure(arguments, problems, torch_times):
    """Adds times: of torch, of the model's choice for each problem, and then of the best candidates of those problems that are slower than it."""
    def look_up():
        known = {problem["problem"]: problem["choices"] for problem in tune(arguments, [problem["problem"] for problem in problems], None, "--tune=off")}
        for problem in problems:
            problem["choices"] = known[problem["problem"]]

    def times(some, effort):
        if tune(arguments, [problem["problem"] for problem in some], max(arguments.left(), 1), f"--tune={effort}") is None:
            print(f"tuning ran over its time with {len(some)} problems", file=sys.stderr, flush=True)

    for problem in problems:
        problem["torch_us"] = torch_times.of(problem["problem"], problem["roofline_us"]) if torch_times and arguments.left() > 0 else None
    if torch_times:
        torch_times.close()
    if not arguments.gpu and arguments.tune != "off":
        times(problems, "first")
    look_up()
    for problem in problems:
        known = measured(arguments, problem)
        problem["untuned_us"] = known[0]["us"] if len(known) == 1 else None
    if arguments.gpu or arguments.tune in ("off", "first"):
        return
    wanted = [problem for problem in problems if not torch_times or (problem["torch_us"] and slower(arguments, problem) > 1)]
    wanted.sort(key=lambda problem: -slower(arguments, problem))
    while wanted and arguments.left() > 0:
        some, wanted = wanted[:PIECE], wanted[PIECE:]
        times(some, arguments.tune)
    look_up()


def slower(arguments, problem):
    """smelt's time to torch's; without one of smelt's as if it were the slowest."""
    known = measured(arguments, problem)
    return known[0]["us"] / problem["torch_us"] if known and problem["torch_us"] else 1e9


def parse(line):
    """Its contractions, one behind the other: operator, attributes, (type, shape, channels last) of its operands, and the same of what is added to the last
    one's result (None: nothing, or a constant). None where an operand's shape is not known."""
    head, rest = line.split(" |", 1)
    inputs = VALUE.findall(rest[: rest.index(" ->")])
    given = [(kind, [int(n) for n in shape.split(",") if n.strip()], bool(last)) for kind, shape, last, _ in inputs]
    found, results = [], []
    for op, numbers, rest in OPERATOR.findall(head):
        operands = [None if number == "-" else given[int(number[1:])] if number[0] == "$" else results[int(number[1:].split(".")[0])] for number in numbers.split()]
        if op in CONTRACTIONS:
            operands = [operand for operand in operands if operand]
            operands[0] = (operands[1][0], *operands[0][1:])  # a cast input: as if it came in half precision
            found.append((op, attributes_of(rest), operands, None))
        results.append(result_of(op, attributes_of(rest), operands))
    added = [int(number) for pair in re.findall(r" Add\(([^)]*)\)", line) for number in re.findall(r"\$(\d+)", pair)]
    found[-1] = (*found[-1][:3], next((given[number] for number in added if not inputs[number][3]), None))
    return found


def attributes_of(text):
    attributes = {}
    for name, value in (word.split("=", 1) for word in text.split()):
        attributes[name] = [int(v) for v in value.strip(",").split(",")] if re.fullmatch(r"[-\d,]+", value) else [float.fromhex(value)] if value.startswith(("0x", "-0x")) else [value]
    return attributes


def result_of(op, attributes, operands):
    """(type, shape, channels last) of what an operator of a step makes, as far as a contraction may stand behind it."""
    kind, shape, last = operands[0]
    axes = len(shape) - 2
    if op == "Conv":
        weights, pads, ones = operands[1][1], attributes.get("pads", [0] * 2 * axes), [1] * axes
        window = [(k - 1) * d + 1 for k, d in zip(weights[2:], attributes.get("dilations", ones))]
        spatial = [(n + pads[i] + pads[axes + i] - window[i]) // attributes.get("strides", ones)[i] + 1 for i, n in enumerate(shape[2:])]
        return kind, [shape[0], weights[0], *spatial], last
    return kind, [*shape[:2], *[1] * axes] if op == "GlobalAveragePool" else shape, last


def short(line):
    """'Conv f16 1x64x56x56 * 64x64x3x3 s2' and what is fused."""
    words = []
    contractions = iter(parse(line))
    for op, *_ in OPERATOR.findall(line.split(" |", 1)[0]):
        words.append(contraction_words(next(contractions)) if op in CONTRACTIONS else op)
    return " + ".join(words)


def contraction_words(contraction):
    name, attributes, operands, _ = contraction
    shapes = " * ".join("x".join(map(str, shape)) for _, shape, _ in operands[:2])
    stride = max(attributes.get("strides", [1]))
    return f"{name} {operands[0][0]} {shapes}{f' s{stride}' if stride > 1 else ''}"


def convolution(torch, name, attributes, operands, residual):
    """torch's, and its operands. A bias, which torch adds in a kernel of its own, is left out; a residual is added by cuDNN, with a Relu, where torch can have it so."""
    axes = len(operands[0][1]) - 2
    pads = attributes.get("pads", [0] * 2 * axes)
    if pads[:axes] != pads[axes:] or not 1 <= axes <= 3 or any(attributes.get("output_padding", [])):
        return None
    fused = residual if axes == 2 and name == "Conv" and operands[0][0] == "f16" else None
    tensors = random(torch, operands[:2] + ([fused] if fused else []))
    if operands[0][2] and axes > 1:
        tensors = [tensor.to(memory_format=torch.channels_last if axes == 2 else torch.channels_last_3d) for tensor in tensors]
    strides, dilations, groups = attributes.get("strides", [1] * axes), attributes.get("dilations", [1] * axes), attributes.get("group", [1])[0]
    if fused:
        bias = torch.zeros(operands[1][1][0], device="cuda", dtype=tensors[0].dtype)
        return lambda x, w, z: torch.cudnn_convolution_add_relu(x, w, z, 1.0, bias, strides, pads[:axes], dilations, groups), tensors
    kind = getattr(torch.nn.functional, f"conv{'_transpose' if name == 'ConvTranspose' else ''}{axes}d")
    return lambda *t: kind(*t, stride=strides, padding=pads[:axes], dilation=dilations, groups=groups), tensors


def product(torch, name, attributes, operands, residual):
    """torch's, and its operands: with a residual, or else Gemm's addition, by cuBLAS."""
    tensors = random(torch, operands)
    if name == "Gemm":
        tensors[:2] = [tensor.t() if attributes.get(which, [0])[0] else tensor for tensor, which in zip(tensors, ("transA", "transB"))]
    a, b = tensors[:2]
    if residual and b.dim() == 2:
        rows = a.numel() // b.shape[0]
        if math.prod(residual[1]) == rows * b.shape[1]:
            return torch.addmm, [random(torch, [residual])[0].reshape(rows, -1), a.reshape(rows, -1), b]
    return (torch.addmm, [tensors[2], a, b]) if len(tensors) > 2 else (torch.matmul, [a, b])


def random(torch, values):
    types = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
    return [torch.randn(shape, device="cuda", dtype=types[kind]) for kind, shape, _ in values]


def torch_functions(torch, parsed):
    """(The contraction as torch has it, its operands) of each; None where torch has one otherwise."""
    found = []
    for name, attributes, operands, residual in parsed:
        known = all(kind in ("f16", "bf16", "f32") for kind, _, _ in operands)
        make = convolution if name in ("Conv", "ConvTranspose") else product
        found.append(make(torch, name, attributes, operands, residual) if known else None)
    return None if None in found else found


def torch_time(parsed, precision, tf32, repeats):
    """Microseconds of the contractions, one behind the other, or None where torch has it otherwise. Runs in a process of its own, which keeps its torch."""
    if not hasattr(torch_time, "gpu"):
        torch_time.gpu = peers.Torch({"target": "cuda", "precision": precision})
        torch_time.gpu.torch.backends.cudnn.benchmark = True
    gpu = torch_time.gpu
    gpu.allow_tf32(tf32)
    found = torch_functions(gpu.torch, parsed)
    if found is None:
        return None

    def often():
        for _ in range(repeats):
            results = [function(*tensors) for function, tensors in found]
        return results

    return gpu.time(gpu.captured(often, []), 0.03) * 1e3 / repeats


def ready():
    """What a process answers that has imported torch."""
    peers.Torch({"target": "cuda", "precision": "fp16"})


class TorchTimes:
    """torch's times of contractions, each asked for once. An error of CUDA ends the process that it happens in; another one is ready to take its place. What
    cuDNN has no engine for with a residual is asked for without."""

    def __init__(self, precision):
        self.precision, self.known = precision, {}
        self.process, self.spare = self.started(), self.started()

    def of(self, line, floor):
        """Microseconds, or None."""
        parsed = parse(line)
        if repr(parsed) not in self.known:
            repeats = int(min(max(LONG_US / max(floor, 1), LEAST_REPEATS), MOST_REPEATS))
            self.known[repr(parsed)] = self.ask(short(line), parsed, line.endswith(" tf32"), repeats)
        return self.known[repr(parsed)]

    @staticmethod
    def started():
        process = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        process.submit(ready)
        return process

    def ask(self, name, parsed, tf32, repeats):
        try:
            return self.process.submit(torch_time, parsed, self.precision, tf32, repeats).result()
        except RuntimeError as problem:  # such as memory that is short
            print(f"{name}: torch: {str(problem)[:100]}", file=sys.stderr, flush=True)
            if isinstance(problem, concurrent.futures.BrokenExecutor) or "CUDA error" in str(problem):
                self.process.shutdown()
                self.process, self.spare = self.spare, self.started()
            return self.ask(f"{name}, without what is added", [(*contraction[:3], None) for contraction in parsed], tf32, repeats) if parsed[-1][3] else None

    def close(self):
        self.process.shutdown()
        self.spare.shutdown()


def row_of(arguments, problem):
    """What is known of a problem, as --output has it."""
    ours = measured(arguments, problem)
    theirs = [choice["us"] for choice in problem["choices"] if choice["tactic"] in LIBRARIES and choice.get("source") == "measured"]
    return {"problem": problem["problem"], "short": short(problem["problem"]), "models": problem["models"], "steps": problem["steps"],
            "flops": problem["flops"], "bytes": problem["bytes"], "floor_us": problem["roofline_us"], "untuned_us": problem["untuned_us"],
            "smelt_us": ours[0]["us"] if ours else None, "library_us": min(theirs, default=None), "torch_us": problem["torch_us"],
            "tactic": f"{ours[0]['tactic']} {','.join(map(str, ours[0]['config']))} ({ours[0]['source']})" if ours else None, **arguments.session}


def print_table(rows):
    def number(value):
        return f"{value:.2f}" if value is not None else "-"

    heads = ["problem", "steps", "GFLOP", "MB", "floor us", "untuned us", "smelt us", "torch us", "library us", "% of best", "tactic"]
    table = [heads] + [[row["short"], str(row["steps"]), f"{row['flops'] * 1e-9:.3f}", f"{row['bytes'] * 1e-6:.2f}", number(row["floor_us"]), number(row["untuned_us"]), number(row["smelt_us"]),
                        number(row["torch_us"]), number(row["library_us"]), number(results.share(row)), row["tactic"] or "-"] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
    for line in table:
        print("  ".join(cell.ljust(width) if i in (0, 10) else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def begin(arguments):
    """torch where it is asked for, what all rows have in common, and the clock of --limit."""
    start = time.monotonic()
    arguments.left = lambda: arguments.limit - (time.monotonic() - start)
    arguments.session = {}
    if not arguments.torch:
        return None
    import compare

    arguments.session = compare.versions(argparse.Namespace(target="cuda", smelt=arguments.smelt))
    return TorchTimes(arguments.precision)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--gpu", help="a GPU that need not be here: smelt's times are then the model's")
    parser.add_argument("--timing-cache")
    parser.add_argument("--cache-dir")
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--tune", default="quick", choices=("quick", "full", "first", "off"))
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--limit", type=float, default=1e6, help="seconds after which nothing more is tuned")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="only every N-th problem, from number K on: for several GPUs")
    parser.add_argument("--output", type=pathlib.Path, help="gets a line of JSON for each problem")
    arguments = parser.parse_args()
    shard, shards = (int(number) for number in arguments.shard.split("/"))
    torch_times = begin(arguments)
    problems = collect(arguments)[shard - 1 :: shards]
    ahead = compile_ahead(arguments, problems) if arguments.torch and not arguments.gpu and arguments.tune != "off" else None
    try:
        measure(arguments, problems, torch_times)
    finally:
        if ahead:
            end(ahead)
    rows = [row_of(arguments, problem) for problem in problems]
    if arguments.output:
        arguments.output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print_table(rows)
    timed = [row for row in rows if row["smelt_us"]]
    print(f"\n{len(rows)} problems in {sum(row['steps'] for row in rows)} steps; floor {sum(row['floor_us'] * row['steps'] for row in rows):.1f} us, "
          f"smelt {sum(row['smelt_us'] * row['steps'] for row in timed):.1f} us in the {sum(row['steps'] for row in timed)} steps that have a time")
    shares = [share for share in map(results.share, rows) if share is not None]
    if shares:
        print(f"beside the best library: {sum(s < 100 for s in shares)} of {len(shares)} slower, the slowest at {min(shares):.0f} % of its speed, "
              f"the median at {statistics.median(shares):.0f} %, {sum(s < 75 for s in shares)} below 75 %")


if __name__ == "__main__":
    main()
