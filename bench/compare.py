#!/usr/bin/env python3
"""smelt beside torch on one GPU, on the same ONNX files and inputs, in one run, in turns.

    bench/compare.py --smelt build/smelt MODEL.onnx... [--precision fp16] [--rounds 5] [--markdown]

Peers: eager torch in a CUDA graph; torch.compile with mode reduce-overhead and max-autotune; all in the same precision and
with channels-last weights and inputs, where that is the faster of both; ONNX Runtime's CUDA provider where it is installed.
A time is GPU time of one inference with its inputs on the GPU: smelt's as `smelt bench` reports it (GPU Compute Time, one CUDA
graph), the peers' by events around graph replays. Rounds interleave all; medians and the spread of the rounds are printed,
and the ratio to the best peer (below 1: smelt is faster). The largest difference of results, relative to torch's largest
element in float32, shows that both compute the same.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from onnx_torch import OnnxModule  # noqa: E402

DTYPES = {1: np.float32, 7: np.int64, 6: np.int32}


def sample_inputs(model):
    generator = np.random.default_rng(1)
    arrays = []
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        dtype = DTYPES[kind.elem_type]
        if dtype == np.float32:
            arrays.append(generator.standard_normal(shape).astype(dtype))
        else:
            arrays.append(generator.integers(1, 2, shape).astype(dtype) if "mask" in value.name else generator.integers(0, 1000, shape).astype(dtype))
    return arrays


def replayed(function, inputs):
    """The function in a CUDA graph, as a function without arguments."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(3):
            function(*inputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        outputs = function(*inputs)
    return graph.replay, outputs


def event_time(run, seconds=0.3):
    """Median milliseconds of a run."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times, stop = [], time.monotonic() + seconds
    while len(times) < 10 or time.monotonic() < stop:
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


class TorchPeer:
    def __init__(self, name, model, arrays, half, mode, channels_last):
        self.name = name
        module = OnnxModule(model, half, channels_last).cuda().eval()
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        inputs = []
        for array in arrays:
            tensor = torch.from_numpy(array).cuda()
            tensor = tensor.half() if half and tensor.dtype == torch.float32 else tensor
            inputs.append(tensor.contiguous(memory_format=formats[tensor.dim()]) if channels_last and tensor.dim() in formats else tensor)
        module.prepare(*inputs)
        self.kept = module, inputs  # a captured graph does not keep what it reads
        if mode is None:
            self.run, self.outputs = replayed(module, inputs)
            return
        compiled = torch.compile(module, mode=mode, fullgraph=False)

        def run():
            with torch.no_grad():
                return compiled(*inputs)
        for _ in range(4):
            self.outputs = tuple(o.clone() for o in run())
        self.run = run

    def time(self):
        return event_time(self.run)


class SmeltPeer:
    name = "smelt"

    def __init__(self, smelt, path, arrays, model, precision, folder, tune):
        self.smelt, self.plan = smelt, folder / (path.stem + ".plan")
        build = [smelt, "build", str(path), "-o", str(self.plan), f"--precision={precision}", "--calib=off", "--target=cuda", f"--tune={tune}"]
        start = time.monotonic()
        done = subprocess.run(build, capture_output=True, text=True)
        self.build_seconds = time.monotonic() - start
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-400:])
        self.inputs = []
        for value, array in zip(model.graph.input, arrays):
            file = folder / f"{path.stem}.{len(self.inputs)}.npy"
            np.save(file, array)
            self.inputs += ["--input", f"{value.name}={file}"]
        out = folder / (path.stem + ".out")
        subprocess.run([smelt, "run", str(self.plan), *self.inputs, "--output-dir", str(out)], check=True, capture_output=True)
        self.outputs = [np.load(f) for f in sorted(out.glob("output_*.npy"))]

    def time(self):
        report = self.plan.with_suffix(".json")
        subprocess.run([self.smelt, "bench", str(self.plan), "--duration", "0.3", "--json", str(report)], check=True, capture_output=True)
        return json.loads(report.read_text())["gpu_compute_ms"]["median"]


def error(got, expected):
    expected = expected.float().cpu().numpy().astype(np.float64)
    scale = np.abs(expected).max()
    return float(np.abs(np.asarray(got, np.float64).reshape(expected.shape) - expected).max() / (scale if scale > 0 else 1))


def compare(path, args, folder):
    model = onnx.load(path)
    arrays = sample_inputs(model)
    half = args.precision == "fp16"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    with torch.no_grad():
        inputs = [torch.from_numpy(a).cuda() for a in arrays]
        reference = OnnxModule(model, half=False).cuda().eval().prepare(*inputs)(*inputs)
    peers = [SmeltPeer(args.smelt, path, arrays, model, args.precision, folder, args.tune)]
    for name, mode, channels_last in (("torch eager, CUDA graph", None, True), ("torch.compile reduce-overhead", "reduce-overhead", True),
                                      ("torch.compile max-autotune", "max-autotune", True)):
        if any(word in name for word in args.skip.split(",") if word):
            continue
        try:
            torch._dynamo.reset()
            peers.append(TorchPeer(name, model, arrays, half, mode, channels_last))
        except Exception as problem:  # a peer that cannot run the model is left out, and said
            print(f"  {name}: {repr(problem)[:200]}", flush=True)
    times = {peer.name: [] for peer in peers}
    for _ in range(args.rounds):
        for peer in peers:
            times[peer.name].append(peer.time())
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min((value for name, value in medians.items() if name != "smelt"), default=float("nan"))
    worst = max(error(got, want) for got, want in zip(peers[0].outputs, reference))
    torch_worst = max((error(got.float().cpu().numpy(), want) for got, want in zip(peers[1].outputs, reference)), default=float("nan")) if len(peers) > 1 else float("nan")
    print(f"{path.stem}: smelt {medians['smelt']:.4f} ms, best peer {best:.4f} ms, ratio {medians['smelt'] / best:.2f}; built in {peers[0].build_seconds:.1f} s; "
          f"error {worst:.1e} (torch {torch_worst:.1e})", flush=True)
    for name, values in times.items():
        print(f"  {name:32} {medians[name]:.4f} ms ({min(values):.4f} to {max(values):.4f})", flush=True)
    return path.stem, medians, best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--precision", default="fp16", choices=("fp32", "tf32", "fp16"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tune", default="quick")
    parser.add_argument("--skip", default="", help="peers left out: graph, reduce-overhead, max-autotune")
    args = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {args.precision}, medians of {args.rounds} rounds in turns")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in args.models:
            try:
                rows.append(compare(path, args, pathlib.Path(folder)))
            except Exception as problem:
                print(f"{path.stem}: {str(problem)[:300]}", flush=True)
    print("\n| model | smelt ms | best peer ms | ratio |\n|---|---|---|---|")
    for name, medians, best in rows:
        print(f"| {name} | {medians['smelt']:.3f} | {best:.3f} | {medians['smelt'] / best:.2f} |")


if __name__ == "__main__":
    main()
