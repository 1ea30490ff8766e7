#!/usr/bin/env python3
"""Runs `smelt check` on every model of a folder with the tolerances of its GOLDENS.tsv.

A model whose operators are not supported is skipped with the reason, unless must_pass.txt beside this script names it.
With --precision=fp16 (or bf16, ...) the model is built so, calibrated on its data sets, and compared by the outputs' range; models of integers
are left out.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
EXIT_MISMATCH, EXIT_BAD_INPUT, EXIT_SKIPPED = 1, 3, 77


def read_goldens(path):
    rows = [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8") if line.strip()]
    return [dict(zip(rows[0], row)) for row in rows[1:]]


def is_quantized(golden):
    return re.search(r"QLinear|Quantize|Integer|QGemm", golden.get("distinct_ops", "")) is not None


def check_command(smelt, folder, golden, options, precision):
    """The command line for one model; "reduced/0" names data set 0 of the smaller copy in reduced/, flag skip-set-N leaves one out."""
    skipped = re.findall(r"skip-set-(\d+)", golden["flags"])
    sets = [name for name in golden["data_sets"].split() if name not in skipped]
    base = folder / "reduced" if sets[0].startswith("reduced/") else folder
    folders = [str(base / f"test_data_set_{name.split('/')[-1]}") for name in sets]
    command = [smelt, "check", str(base / "model.onnx"), "--quiet"]
    if precision:
        command += ["--precision", precision, "--calib", ",".join(folders)]
    else:
        command += ["--rtol", golden["rtol"], "--atol", golden["atol_per_output"]]
        if golden["min_cosine"] not in ("-", ""):
            command += ["--min-cosine", golden["min_cosine"]]
    for name in folders:
        command += ["--data", name]
    return command + options


def run_model(smelt, folder, golden, options, timeout, precision):
    if precision and is_quantized(golden):
        return "skipped", "a model of integers"
    try:
        done = subprocess.run(check_command(smelt, folder, golden, options, precision), capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "failed", f"no result within {timeout} s"
    text = (done.stdout + done.stderr).strip()
    last = text.split("\n")[0] if done.returncode != EXIT_MISMATCH else done.stdout.strip().split("\n")[-1]
    if done.returncode == 0:
        return "passed", (re.findall(r"^.*error relative.*$", text, re.M) or [""])[0]
    if done.returncode == EXIT_BAD_INPUT and "not supported" in text:
        return "skipped", last
    return "failed", f"exit {done.returncode}: {last}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smelt", default=str(HERE.parent.parent / "build" / "smelt"))
    parser.add_argument("--models", type=pathlib.Path, default=HERE)
    parser.add_argument("--filter", default="", help="only models whose name contains this")
    parser.add_argument("--must-pass", type=pathlib.Path, default=HERE / "must_pass.txt")
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("--precision", default="", help="fp16, bf16, tf32 or best; without it the model's own, against the tolerances")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("options", nargs="*", help="passed on to smelt check, after --")
    args = parser.parse_args()
    if not (args.models / "GOLDENS.tsv").is_file():
        print(f"{args.models} has no GOLDENS.tsv: nothing to run")
        return EXIT_SKIPPED
    goldens = [g for g in read_goldens(args.models / "GOLDENS.tsv") if args.filter in g["name"]]
    must_pass = set(args.must_pass.read_text(encoding="utf-8").split())
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(lambda g: run_model(args.smelt, args.models / g["name"], g, args.options, args.timeout, args.precision), goldens)
        for golden, (outcome, reason) in zip(goldens, results):
            if outcome == "skipped" and golden["name"] in must_pass and not (args.precision and is_quantized(golden)):
                outcome = "failed"
            counts[outcome] += 1
            print(f"{outcome:8} {golden['name']:32} {reason}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not goldens else 0


if __name__ == "__main__":
    sys.exit(main())
