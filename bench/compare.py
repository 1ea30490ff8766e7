#!/usr/bin/env python3
"""smelt beside torch and ONNX Runtime on one machine, on the same ONNX files and inputs, in one session, in turns.

    bench/compare.py --smelt build/smelt MODEL.onnx... [--precision fp16] [--output rows.jsonl] [--budget SECONDS]

Peers, each in a process of its own (bench/peers.py): eager torch; torch.compile, the code of mode reduce-overhead, as it is and
with Inductor's freezing of weights; for models that --max-autotune names also that mode; ONNX Runtime's CUDA provider with its best options where it is installed. All run in
the same precision (torch with FP16 inputs, where smelt and ONNX Runtime read the model's FP32 ones) and, where they have any,
with channels-last convolutions and cuDNN's search on; all are timed as one CUDA graph.

Models are prepared in groups, many at once: plans are built, peers compile; or their code is in Inductor's cache by then, from a call with --prebuild. max-autotune times its
candidates on the GPU, one peer's at a time, but beside whatever else is prepared: it wants few models in a call of its own, which takes two to three minutes. Then the GPU is given to one model at a time: its
peers settle (cuDNN's search, capture), and rounds go through smelt and all peers in turns. A time is GPU time of one inference
with its inputs on the GPU: smelt's as `smelt bench` reports it (GPU Compute Time), the peers' by events around a graph replay
that was handed over beforehand. Medians of the rounds are printed, the least and the greatest, and the ratio to the best peer
(below 1: smelt is faster). Errors are the largest difference to eager torch in FP32 (without TF32) and the root mean square, relative to its largest element.

Rows go to --output as they are done, one JSON object a line; bench/results.py makes tables of them. A peer that fails or takes
longer than --limit is named in its row; models that --budget leaves no time for are left out, and said.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import peers  # noqa: E402
from results import best_peer, ratio  # noqa: E402

DTYPES = {1: np.float32, 7: np.int64, 6: np.int32}


def sample_inputs(model, seed=1):
    """Normal floats, token numbers below 1000, masks of ones."""
    generator = np.random.default_rng(seed)
    arrays = []
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape, dtype = [d.dim_value for d in kind.shape.dim], DTYPES[kind.elem_type]
        if dtype == np.float32:
            arrays.append(generator.standard_normal(shape, np.float32))
        else:
            arrays.append(np.ones(shape, dtype) if "mask" in value.name else generator.integers(0, 1000, shape).astype(dtype))
    return arrays


class Smelt:
    """The plan of a model and its times; calls raise peers.Failed as a peer's do."""

    name = "smelt"

    def __init__(self, options, path, names, arrays, folder):
        self.options, self.path, self.plan = options, path, folder / f"{path.stem}.plan"
        self.inputs, self.files, self.results = [], [], folder / f"{path.stem}.out"
        for number, (name, array) in enumerate(zip(names, arrays)):
            file = folder / f"{path.stem}.{number}.npy"
            np.save(file, array)
            self.files.append(file)
            self.inputs += ["--input", f"{name}={file}"]

    def smelt(self, limit, *command):
        try:
            done = subprocess.run([self.options.smelt, *map(str, command)], capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            raise peers.Failed(f"ran over {limit:.0f} s") from None
        if done.returncode != 0:
            raise peers.Failed(done.stderr.strip()[-300:])

    def build(self, limit):
        start = time.monotonic()
        self.smelt(limit, "build", self.path, "-o", self.plan, f"--precision={self.options.precision}", "--calib=off",
                   f"--target={self.options.target}", f"--tune={self.options.tune}", *shlex.split(self.options.build_options))
        self.build_seconds = time.monotonic() - start

    def run(self, limit):
        """The files of the outputs."""
        self.smelt(limit, "run", self.plan, *self.inputs, "--output-dir", self.results)
        return sorted(self.results.glob("output_*.npy"), key=lambda f: int(f.stem.split("_")[1]))

    def prepare(self, limit):
        self.build(limit)
        self.outputs = [np.load(file) for file in self.run(limit)]

    def ask(self, request, limit):
        report = self.plan.with_suffix(".json")
        self.smelt(limit, "bench", self.plan, "--warmup", 100, "--duration", request[1], "--json", report)
        figures = json.loads(report.read_text())
        return figures["gpu_compute_ms" if self.options.target == "cuda" else "latency_ms"]["median"]

    def close(self):
        for file in (self.plan, *self.results.glob("*")):
            file.unlink(missing_ok=True)


def error(outputs, reference, measure=lambda differences: differences.max()):
    """The largest of all outputs, NaN where one holds such, or None without a reference."""
    if not reference:
        return None
    apart = [measure(np.abs(got.reshape(expected.shape).astype(np.float64) - expected)) / (np.abs(expected).max() or 1) for got, expected in zip(outputs, reference)]
    return float(np.max(apart))


def rms_error(outputs, reference):
    """The same of root mean squares, which depend little on one input's worst element."""
    return error(outputs, reference, lambda differences: np.sqrt(np.square(differences).mean()))


def is_skipped(skip, kind, model):
    """skip: a peer, or PEER@PATTERN of models."""
    peer, _, pattern = skip.partition("@")
    return kind == peer and (not pattern or re.search(pattern, model) is not None)


class Row:
    """One model: its contestants, their times, and what went wrong."""

    def __init__(self, options, processes, path, folder):
        model = onnx.load(path, load_external_data=False)
        self.options, self.name = options, path.stem
        self.failed, self.errors, self.rms, self.times, self.prepared, self.settled = {}, {}, {}, {}, {}, {}
        arrays = sample_inputs(model)
        kinds = [peers.COMPILED, peers.FROZEN, peers.EAGER, peers.RUNTIME]
        if options.max_autotune and re.search(options.max_autotune, path.stem):
            kinds.insert(0, peers.AUTOTUNED)
        kinds = [kind for kind in kinds if not any(is_skipped(skip, kind, path.stem) for skip in options.skip)]
        if options.peers:
            kinds = [kind for kind in kinds if any(is_skipped(peer, kind, path.stem) for peer in options.peers)]
        self.smelt = Smelt(options, path, [value.name for value in model.graph.input], arrays, folder)
        judge = next((kind for kind in (peers.EAGER, peers.COMPILED, peers.FROZEN, peers.AUTOTUNED) if kind in kinds), None)
        self.makers = {kind: lambda kind=kind: peers.Peer(processes, kind, path, arrays, options.precision, options.target, kind == judge and not options.prebuild) for kind in kinds}
        self.peers, self.reference = {}, None

    def attempt(self, name, action):
        """The action's result; None where it failed, which is noted."""
        try:
            return action()
        except peers.Failed as problem:
            self.failed[name] = str(problem)
            self.peers.pop(name, None)
            self.times.pop(name, None)
            print(f"  {self.name}: {name}: {problem}", file=sys.stderr, flush=True)
            return None

    def prepare_smelt(self):
        self.attempt("smelt", lambda: self.smelt.prepare(self.options.limit))
        if "smelt" not in self.failed:
            self.peers["smelt"] = self.smelt

    def prepare_peer(self, kind):
        begin = time.monotonic()
        peer = self.makers[kind]()
        found = self.attempt(kind, lambda: peer.answer(self.options.limit))
        self.prepared[kind] = time.monotonic() - begin
        if found is None:
            return
        self.peers[kind] = peer
        self.reference = found["reference"] or self.reference
        self.errors[kind] = found["outputs"]  # until there is a reference

    def prebuild(self, kind):
        """Fills Inductor's cache with the peer's code, and ends it."""
        if not self.options.has_time():
            self.failed[kind] = "the session's time was up"
            return
        self.prepare_peer(kind)
        if kind in self.peers:
            self.peers.pop(kind).close()
        print(f"{self.name}: {kind}: {self.failed.get(kind) or f'{self.prepared[kind]:.1f} s'}", flush=True)

    def work(self):
        """What prepares the row, for any thread."""
        return [self.prepare_smelt] + [lambda kind=kind: self.prepare_peer(kind) for kind in self.makers]

    def measure(self):
        outputs = {**self.errors, **({"smelt": self.smelt.outputs} if "smelt" in self.peers else {})}
        self.errors = {name: error(found, self.reference) for name, found in outputs.items()}
        self.rms = {name: rms_error(found, self.reference) for name, found in outputs.items()}
        for name, peer in list(self.peers.items()):
            if name != "smelt":
                begin = time.monotonic()
                self.attempt(name, lambda: peer.ask(("settle",), self.options.limit))
                self.settled[name] = time.monotonic() - begin
        for _ in range(self.options.rounds):
            for name, peer in sorted(self.peers.items(), key=lambda item: item[0] != "smelt"):
                took = self.attempt(name, lambda: peer.ask(("time", self.options.seconds), 30 + 10 * self.options.seconds))
                if took is not None:
                    self.times.setdefault(name, []).append(took)

    def close(self):
        for peer in list(self.peers.values()):
            peer.close()

    def result(self):
        times = {name: {"ms": statistics.median(values), "least": min(values), "most": max(values), "error": self.errors.get(name), "rms": self.rms.get(name)}
                 for name, values in self.times.items()}
        return {"model": self.name, "precision": self.options.precision, "tune": self.options.tune, "rounds": self.options.rounds,
                "build_s": getattr(self.smelt, "build_seconds", None), "prepared_s": self.prepared, "settled_s": self.settled, "times": times, "failed": self.failed, **self.options.session}


def print_row(row):
    found = ratio(row)
    shown = f", ratio {found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f}) to {best_peer(row)[0]}" if found else ""
    built = f"built in {row['build_s']:.1f} s" if row["build_s"] is not None else "not built"
    print(f"{row['model']}{shown}; {built}")
    for name, time_ in row["times"].items():
        wrong = f", error {time_['error']:.1e}, rms {time_['rms']:.1e}" if time_["error"] is not None else ""
        print(f"  {name:28} {time_['ms']:8.4f} ms ({time_['least']:.4f} to {time_['most']:.4f}){wrong}")
    for name, reason in row["failed"].items():
        print(f"  {name:28} {reason[:120]}")
    sys.stdout.flush()


def versions(options):
    """What the rows of this session have in common."""
    import torch

    gpu = options.target == "cuda"
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    device = subprocess.run(query, capture_output=True, text=True).stdout.strip().partition("\n")[0] if gpu else "CPU"
    told = {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "smelt": subprocess.run(
        [options.smelt, "--version"], capture_output=True, text=True).stdout.strip().removeprefix("smelt ")}
    try:
        import onnxruntime
        told["onnxruntime"] = f"{onnxruntime.__version__}{'' if 'CUDAExecutionProvider' in onnxruntime.get_available_providers() else ' without CUDA'}"
    except ImportError:
        told["onnxruntime"] = None
    return {"date": datetime.date.today().isoformat(), "device": device, "versions": told, "command": command()}


def command():
    """What was called, without what differs from machine to machine and from piece to piece."""
    words = [re.sub(r"(^|=)[^\s=]*/", r"\1", word) for word in sys.argv if not word.endswith((".onnx", ".json", ".jsonl")) and word != "--output"]
    return shlex.join([f"bench/{words[0]}", *words[1:]]) + " MODEL.onnx..."


def run_group(options, processes, paths, folder, write):
    rows = [Row(options, processes, path, folder) for path in paths]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        work = [row.work() for row in rows]
        orders = sorted(((place, number) for number, some in enumerate(work) for place in range(len(some))))
        for done in [pool.submit(work[number][place]) for place, number in orders]:
            done.result()
    try:
        for row in rows:
            if not options.has_time():
                row.failed["all"] = "the session's time was up"
            else:
                row.measure()
            row.close()
            write(row.result())
    finally:
        for row in rows:
            row.close()


def prebuild(options, processes, folder):
    """Compiles what is to be compiled for all models, each in a process that ends; the cache keeps it for later sessions."""
    rows = [Row(options, processes, path, folder) for path in options.models]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        work = [pool.submit(row.prebuild, kind) for row in rows for kind in row.makers if kind in peers.COMPILERS]
        for done in work:
            done.result()


def add_plan_options(parser, tune):
    """What models' plans are built from, and with what, and where rows go."""
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--target", default="cuda", choices=("cuda", "cpu"), help="cpu shows that everything works where no GPU is")
    parser.add_argument("--tune", default=tune, choices=("quick", "full", "off"))
    parser.add_argument("--build-options", default="", help="further options of smelt build")
    parser.add_argument("--output", type=pathlib.Path, help="gets a line of JSON for each model")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_plan_options(parser, tune="quick")
    parser.add_argument("--precision", default="fp16", choices=("fp32", "tf32", "fp16"))
    parser.add_argument("--max-autotune", default="bert|vit", metavar="PATTERN", help="models for which that mode is a peer, too")
    parser.add_argument("--skip", action="append", default=[], metavar="PEER[@PATTERN]", help="by its name, for example 'torch eager', everywhere or for some models")
    parser.add_argument("--peers", action="append", default=[], metavar="PEER[@PATTERN]", help="only these, as --skip names them")
    parser.add_argument("--prebuild", action="store_true", help="times nothing: compiles peers into Inductor's cache (--jobs at once), so that a later session, with the same TORCHINDUCTOR_CACHE_DIR, finds them there")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of one round for one peer")
    parser.add_argument("--limit", type=float, default=120, help="seconds for preparing a peer")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which no further model is begun")
    parser.add_argument("--at-once", type=int, default=10, help="models that are prepared together")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="peers that are prepared at once")
    options = parser.parse_args()
    begin = time.monotonic()
    options.has_time = lambda: time.monotonic() - begin < options.budget
    return options


def main():
    options = parse_arguments()
    options.session = versions(options)
    print(f"{options.session['device']}, torch {options.session['versions']['torch']}, {options.precision}, medians of {options.rounds} rounds in turns", flush=True)
    processes = peers.context()

    def write(row):
        print_row(row)
        if options.output:
            with open(options.output, "a") as file:
                file.write(json.dumps(row) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        if options.prebuild:
            prebuild(options, processes, pathlib.Path(folder))
            return
        for first in range(0, len(options.models), options.at_once):
            if options.has_time():
                run_group(options, processes, options.models[first : first + options.at_once], pathlib.Path(folder), write)
            else:
                print(f"no time for {' '.join(path.stem for path in options.models[first:first + options.at_once])}")


if __name__ == "__main__":
    main()
