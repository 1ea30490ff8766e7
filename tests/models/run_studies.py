#!/usr/bin/env python3
"""Every model of a folder with each optional pass left out, and the lightest ones with each pair of passes left out, on the CPU target: each
build's outputs against those without any optional pass. Usage: run_studies.py --smelt SMELT [--models FOLDER]

Models that smelt does not support are skipped, and with --work those of more than so many million multiply-adds. run_models.py compares the
builds with all passes with expected outputs."""
import argparse
import json
import pathlib
import subprocess
import sys

from run_models import read_goldens

HERE = pathlib.Path(__file__).resolve().parent
EXIT_BAD_INPUT, EXIT_SKIPPED = 3, 77
PAIRED = 10  # models whose pairs of passes are left out
LIMIT = 1e-3  # of an output's range


def read_json(command, timeout):
    """(exit code, what it prints as JSON or None, its messages)"""
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return -1, None, f"no result within {timeout} s"
    try:
        return done.returncode, json.loads(done.stdout), done.stderr.strip()
    except json.JSONDecodeError:
        return done.returncode, None, done.stderr.strip()


def study(smelt, folder, data_set, passes, timeout):
    """(outcome, details) of one model."""
    base = folder / "reduced" if data_set.startswith("reduced/") else folder
    data = base / f"test_data_set_{data_set.split('/')[-1]}"
    command = [smelt, "study", base / "model.onnx", "--target=cpu", "--duration=0", "--json", "--passes", passes, "--data", data]
    code, result, messages = read_json(command, timeout)
    if result is None:
        return ("skipped" if code == EXIT_BAD_INPUT and "not supported" in messages else "failed"), messages[:300]
    if "not compared" in result["note"]:
        return "failed", result["note"]
    worst = 0
    for row in result["builds"]:
        if row["failure"]:
            return "failed", f"{row['name']}: {row['failure']}"
        if row["error"] is not None and row["error"] > LIMIT:
            return "failed", f"{row['name']}: error {row['error']:.2g} of the output's range, at most {LIMIT}"
        worst = max(worst, row["error"] or 0)
    return "passed", f"{len(result['builds'])} builds, error at most {worst:.2g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smelt", required=True)
    parser.add_argument("--models", type=pathlib.Path, default=HERE)
    parser.add_argument("--work", type=float, default=float("inf"))
    parser.add_argument("--timeout", type=float, default=300)
    args = parser.parse_args()
    if not (args.models / "GOLDENS.tsv").exists():
        print(f"{args.models} has no models: skipped")
        return EXIT_SKIPPED
    counts, light = {"passed": 0, "failed": 0, "skipped": 0}, []

    def note(what, outcome, details):
        counts[outcome] += 1
        print(f"{outcome} {what}: {details}", flush=True)

    for golden in read_goldens(args.models / "GOLDENS.tsv"):
        folder, data_set = args.models / golden["name"], golden["data_sets"].split()[0]
        base = folder / "reduced" if data_set.startswith("reduced/") else folder
        code, summary, messages = read_json([args.smelt, "inspect", base / "model.onnx", "--json"], args.timeout)
        if summary is None:
            note(golden["name"], "skipped" if code == EXIT_BAD_INPUT and "not supported" in messages else "failed", messages[:200])
        elif summary["gmac"] * 1e3 > args.work:
            note(golden["name"], "skipped", f"{summary['gmac']:.2g} GMAC")
        else:
            note(golden["name"], *study(args.smelt, folder, data_set, "each", args.timeout))
            light.append((sum(summary["operators"].values()), folder, data_set))
    for _, folder, data_set in sorted(light)[:PAIRED]:
        note(folder.name + ", pairs", *study(args.smelt, folder, data_set, "pairs", args.timeout))
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] > 0 or counts["passed"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
