#!/usr/bin/env python3
"""examples/run_plan.c gives what `smelt run` gives. Usage: test_example.py SMELT RUN_PLAN"""
import pathlib
import struct
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent.parent / "models" / "mnist-8" / "model.onnx"
DIMS = (1, 1, 28, 28)
ELEMENTS = 28 * 28


def call(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120)


def write_npy(path, values):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % (DIMS,)
    header += " " * ((-len(header) - 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + values)


def read_npy(path):
    data = path.read_bytes()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack("<%df" % ((len(data) - start) // 4), data[start:])


def shown(done):
    """Shape and values of a line such as 'name 1x10: 0.5 -1.25'."""
    assert done.returncode == 0, done.stderr
    name, shape, *values = done.stdout.split()
    return name, shape, [float(v) for v in values]


def main():
    program, example = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="smelt-example-") as folder:
        folder = pathlib.Path(folder)
        plan, npy, raw = folder / "m.plan", folder / "x.npy", folder / "x.raw"
        values = struct.pack("<%df" % ELEMENTS, *(i % 17 / 16.0 for i in range(ELEMENTS)))
        write_npy(npy, values)
        raw.write_bytes(values)
        assert call(program, "build", MODEL, "-o", plan).returncode == 0
        done = call(program, "run", plan, "--input", f"Input3={npy}", "--output-dir", folder)
        assert done.returncode == 0, done.stderr
        expected = read_npy(folder / "output_0.npy")[:5]
        for source in (npy, raw):
            name, shape, found = shown(call(example, plan, source))
            assert (name, shape) == ("Plus214_Output_0", "1x10"), (name, shape)
            assert all(abs(a - b) <= 1e-4 * abs(b) + 1e-5 for a, b in zip(found, expected)), (found, expected)
        assert shown(call(example, plan))[2] != found, "zeros give something else"
        raw.write_bytes(values[:-4])
        done = call(example, plan, raw)
        assert done.returncode == 1 and "'Input3' needs 3136 bytes, its memory has 3132" in done.stderr, done.stderr
        done = call(example, MODEL)
        assert done.returncode == 1 and "this is not a plan" in done.stderr, done.stderr
    print("example: passed")


main()
