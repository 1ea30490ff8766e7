#!/usr/bin/env python3
"""Kernels that memory bounds, beside a copy of as many bytes: pointwise chains, depthwise convolutions, pools, squeeze-and-excite, resizes, softmax,
normalisations of rows and planes, transposes, reductions, concats, slices, pads and gathers, each on a tensor larger than the L2 cache and on one inside it.

    bench/memory.py --smelt build/smelt [--only TEXT] [--size large] [--tune quick] [--limit SECONDS] [--output memory.jsonl] [--gpu h200]

`smelt tune` times each (--tune=first: what the model chooses; quick: the fastest of its guesses), one launch out of 24 in a CUDA graph, and the copy, a chain
of one operator without arithmetic, in the same way. Bytes are what the step must read and write, each once. What writes at least twice what it reads inside
the L2 cache is timed beside a sum of a row and a column, too, that has as many bytes to read and to write: writes bound it, of which a copy of as many bytes in all has fewer.
With --gpu, for a GPU that is not here, nothing is timed. Rows go to --output, one JSON object a line, for bench/results.py --memory.
"""
import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import results  # noqa: E402


def conv(channels, image, kernel, stride=1, dtype="f16"):
    """A depthwise convolution of images whose extents are all `image`, with a clip behind it."""
    axes, kernels = len(kernel), ", ".join(map(str, kernel))
    lists = {"dilations": [1] * axes, "kernel_shape": kernel, "pads": [k // 2 for k in kernel] * 2, "strides": [stride] * axes}
    texts = {name: ",".join(map(str, values)) + ("," if len(values) == 1 else "") for name, values in lists.items()}
    size, out = (", ".join([str(extent)] * axes) for extent in (image, -(-image // stride)))
    return (f"*Conv($0 $1 $2) dilations={texts['dilations']} group={channels} kernel_shape={texts['kernel_shape']} pads={texts['pads']} strides={texts['strides']} + "
            f"Relu(%0.0) | {dtype}[N, {channels}, {size}] channels_last {dtype}[{channels}, 1, {kernels}]= {dtype}[{channels}]= -> "
            f"%1.0:{dtype}[N, {channels}, {out}] channels_last")


def norm(op, shape, dtype="f16", attributes=""):
    """Of planes, with a clip behind it; scale and shift are FP32, as lower_precision leaves them."""
    channels = shape.split(", ")[1]
    return (f"*{op}($0 $1 $2){attributes} + LeakyRelu(%0.0) alpha=0x1p-3 | {dtype}[{shape}] channels_last f32[{channels}]= f32[{channels}]= -> "
            f"%1.0:{dtype}[{shape}] channels_last")


def squeeze(channels, squeezed, image):
    """Squeeze-and-excite."""
    product = "dilations=1,1 group=1 kernel_shape=1,1 pads=0,0,0,0 strides=1,1"
    tensor = f"f16[N, {channels}, {image}, {image}] channels_last"
    return (f"*GlobalAveragePool($0) + Conv(%0.0 $1 $2) {product} + Swish(%1.0) + Conv(%2.0 $3 $4) {product} + Sigmoid(%3.0) + Mul(%4.0 $0) | {tensor} "
            f"f16[{squeezed}, {channels}, 1, 1]= f16[{squeezed}]= f16[{channels}, {squeezed}, 1, 1]= f16[{channels}]= -> %5.0:{tensor}")


def concat(channels, image):
    tensors = [f"f16[N, {count}, {image}, {image}] channels_last" for count in (*channels, sum(channels))]
    return f"Concat({' '.join(f'${i}' for i in range(len(channels)))}) axis=1 | {' '.join(tensors[:-1])} -> %0.0:{tensors[-1]}"


def window(op, channels, image, kernel, stride, pad, axes=2):
    """A pool."""
    lists = [",".join([str(value)] * count) for value, count in ((kernel, axes), (pad, 2 * axes), (stride, axes))]
    size, out = (", ".join([str(extent)] * axes) for extent in (image, (image + 2 * pad - kernel) // stride + 1))
    return (f"{op}($0) kernel_shape={lists[0]} pads={lists[1]} strides={lists[2]} | f16[N, {channels}, {size}] channels_last -> "
            f"%0.0:f16[N, {channels}, {out}] channels_last")


def resize(mode, channels, image, axes=2, more=""):
    """To twice the size."""
    size, out = (", ".join([str(extent)] * axes) for extent in (image, 2 * image))
    return (f'Resize($0 - $1){more} mode={mode} | f16[N, {channels}, {size}] channels_last f32[{axes + 2}]=0x1p+0,0x1p+0{",0x1p+1" * axes} -> '
            f"%0.0:f16[N, {channels}, {out}] channels_last")


def reduce(op, shape, axes, out, dtype="f16"):
    return f"{op}($0 $1) keepdims=0 | {dtype}[{shape}] i64[{len(axes)}]={','.join(map(str, axes))} -> %0.0:{dtype}[{out}]"


def transpose(shape, perm):
    extents = shape.split(", ")
    return f"Transpose($0) perm={','.join(map(str, perm))} | f16[{shape}] -> %0.0:f16[{', '.join(extents[i] for i in perm)}]"


PLANES = "f16[N, 64, 112, 112] channels_last"
# What it is, the problem with N for a size, and N outside and inside the L2 cache.
ROWS = (
    ("scale, shift, sigmoid", f"Mul($0 $1) + Add(%0.0 $2) + Sigmoid(%1.0) | {PLANES} f16[64, 1, 1]= f16[64, 1, 1]= -> %2.0:{PLANES}", 64, 8),
    ("add, relu", f"Add($0 $1) + Relu(%0.0) | {PLANES} {PLANES} -> %1.0:{PLANES}", 64, 6),
    ("gelu", "Gelu($0) | f16[N, 3072] -> %0.0:f16[N, 3072]", 32768, 2048),
    ("add, relu, f32", "Add($0 $1) + Relu(%0.0) | f32[N, 1024] f32[N, 1024] -> %1.0:f32[N, 1024]", 32768, 2048),
    ("cast to f16", "Cast($0) to=10 | f32[N, 1024] -> %0.0:f16[N, 1024]", 65536, 4096),
    ("cast to f32", "Cast($0) to=1 | f16[N, 1024] -> %0.0:f32[N, 1024]", 65536, 4096),
    ("depthwise 3x3", conv(64, 112, (3, 3)), 64, 8),
    ("depthwise 3x3, stride 2", conv(64, 112, (3, 3), 2), 64, 8),
    ("depthwise 3x3, 576 channels", conv(576, 14, (3, 3)), 512, 64),
    ("depthwise 3x3, f32", conv(64, 112, (3, 3), dtype="f32"), 32, 4),
    ("depthwise 5x5", conv(64, 112, (5, 5)), 64, 8),
    ("depthwise 5x5, 672 channels", conv(672, 14, (5, 5)), 512, 64),
    ("depthwise 5x5, stride 2", conv(64, 112, (5, 5), 2), 64, 8),
    ("depthwise 7x7", conv(64, 112, (7, 7)), 64, 8),
    ("depthwise 9", conv(64, 4096, (9,)), 256, 24),
    ("depthwise 3x3x3", conv(32, 64, (3, 3, 3)), 8, 1),
    ("depthwise 5x5x5, stride 2", conv(32, 64, (5, 5, 5), 2), 8, 1),
    ("maxpool 3x3, stride 2", window("MaxPool", 64, 112, 3, 2, 1), 64, 8),
    ("maxpool 3x3", window("MaxPool", 256, 28, 3, 1, 1), 256, 32),
    ("maxpool 2x2, stride 2", window("MaxPool", 64, 112, 2, 2, 0), 64, 8),
    ("maxpool 2x2, stride 2, f32", window("MaxPool", 64, 112, 2, 2, 0).replace("f16", "f32"), 32, 4),
    ("averagepool 3x3", window("AveragePool", 64, 112, 3, 1, 1), 64, 8),
    ("maxpool 2x2x2, stride 2", window("MaxPool", 32, 64, 2, 2, 0, 3), 8, 1),
    ("globalaveragepool", f"GlobalAveragePool($0) | {PLANES} -> %0.0:f16[N, 64, 1, 1]", 64, 16),
    ("globalaveragepool of 7x7", "GlobalAveragePool($0) | f16[N, 2048, 7, 7] channels_last -> %0.0:f16[N, 2048, 1, 1]", 512, 128),
    ("squeeze-and-excite of 56x56", squeeze(96, 4, 56), 128, 16),
    ("squeeze-and-excite of 14x14", squeeze(672, 28, 14), 512, 48),
    ("resize nearest x2", resize("nearest", 64, 56), 64, 8),
    ("resize bilinear x2", resize("linear", 64, 56), 64, 8),
    ("resize bilinear x2, corners", resize("linear", 64, 56, more=' coordinate_transformation_mode=align_corners'), 64, 8),
    ("resize trilinear x2", resize("linear", 32, 32, 3), 16, 1),
    ("softmax of 128", "Softmax($0) axis=-1 | f16[N, 128] -> %0.0:f16[N, 128]", 524288, 49152),
    ("softmax of 1024", "Softmax($0) axis=-1 | f16[N, 1024] -> %0.0:f16[N, 1024]", 65536, 6144),
    ("softmax of 16384", "Softmax($0) axis=-1 | f16[N, 16384] -> %0.0:f16[N, 16384]", 4096, 384),
    ("softmax of channels", "Softmax($0) axis=1 | f16[N, 16, 256, 256] channels_last -> %0.0:f16[N, 16, 256, 256] channels_last", 64, 6),
    ("softmax of 1024, f32", "Softmax($0) axis=-1 | f32[N, 1024] -> %0.0:f32[N, 1024]", 32768, 3072),
    ("LayerNorm of 768", "LayerNormalization($0 $1 $2) axis=-1 | f16[N, 768] f16[768]= f16[768]= -> %0.0:f16[N, 768]", 65536, 6144),
    ("LayerNorm of 1024, f32", "LayerNormalization($0 $1 $2) axis=-1 | f32[N, 1024] f32[1024]= f32[1024]= -> %0.0:f32[N, 1024]", 32768, 3072),
    ("add, LayerNorm of 768", "Add($0 $1) + *LayerNormalization(%0.0 $2 $3) axis=-1 | f16[N, 768] f16[N, 768] f16[768]= f16[768]= -> %0.0:f16[N, 768] %1.0:f16[N, 768]",
     65536, 6144),
    ("add, RMSNorm of 4096", "Add($0 $1) + *RMSNormalization(%0.0 $2) axis=-1 | f16[N, 4096] f16[N, 4096] f16[4096]= -> %0.0:f16[N, 4096] %1.0:f16[N, 4096]", 16384, 1024),
    ("InstanceNorm of 32 channels, 3-D", norm("InstanceNormalization", "N, 32, 64, 64, 64"), 8, 1),
    ("InstanceNorm of 256 channels, 3-D", norm("InstanceNormalization", "N, 256, 16, 16, 16"), 64, 4),
    ("GroupNorm of 32 channels, 3-D", norm("GroupNormalization", "N, 32, 64, 64, 64", attributes=" num_groups=8"), 8, 1),
    ("InstanceNorm of 64 channels", norm("InstanceNormalization", "N, 64, 112, 112"), 64, 6),
    ("GroupNorm of 64 channels", norm("GroupNormalization", "N, 64, 112, 112", attributes=" num_groups=8"), 64, 6),
    ("GroupNorm of 256 channels, f32", norm("GroupNormalization", "N, 256, 28, 28", "f32", " num_groups=32"), 128, 12),
    ("transpose NCHW to NHWC", transpose("N, 64, 112, 112", (0, 2, 3, 1)), 64, 8),
    ("transpose NHWC to NCHW", transpose("N, 112, 112, 64", (0, 3, 1, 2)), 64, 8),
    ("transpose of matrices", transpose("N, 1024, 1024", (0, 2, 1)), 64, 6),
    ("transpose of heads", transpose("N, 512, 12, 64", (0, 2, 1, 3)), 128, 12),
    ("transpose, three channels", transpose("N, 3, 512, 512", (0, 2, 3, 1)), 64, 6),
    ("reduce rows of 1024", reduce("ReduceSum", "N, 1024", [1], "N"), 65536, 12288),
    ("reduce columns", reduce("ReduceSum", "N, 1024", [0], "1024"), 65536, 12288),
    ("reduce planes", reduce("ReduceMean", "N, 64, 112, 112", [2, 3], "N, 64"), 64, 16),
    ("reduce channels", reduce("ReduceMax", "N, 64, 12544", [1], "N, 12544"), 64, 16),
    ("reduce inner of three", reduce("ReduceSum", "N, 64, 256", [2], "N, 64"), 8192, 768),
    ("reduce middle of three", reduce("ReduceMax", "N, 256, 64", [1], "N, 64"), 8192, 768),
    ("reduce outer of three", reduce("ReduceSum", "64, N, 256", [0], "N, 256"), 8192, 768),
    ("reduce all", reduce("ReduceSum", "N, 1024", [0, 1], ""), 65536, 12288),
    ("reduce rows of 1024, f32", reduce("ReduceSum", "N, 1024", [1], "N", "f32"), 65536, 6144),
    ("reduce columns, f32", reduce("ReduceSum", "N, 1024", [0], "1024", "f32"), 65536, 6144),
    ("concat of 64, 128, 32, 32", concat((64, 128, 32, 32), 28), 512, 48),
    ("concat of 2 x 64", concat((64, 64), 112), 64, 6),
    ("split of channels", f"Split($0) axis=1 num_outputs=2 | {PLANES} -> %0.0:{PLANES.replace('64', '32')} %0.1:{PLANES.replace('64', '32')}", 64, 8),
    ("slice of rows", f"Slice($0 $1 $2 $3) | {PLANES} i64[2]=2,3 i64[2]=102,103 i64[2]=2,3 -> %0.0:f16[N, 64, 100, 100] channels_last", 64, 8),
    ("pad of planes", f"Pad($0 $1) mode=constant | {PLANES} i64[8]=0,0,1,1,0,0,1,1 -> %0.0:f16[N, 64, 114, 114] channels_last", 64, 8),
    ("gather of rows", "Gather($0 $1) axis=0 | f16[30522, 768] i64[N] -> %0.0:f16[N, 768]", 65536, 8192),
)


PIECE = 32  # rows that are tuned together: their kernels are compiled side by side


def numbered(line, count):
    return re.sub(r"\bN\b", str(count), line)


# Memory that one problem gives back serves the next: new pages for every tensor take longer than to fill them.
KEPT = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"}


def tune(arguments, lines, *options):
    """What `smelt tune` says of each."""
    done = subprocess.run([arguments.smelt, "tune", *lines, "--json", *options], capture_output=True, text=True, env={**os.environ, **KEPT})
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    return {problem["problem"]: problem for problem in json.loads(done.stdout)["problems"]}


def fastest(problem):
    timed = [choice for choice in problem["choices"] if choice.get("source") == "measured"]
    return min(timed, key=lambda choice: choice["us"]) if timed else None


def copy_mib(problem):
    """Of as many bytes, in whole MiB, read and written; of large ones, whose time is as their size, the nearest of few sizes."""
    mib = max(round(problem["bytes"] / 2**20), 1)
    return mib if mib < 64 else min((size << k for size in (64, 96) for k in range(8)), key=lambda size: abs(math.log(size / mib)))


def copy_line(problem):
    count = copy_mib(problem) << 18
    return f"Relu($0) | f16[{count}] -> %0.0:f16[{count}]"


def written(problem):
    """Bytes of the results."""
    tensors = re.findall(r"\bf(16|32)\[([0-9, ]*)\]", problem["problem"].split(" -> ")[1])
    return sum(int(bits) // 8 * math.prod(int(extent) for extent in extents.split(", ") if extent) for bits, extents in tensors)


def spread_line(problem):
    """None: it does not write at least twice what it reads."""
    read = max(problem["bytes"] - written(problem), 1)
    times = round(written(problem) / read)
    return f"Add($0 $1) | f16[1, {round(read / 16) * 8}] f16[{times}, 1] -> %0.0:f16[{times}, {round(read / 16) * 8}]" if times >= 2 and read >= 2**20 else None


def row_of(name, large, problem, copy, spread):
    choice, other = fastest(problem), fastest(copy)
    if choice is None or other is None:
        return None
    copy_us = other["us"] * problem["bytes"] / (copy_mib(problem) << 20)
    spread_us = fastest(spread)["us"] if spread and fastest(spread) else None
    return {"name": name, "problem": problem["problem"], "large": large, "bytes": problem["bytes"], "us": choice["us"],
            "gb_per_s": problem["bytes"] / choice["us"] * 1e-3, "copy_us": copy_us, "spread_us": spread_us, "tactic": f"{choice['tactic']} {','.join(map(str, choice['config']))}".strip()}


def rows_of(arguments, asked, folder):
    """The rows that have a time, of what is tuned together."""
    known = tune(arguments, [line for _, line, _ in asked], "--tune=off", f"--gpu={arguments.gpu or 'h200'}")
    copies = {line: copy_line(problem) for line, problem in known.items()}
    spreads = {line: None if large else spread_line(known[line]) for _, line, large in asked}
    if not arguments.gpu:
        known = tune(arguments, [*known, *sorted({*copies.values(), *spreads.values()} - {None})], f"--tune={arguments.tune}", f"--timing-cache={folder}/times")
    rows = [row_of(name, large, known[line], known[copies[line]], known.get(spreads[line])) for name, line, large in asked if copies[line] in known]
    return [row for row in rows if row]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--only", default="", help="rows whose name contains it")
    parser.add_argument("--size", choices=("large", "small", "both"), default="both", help="outside the L2 cache, inside it (both)")
    parser.add_argument("--tune", choices=("first", "quick", "full"), default="first", help="how far to search (first)")
    parser.add_argument("--gpu", help="one that need not be here")
    parser.add_argument("--limit", type=float, default=1e6, help="seconds after which nothing more is timed")
    parser.add_argument("--output", type=pathlib.Path, help="gets a line of JSON for each row")
    arguments = parser.parse_args()
    asked = [(name, numbered(line, count), large) for name, line, *counts in ROWS for large, count in zip((True, False), counts)
             if arguments.only in name and arguments.size in ("both", "large" if large else "small")]
    rows, begin = [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(asked), PIECE):
            if time.monotonic() - begin < arguments.limit:
                rows += rows_of(arguments, asked[first : first + PIECE], folder)
                if arguments.output:
                    arguments.output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print("\n".join(results.memory(rows)))
    print(f"{len(asked)} rows, {len(rows)} timed")


if __name__ == "__main__":
    main()
