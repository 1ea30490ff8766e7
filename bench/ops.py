#!/usr/bin/env python3
"""Every operator on tensors of about a million elements, against ONNX Runtime on the CPU. Prints a table.

Needs numpy and onnxruntime. Both run the same model of one node on the same data with the same number of threads, in turns, so that
whatever else the machine does hits both; the figures are medians in milliseconds over all turns. "slow" marks operators that take more
than 10 times as long; "no kernel" those that ONNX Runtime's CPU provider does not run.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

import ops_rows
from ops_rows import wire

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOW = 10
DOMAINS = (("com.microsoft", 1), ("ai.onnx.ml", 1))


def write_row(row, path):
    """The model's file; returns what to feed."""
    names, infos, constants, feeds = [], [], [], {}
    for index, value in enumerate(row.inputs):
        if value is None:
            names.append("")
            continue
        kind, array = value if isinstance(value, tuple) else ("input", value)
        if kind != "outer":  # else for bodies alone
            names.append(f"x{index}")
        if kind == "constant":
            constants.append(wire.tensor(f"x{index}", array))
        else:
            infos.append(wire.value_info(f"x{index}", wire.ELEMENT_TYPES[array.dtype.name], array.shape))
            feeds[f"x{index}"] = array
    results = [f"y{index}" for index in range(row.outputs)]
    graph = wire.graph([wire.node(row.op, names, results, row.attributes, row.domain, "n")], infos, [wire.value_info(name) for name in results], constants)
    path.write_bytes(wire.model(graph, row.opset, DOMAINS))
    return feeds


