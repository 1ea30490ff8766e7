#!/usr/bin/env python3
"""Errors of Instance- and GroupNormalization on large volumes against NumPy in double precision.

    bench/norms.py --smelt build/smelt [--extent 224] [--channels 16] [--target cuda]

Channels have means of 0 to 30 and deviations near 1, where sums of squares would cancel. In FP32 the normalisation stands alone; in
FP16 as well, and between two 3x3x3 convolutions that pass their input on as it is, so that nothing else rounds: their kernels find
the moments and normalise what they read. Inputs are halves. Errors are the largest difference, relative to the largest element; beside
them that of torch's normalisation of the same halves on a GPU, where torch is installed.
"""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GROUPS = {"InstanceNormalization": None, "GroupNormalization": 4}
EPSILON = 1e-5


def each(count, action):
    """Of all numbers below count, at once: NumPy keeps no other thread waiting."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(action, range(count)))


def sample(channels, extent):
    """Halves as floats; scale and shift of the channels."""
    x = np.empty((1, channels, extent, extent, extent), np.float32)

    def fill(c):
        noise = np.random.default_rng(c).standard_normal(x.shape[2:], np.float32)
        x[0, c] = (noise * (1 + c / 10) + 30 * c / max(channels - 1, 1)).astype(np.float16)

    each(channels, fill)
    generator = np.random.default_rng(channels)
    return x, generator.uniform(0.5, 2, channels).astype(np.float16), generator.uniform(-1, 1, channels).astype(np.float16)


def graph(op, convolves, shape, scale, shift):
    """The model's bytes."""
    channels = shape[1]
    passes_on = np.zeros((channels, channels, 3, 3, 3), np.float32)
    passes_on[np.arange(channels), np.arange(channels), 1, 1, 1] = 1
    constants = [("s", scale.astype(np.float32)), ("b", shift.astype(np.float32))] + ([("w", passes_on)] if convolves else [])
    more = {"num_groups": GROUPS[op]} if GROUPS[op] else {}
    nodes = [helper.make_node(op, ["c" if convolves else "x", "s", "b"], ["n" if convolves else "y"], epsilon=EPSILON, **more)]
    if convolves:
        nodes.insert(0, helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 6))
        nodes.append(helper.make_node("Conv", ["n", "w"], ["y"], pads=[1] * 6))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    made = helper.make_graph(nodes, "norms", ends[:1], ends[1:], [numpy_helper.from_array(array, name) for name, array in constants])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def reference(x, scale, shift, groups):
    """In double precision."""
    y, width = np.empty(x.shape), x.shape[1] // groups

    def fill(group):
        some = slice(group * width, (group + 1) * width)
        own = x[0, some].astype(np.float64)
        own -= own.mean()
        own /= np.sqrt(np.square(own).mean() + EPSILON)
        y[0, some] = own * scale[some, None, None, None].astype(np.float64) + shift[some, None, None, None]

    each(groups, fill)
    return y


def error(y, expected):
    apart = each(y.shape[1], lambda c: float(np.abs(y[0, c] - expected[0, c]).max()))
    return max(apart) / max(each(y.shape[1], lambda c: float(np.abs(expected[0, c]).max())))


def smelt(options, *command):
    done = subprocess.run([options.smelt, *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr.strip()[-300:], file=sys.stderr)
    return done.returncode == 0


class Case:
    """One model in one precision."""

    def __init__(self, op, precision, convolves, folder):
        self.op, self.precision, self.convolves = op, precision, convolves
        self.name = f"{op}, {precision}, {'between convolutions' if convolves else 'alone'}"
        self.path = folder / f"{op}_{precision}_{convolves}"

    def build(self, options, shape, scale, shift):
        model = self.path.with_suffix(".onnx")
        model.write_bytes(graph(self.op, self.convolves, shape, scale, shift))
        self.fine = smelt(options, "build", model, "-o", self.path.with_suffix(".plan"), f"--target={options.target}", f"--precision={self.precision}",
                          "--calib=off", "--tune=off")

    def run(self, options, x):
        """The output; None where it fails."""
        self.fine = self.fine and smelt(options, "run", self.path.with_suffix(".plan"), "--input", f"x={x}", "--output-dir", self.path)
        return np.load(self.path / "output_0.npy") if self.fine else None


def run_torch(op, x, scale, shift):
    """None without torch and a GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    values = [torch.from_numpy(array).cuda().half() for array in (x, scale, shift)]
    return torch.nn.functional.group_norm(values[0], GROUPS[op] or x.shape[1], values[1], values[2], EPSILON).float().cpu().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--target", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--extent", type=int, default=224, help="of the volume along each of its three axes")
    parser.add_argument("--channels", type=int, default=16)
    options = parser.parse_args()
    x, scale, shift = sample(options.channels, options.extent)
    print(f"{options.channels} channels of {options.extent ** 3 / 1e6:.1f} million places", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.save(folder / "x.npy", x)
        cases = [Case(op, precision, convolves, folder) for op in GROUPS for precision, convolves in (("fp32", False), ("fp16", False), ("fp16", True))]
        each(len(cases), lambda number: cases[number].build(options, x.shape, scale, shift))
        for op, groups in GROUPS.items():
            expected = reference(x, scale, shift, groups or options.channels)
            found = {case.name: case.run(options, folder / "x.npy") for case in cases if case.op == op}
            found[f"{op}, torch fp16"] = run_torch(op, x, scale, shift)
            for what, y in found.items():
                if y is not None:
                    print(f"{what}: {error(y, expected):.1e}", flush=True)
    return 0 if all(case.fine for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
