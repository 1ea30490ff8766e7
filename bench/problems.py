#!/usr/bin/env python3
"""Every unique convolution and matrix product of models: what a GPU needs at least, what smelt takes, what torch takes.

    bench/problems.py --smelt build/smelt MODEL.onnx... [--precision fp16] [--gpu h200] [--torch] [--libraries] [--markdown]

The floor is the roofline of the GPU's description. With --gpu smelt's times are the model's (or of --timing-cache); without,
`smelt tune` measures them on the GPU that is here, and --torch times the same contraction with torch (cuDNN with its search
on, cuBLAS) in the same run: without what smelt fuses behind it but for a bias, which flatters torch. --libraries has smelt time
cuDNN and cuBLASLt as tactics, with the same operations behind the contraction as far as they can fuse them. Times are of one launch
out of many in a CUDA graph, with operands in L2 as far as they fit. The last lines say how many problems are slower than
each, by how much at most, and in the median.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys

CONTRACTION = re.compile(r"(?:^|\+ )\*?(Conv|ConvTranspose|MatMul|Gemm)\(([^)]*)\)((?: \w+=\S+)*)")
VALUE = re.compile(r" (\w+)\[([\d, ]*)\]( channels_last)?(?: padding \d+)?(?: strides\[[\d, ]*\])?(=[-\w.,+]*)?")
REPEATS = 24
LIBRARIES = ("cudnn", "cublaslt")


def problems_of(arguments, model):
    command = [arguments.smelt, "tune", model, "--json", f"--precision={arguments.precision}", "--calib=off"]
    for option in ("gpu", "timing_cache", "cache_dir", "tune"):
        if getattr(arguments, option):
            command.append(f"--{option.replace('_', '-')}={getattr(arguments, option)}")
    if arguments.libraries:
        command.append("--tactics=" + ",".join(f"+{name}" for name in LIBRARIES))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{model}: {done.stderr.strip()}")
    return [problem for problem in json.loads(done.stdout)["problems"] if CONTRACTION.search(problem["problem"])]


def collect(arguments):
    """Problems by their line, with the steps of all models added up."""
    found = {}
    for model in arguments.models:
        for problem in problems_of(arguments, model):
            known = found.setdefault(problem["problem"], {**problem, "steps": 0})
            known["steps"] += problem["steps"]
    return sorted(found.values(), key=lambda problem: -problem["roofline_us"] * problem["steps"])


def parse(line):
    """Operator, attributes, and (type, shape, channels last) of its operands; None where one is computed in front of it."""
    match = CONTRACTION.search(line)
    inputs = VALUE.findall(line[line.index(" |") + 2 : line.index(" ->")])
    numbers = match.group(2).split()
    if any(not number.startswith("$") for number in numbers if number != "-"):
        return None
    operands = [inputs[int(number[1:])] for number in numbers if number != "-"]
    attributes = {}
    for name, text in (word.split("=", 1) for word in match.group(3).split()):
        values = [int(v) for v in text.strip(",").split(",")] if re.fullmatch(r"[-\d,]+", text) else [float.fromhex(text)] if text.startswith(("0x", "-0x")) else [text]
        attributes[name] = values
    return match.group(1), attributes, [(kind, [int(n) for n in dims.split(",") if n.strip()], bool(last)) for kind, dims, last, _ in operands]


def short(line):
    """'Conv f16 1x64x56x56 * 64x64x3x3 s2' and what is fused."""
    match, parsed = CONTRACTION.search(line), parse(line)
    rest = [name for name in re.findall(r"(\w+)\(", line[: line.index(" |")]) if name != match.group(1)]
    fused = f" + {' + '.join(rest)}" if rest else ""
    if parsed is None:
        return match.group(1) + fused
    name, attributes, operands = parsed
    shapes = " * ".join("x".join(map(str, shape)) for _, shape, _ in operands[:2])
    stride = max(attributes.get("strides", [1]))
    return f"{name} {operands[0][0]} {shapes}{f' s{stride}' if stride > 1 else ''}{fused}"


def torch_function(torch, parsed):
    """The contraction and its bias as torch has it, and its operands; None where torch has it otherwise."""
    name, attributes, operands = parsed
    types = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
    if any(kind not in types for kind, _, _ in operands):
        return None
    tensors = [torch.randn(shape, device="cuda", dtype=types[kind]) for kind, shape, _ in operands]
    if name in ("Conv", "ConvTranspose"):
        axes = len(operands[0][1]) - 2
        pads = attributes.get("pads", [0] * 2 * axes)
        if pads[:axes] != pads[axes:] or not 1 <= axes <= 3 or attributes.get("output_padding"):
            return None
        if operands[0][2] and axes > 1:
            layout = torch.channels_last if axes == 2 else torch.channels_last_3d
            tensors[:2] = [tensor.to(memory_format=layout) for tensor in tensors[:2]]
        functions = torch.nn.functional
        kind = getattr(functions, f"conv{'_transpose' if name == 'ConvTranspose' else ''}{axes}d")
        options = {"stride": attributes.get("strides", 1), "padding": pads[:axes], "dilation": attributes.get("dilations", 1), "groups": attributes.get("group", [1])[0]}
        return lambda *t: kind(*t, **options), tensors
    if name == "MatMul":
        return torch.matmul, tensors
    transposed = [attributes.get("transA", [0])[0], attributes.get("transB", [0])[0]]

    def gemm(a, b, *c):
        a, b = a.t() if transposed[0] else a, b.t() if transposed[1] else b
        return torch.addmm(c[0], a, b) if c else a @ b

    return gemm, tensors


def torch_time(line):
    """Microseconds, or None."""
    import torch
    from compare import event_time, replayed

    parsed = parse(line)
    found = torch_function(torch, parsed) if parsed is not None else None
    if found is None:
        return None
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = line.endswith(" tf32")

    def often(*tensors):
        for _ in range(REPEATS):
            result = found[0](*tensors)
        return result

    run, _ = replayed(often, found[1])
    return event_time(run) * 1e3 / REPEATS


def best_of(problem, libraries=False):
    timed = [choice for choice in problem["choices"] if "us" in choice and (choice["tactic"] in LIBRARIES) == libraries]
    return min(timed, key=lambda choice: choice["us"]) if timed else None


def library_time(problem):
    """Microseconds, or None: what was not measured is a guess."""
    best = best_of({"choices": [choice for choice in problem["choices"] if choice.get("source") == "measured"]}, True)
    return best["us"] if best else None


def peers_of(arguments):
    """What stands beside smelt: a name, and its time of a problem."""
    torch = [("torch", lambda problem: torch_time(problem["problem"]))] if arguments.torch else []
    return torch + ([("library", library_time)] if arguments.libraries else [])


def row_of(arguments, problem):
    best, peers = best_of(problem), [time(problem) for _, time in peers_of(arguments)]
    us = best["us"] if best else None
    number = lambda value: f"{value:.2f}" if value is not None else "-"  # noqa: E731
    cells = [short(problem["problem"]), str(problem["steps"]), f"{problem['flops'] * 1e-9:.3f}", f"{problem['bytes'] * 1e-6:.2f}",
             f"{problem['roofline_us']:.2f}", number(us), f"{100 * problem['roofline_us'] / us:.0f}" if us else "-",
             f"{best['tactic']} {','.join(map(str, best['config']))} ({best['source']})" if best else "-"]
    for peer in peers:
        cells += [number(peer), f"{us / peer:.2f}" if us and peer else "-"]
    return cells, us, peers


def print_table(arguments, problems):
    heads = ["problem", "steps", "GFLOP", "MB", "floor us", "smelt us", "% of floor", "tactic"]
    for name, _ in peers_of(arguments):
        heads += [f"{name} us", "ratio"]
    rows = [row_of(arguments, problem) for problem in problems]
    table = [heads] + [row[0] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
    for n, line in enumerate(table):
        if arguments.markdown:
            print(f"| {' | '.join(line)} |")
            if n == 0:
                print("|---" * len(heads) + "|")
        else:
            print("  ".join(cell.ljust(width) if i in (0, 7) else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--gpu", help="a GPU that need not be here: smelt's times are then the model's")
    parser.add_argument("--timing-cache")
    parser.add_argument("--cache-dir")
    parser.add_argument("--tune", default="full")
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    problems = collect(arguments)
    rows = print_table(arguments, problems)
    timed = [(row[1], problem) for row, problem in zip(rows, problems) if row[1]]
    print(f"\n{len(problems)} problems in {sum(p['steps'] for p in problems)} steps; floor {sum(p['roofline_us'] * p['steps'] for p in problems):.1f} us, "
          f"smelt {sum(us * p['steps'] for us, p in timed):.1f} us in the {sum(p['steps'] for _, p in timed)} steps that have a time")
    for i, (name, _) in enumerate(peers_of(arguments)):
        ratios = [row[1] / row[2][i] for row in rows if row[1] and row[2][i]]
        if ratios:
            print(f"beside {name}: {sum(r > 1 for r in ratios)} of {len(ratios)} slower, the slowest {max(ratios):.2f} of its time, median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
