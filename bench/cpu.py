#!/usr/bin/env python3
"""The CPU target against ONNX Runtime on this machine, and what builds, plans and the runtime library cost.

Needs numpy and onnxruntime (`./dev bench` makes a virtual environment for them). Both run the same file on the same random input with the same
number of threads, in turns, so that whatever else the machine does hits both; the figures are medians over all turns.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
TURNS, RUNS_PER_TURN = 7, 5


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


def ort_session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def ort_turn(session, feeds):
    times = []
    for _ in range(RUNS_PER_TURN):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def smelt_turn(smelt, plan, inputs, threads, folder):
    figures = folder / "bench.json"
    command = [smelt, "bench", plan, "--threads", threads, "--iterations", RUNS_PER_TURN, "--duration", 0, "--warmup", 50, "--json", figures]
    for name, file in inputs.items():
        command += ["--input", f"{name}={file}"]
    run(*command)
    return json.loads(figures.read_text())["latency_ms"]["median"]


def compare(smelt, model, threads, folder):
    """Medians of both in milliseconds."""
    session = ort_session(model, threads)
    random = numpy.random.default_rng(1)
    feeds = {i.name: random.random([d if isinstance(d, int) else 1 for d in i.shape], dtype=numpy.float32) for i in session.get_inputs()}
    inputs = {}
    for number, (name, value) in enumerate(feeds.items()):
        inputs[name] = folder / f"in{number}.npy"
        numpy.save(inputs[name], value)
    plan = folder / "model.plan"
    run(smelt, "build", model, "-o", plan)
    ort_turn(session, feeds)
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(smelt_turn(smelt, plan, inputs, threads, folder))
        theirs += ort_turn(session, feeds)
    return statistics.median(ours), statistics.median(theirs)


# A process inherits its parent's peak memory when it is forked, so a small parent measures.
MEASURE = """
import os, sys, time
start = time.perf_counter()
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(status, time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


def build_cost(smelt, model, folder):
    """Seconds, peak MiB and plan size in MB of a build in a process of its own."""
    plan = folder / "cost.plan"
    status, seconds, peak = run(sys.executable, "-S", "-c", MEASURE, smelt, "build", model, "-o", plan).split()
    if status != "0":
        raise RuntimeError(f"building {model} failed")
    return float(seconds), float(peak), plan.stat().st_size / 1e6


def load_time(smelt, plan, folder):
    """Milliseconds to load a plan that is in the page cache, median of 9 processes."""
    figures, times = folder / "load.json", []
    for _ in range(9):
        run(smelt, "bench", plan, "--iterations", 1, "--duration", 0, "--warmup", 0, "--json", figures)
        times.append(json.loads(figures.read_text())["load_s"] * 1e3)
    return statistics.median(times)


def stripped_size(library, folder):
    out = folder / "stripped.so"
    run("strip", "-o", out, library)
    return out.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smelt", type=lambda name: pathlib.Path(name).absolute(), default=ROOT / "build" / "smelt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    shared = ROOT.parent / "shared" / "models"
    names = ["light-resnet50", "yolox-nano"] if shared.is_dir() else []
    models = args.models or [shared / n / "model.onnx" for n in names] or sorted((ROOT / "tests" / "models").glob("*/model.onnx"))
    print(f"onnxruntime {onnxruntime.__version__}, {args.threads} threads, {os.cpu_count()} cores")
    print(f"{'model':24} {'smelt ms':>10} {'ORT ms':>10} {'ratio':>7} {'build s':>8} {'peak MiB':>9} {'plan MB':>8} {'load ms':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model in models:
            ours, theirs = compare(args.smelt, model, args.threads, folder)
            seconds, peak, size = build_cost(args.smelt, model, folder)
            load = load_time(args.smelt, folder / "cost.plan", folder)
            print(f"{model.parent.name:24} {ours:10.2f} {theirs:10.2f} {ours / theirs:7.2f} {seconds:8.2f} {peak:9.0f} {size:8.1f} {load:8.2f}")
        library = args.smelt.parent / "libsmelt_runtime.so"
        print(f"runtime library, stripped: {stripped_size(library, folder)} bytes; links: "
              + ", ".join(line.split()[0] for line in run("ldd", library).splitlines()))


if __name__ == "__main__":
    main()