class Reference:
    """ONNX Runtime with the model; session is None where it has no kernel, and refusal says what it answered."""

    def __init__(self, path, feeds, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        self.feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        self.refusal = None
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.results = [result.name for result in self.session.get_outputs()]
            self.run()
        except Exception as error:  # it has no type for that
            self.session, self.refusal = None, str(error)

    def run(self):
        """Without the copies that numpy arrays need."""
        self.session.run_with_ort_values(self.results, self.feeds)

    def turn(self, seconds, clock):
        times, end = [], clock() + seconds
        while not times or clock() < end:
            start = clock()
            self.run()
            times.append((clock() - start) * 1e3)
        return times


class Smelt:
    """`smelt bench` with the model."""

    def __init__(self, options, path, feeds, folder):
        self.figures = folder / "figures.json"
        self.command = [options.smelt, "bench", path, "--target", "cpu", "--threads", options.threads, "--json", self.figures]
        for name, array in feeds.items():
            numpy.save(folder / f"{name}.npy", array)
            self.command += ["--input", f"{name}={folder / name}.npy"]

    def bench(self, *arguments):
        """The figures; None where smelt fails."""
        done = subprocess.run(list(map(str, [*self.command, *arguments])), capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            print(done.stderr.strip(), file=sys.stderr)
            return None
        return json.loads(self.figures.read_text())

    def turn(self, seconds):
        """The median of a turn."""
        figures = self.bench("--iterations", 1, "--duration", seconds, "--warmup", 20)
        return figures and figures["latency_ms"]["median"]

    def processor_turn(self, seconds):
        """Processor time of a run: that of many in one process less that of one, so that starting and loading don't count."""
        count = self.bench("--iterations", 1, "--duration", seconds, "--warmup", 0)
        if count is None:
            return None
        times, count = [], max(4, count["queries"])
        for runs in (count + 1, 1):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.bench("--iterations", runs, "--duration", 0, "--warmup", 0)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return max(0, times[0] - times[1]) / count * 1e3


def measure(row, options, folder):
    """Medians of smelt and ONNX Runtime, None where there are none."""
    path = folder / "model.onnx"
    feeds = write_row(row, path)
    reference, smelt = Reference(path, feeds, options.threads), Smelt(options, path, feeds, folder)
    clock, turn = (time.process_time, smelt.processor_turn) if options.processor_time else (time.perf_counter, smelt.turn)
    mine, theirs = [], []
    if options.verbose and reference.refusal:
        print(reference.refusal, file=sys.stderr)
    for _ in range(options.turns):
        mine.append(turn(options.seconds))
        if mine[-1] is None:
            return None, None
        if reference.session is not None:
            theirs += reference.turn(options.seconds, clock)
    return statistics.median(mine), statistics.median(theirs) if theirs else None


def describe(row):
    arrays = [value[1] if isinstance(value, tuple) else value for value in row.inputs if value is not None]
    parts = [f"{array.dtype.name if array.dtype.name != 'float32' else ''}[{'x'.join(map(str, array.shape))}]" for array in arrays[:2]]
    for name in ("mode", "axis", "perm", "group", "strides", "dilations", "reduction", "equation", "direction", "antialias", "sampling_ratio", "is_causal", "inverse",
                 "onesided", "block_size"):
        if name in row.attributes:
            parts.append(f"{name}={row.attributes[name]}".replace(" ", ""))
    if "to" in row.attributes:
        parts.append("to=" + next(name for name, number in [*wire.ELEMENT_TYPES.items(), ("bfloat16", wire.BFLOAT16)] if number == row.attributes["to"]))
    if row.op.startswith("Reduce"):
        parts.append("axes=" + ",".join(map(str, arrays[1])))
    return " ".join(parts)


def full_name(row):
    return f"{row.domain}.{row.op}" if row.domain else row.op


def missing(smelt, rows):
    """Operators that smelt lists and the table does not have."""
    listed = subprocess.run([smelt, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.split("|")[1].strip() for line in listed if line.startswith("| ")} - {"operator", "form"}
    return sorted(names - {f"{row.domain}::{row.op}" if row.domain else row.op for row in rows})


def format_row(row, mine, theirs):
    known = mine is not None and theirs is not None
    note = "failed" if mine is None else "no kernel" if theirs is None else "slow" if mine > SLOW * theirs else ""
    figures = [f"{value:.3f}" if value is not None else "-" for value in (mine, theirs)] + [f"{mine / theirs:.2f}" if known else "-"]
    return [full_name(row), describe(row), *figures, note]


def print_row(cells):
    print(f"{cells[0]:30} {cells[1]:48} {cells[2]:>9} {cells[3]:>9} {cells[4]:>7} {cells[5]}".rstrip(), flush=True)


def machine():
    names = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_markdown(path, options, lines, summary):
    clock = ["--processor-time"] if options.processor_time else []
    command = " ".join(["bench/ops.py", f"--threads={options.threads}", f"--seconds={options.seconds}", f"--turns={options.turns}", *clock, f"--output={path}"])
    head = ["# Operators on the CPU", "", f"Written by `{command}`;", "every operator on about a million elements beside ONNX Runtime's CPU operator,",
            f"{datetime.date.today().isoformat()}, {machine()}, {os.cpu_count()} cores, threads: {options.threads}, ONNX Runtime {onnxruntime.__version__}.",
            f"Medians in milliseconds{' of processor time' if options.processor_time else ''}, both in turns; *no kernel*: ONNX Runtime's CPU provider does not run this one.", "", summary, "",
            "| operator | inputs | smelt ms | ONNX Runtime ms | ratio | |", "|---|---|---|---|---|---|"]
    path.write_text("\n".join(head + ["| " + " | ".join(line) + " |" for line in lines]) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3, help="for each operator and program (3)")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each turn (0.1)")
    parser.add_argument("--processor-time", action="store_true", help="instead of time by the clock: for machines that others use too")
    parser.add_argument("--op", action="append", help="just this operator; may be repeated")
    parser.add_argument("--output", type=pathlib.Path, help="also write the table to this Markdown file")
    parser.add_argument("--verbose", action="store_true", help="say why ONNX Runtime does not run an operator")
    return parser.parse_args()


def main():
    options = parse_arguments()
    rows, lines, ratios, slow = ops_rows.table(), [], [], []
    absent = missing(options.smelt, rows)
    print_row(["operator", "inputs", "smelt ms", "ORT ms", "ratio", ""])
    with tempfile.TemporaryDirectory() as name:
        for row in rows:
            if options.op and row.op not in options.op:
                continue
            mine, theirs = measure(row, options, pathlib.Path(name))
            lines.append(format_row(row, mine, theirs))
            print_row(lines[-1])
            if mine is not None and theirs is not None:
                ratios.append(mine / theirs)
            if lines[-1][-1] in ("slow", "failed"):
                slow.append(f"{full_name(row)} {describe(row)}")
    summary = f"Median ratio {statistics.median(ratios):.2f} over {len(ratios)}; slower than {SLOW} times: {', '.join(slow) or 'none'}." if ratios else ""
    if absent:
        summary += f" Not measured: {', '.join(absent)}."
    print(f"\n{summary}")
    if options.output:
        write_markdown(options.output, options, lines, summary)
    return 1 if slow or absent else 0


if __name__ == "__main__":
    sys.exit(main())
