#!/usr/bin/env python3
"""How long each pass takes, in milliseconds: on the graph, and behind a plus on the elements of weights.

    passes.py [--smelt SMELT] [--runs N] MODEL.onnx...     more options for smelt build behind --

The least of the runs, of builds for sm_90 in FP16 without calibration unless options say otherwise. The models come from perf_models.py.
"""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT = ["--target=cuda", "--gpu=sm_90", "--precision=fp16", "--calib=off"]
PASS = re.compile(r"^(\w+):.*; ([\d.]+) ms, ([\d.]+) ms of it on weights$", re.M)


def measure(smelt, model, options):
    """{pass: (ms, ms of it on weights)} of one build."""
    command = [smelt, "build", model, "--verbose", "--stop-after=plan_memory", *options]
    text = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stderr
    return {name: (float(all_of_it), float(weights)) for name, all_of_it, weights in PASS.findall(text)}


def fastest(smelt, model, options, runs):
    found = [measure(smelt, model, options) for _ in range(runs)]
    return {name: min((run[name] for run in found), key=lambda times: times[0]) for name in found[0]}


def cell(times):
    total, weights = times
    return f"{total - weights:.1f}" if weights < 0.05 else f"{total - weights:.1f} + {weights:.1f}"


def table(models, columns):
    yield ["pass", *(model.stem.removesuffix("_b1") for model in models)]
    names = list(dict.fromkeys(name for column in columns for name in column))
    for name in names:
        yield [name, *(cell(column.get(name, (0, 0))) for column in columns)]
    yield ["all", *(cell(tuple(sum(times[i] for times in column.values()) for i in range(2))) for column in columns)]


def main():
    own, options = (sys.argv[1:], DEFAULT) if "--" not in sys.argv else (sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", type=lambda name: pathlib.Path(name).absolute(), default=ROOT / "build/smelt")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    args = parser.parse_args(own)
    rows = list(table(args.models, [fastest(args.smelt, model, options, args.runs) for model in args.models]))
    rows.insert(1, ["---"] * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
