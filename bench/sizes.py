#!/usr/bin/env python3
"""Time against size, beside the floor: a table (TSV) and a figure (SVG).

    bench/sizes.py --smelt build/smelt --perf-models perf_models.py --output bench/sizes     # bench/sizes.tsv and .svg
    bench/sizes.py --draw bench/sizes.tsv                                                    # the figure anew

Times are GPU compute of `smelt bench` (median, the least of --rounds), in FP16 with the plan that --tune gives. The floor is the profile's: over all steps the
time that the GPU's description allows for their arithmetic or for the bytes that they must move. perf_models.py writes the models.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import math
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

import peers

SERIES = {  # name: (model, what grows, [(its value, batch, size)])
    "ResNet-50": ("resnet50", "batch", [(n, n, None) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256)]),
    "3-D U-Net": ("vessel3d", "extent of the volume", [(n, 1, [n, n, n]) for n in (64, 96, 128, 160, 192, 224)]),
    "BERT base": ("bert_base_128", "sequence length", [(n, 1, [n]) for n in (16, 32, 64, 128, 256, 384, 512)]),
}


def load_models(path):
    spec = importlib.util.spec_from_file_location("perf_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_plan(options, model, batch, size, name):
    """The plan's path; the model is gone again."""
    import onnx

    source, plan = options.folder / f"{name}.onnx", options.folder / f"{name}.plan"
    onnx.save(load_models(options.perf_models).build(model, batch, size), source)
    build = [options.smelt, "build", source, "-o", plan, "--precision=fp16", "--calib=off", "--target=cuda", f"--tune={options.tune}", *shlex.split(options.build_options)]
    done = subprocess.run(list(map(str, build)), capture_output=True, text=True)
    source.unlink()
    if done.returncode != 0:
        raise peers.Failed(done.stderr.strip()[-200:])
    return plan


def time_plan(options, plan, *more):
    """What `smelt bench` reports."""
    report = plan.with_suffix(".json")
    done = subprocess.run([options.smelt, "bench", str(plan), "--warmup", "30", "--duration", str(options.seconds), *more, "--json", str(report)], capture_output=True, text=True)
    if done.returncode != 0:
        raise peers.Failed(done.stderr.strip()[-200:])
    return json.loads(report.read_text())


class Points:
    """Plans as they are there, and their rows: {(series, value): (ms, floor in ms, launches)}."""

    def __init__(self, options):
        self.options, self.plans, self.rows = options, {}, {}

    def attempt(self, point, action):
        try:
            action()
            self.write()
        except peers.Failed as problem:
            print(f"{point[0]} {point[1]}: {problem}", file=sys.stderr, flush=True)

    def time_first(self, point, plan):
        self.plans[point] = plan
        figures = time_plan(self.options, plan, "--profile")
        self.rows[point] = figures["gpu_compute_ms"]["median"], figures["profile"]["floor_us"] * 1e-3, figures["profile"]["launches"]
        ms, floor, launches = self.rows[point]
        print(f"{point[0]} {point[1]}: {ms:.4f} ms, floor {floor:.4f}, {launches} launches", flush=True)

    def time_again(self, point):
        ms, *rest = self.rows[point]
        again = time_plan(self.options, self.plans[point])["gpu_compute_ms"]["median"]
        self.rows[point] = min(ms, again), *rest
        print(f"{point[0]} {point[1]}: {again:.4f} ms, {ms:.4f} before", flush=True)

    def write(self):
        if self.options.output is None:
            return
        rows = [(series, value, *self.rows[series, value]) for series, (_, _, sizes) in SERIES.items() for value, _, _ in sizes if (series, value) in self.rows]
        text = ["series\tvalue\tms\tfloor_ms\tlaunches"] + [f"{series}\t{value}\t{ms:.4f}\t{floor:.4f}\t{launches}" for series, value, ms, floor, launches in rows]
        self.options.output.with_suffix(".tsv").write_text("\n".join(text) + "\n")
        self.options.output.with_suffix(".svg").write_text(draw(rows))


def measure(options):
    """Models and plans are made in parallel, in processes; each plan is timed as soon as it is there, one at a time, and again in --rounds when all
    are, far apart, since something else may have disturbed one. The file is written after each."""
    end = time.monotonic() + options.limit
    found = Points(options)
    sizes = [(place, series, model, *size) for series, (model, _, some) in SERIES.items() for place, size in enumerate(some)]
    pool = concurrent.futures.ProcessPoolExecutor(options.jobs)
    work = {pool.submit(write_plan, options, model, batch, size, f"{model}_{value}"): (series, value) for _, series, model, value, batch, size in sorted(sizes, key=lambda size: size[0])}
    try:
        for done in concurrent.futures.as_completed(work, timeout=max(end - time.monotonic(), 0)):
            found.attempt(work[done], lambda done=done: found.time_first(work[done], done.result()))
    except concurrent.futures.TimeoutError:
        print(f"no time for {sum(not made.done() for made in work)} plans", file=sys.stderr, flush=True)
    pool.shutdown(wait=True, cancel_futures=True)
    for _ in range(1, options.rounds):
        for point in list(found.rows):
            if time.monotonic() < end:
                found.attempt(point, lambda point=point: found.time_again(point))


# -- the figure --

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 260, 46, 10, 34, 40
STYLE = """<style>
  text { font: 11px sans-serif; fill: #24292f } .title { font-weight: bold } .grid { stroke: #d0d7de; stroke-width: 1 }
  .smelt { stroke: #0969da; fill: none; stroke-width: 2 } .floor { stroke: #6e7781; fill: none; stroke-width: 2; stroke-dasharray: 5 4 }
  circle { fill: #0969da }
  @media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .grid { stroke: #30363d } .smelt { stroke: #58a6ff } .floor { stroke: #8b949e } circle { fill: #58a6ff } }
</style>"""


def scale(values, low, high):
    """Logarithmic, from the decades or the values that hold them."""
    first, last = math.log(min(values)), math.log(max(values))
    return lambda value: low + (math.log(value) - first) / (last - first) * (high - low)


def panel(series, rows, left):
    """One series: x and y logarithmic, a grid line for each size and each decade."""
    values, floors, times = ([row[i] for row in rows] for i in (1, 3, 2))
    decades = [10.0**d for d in range(math.floor(math.log10(min(floors + times))), math.ceil(math.log10(max(floors + times))) + 1)]
    x, y = scale(values, left + LEFT, left + WIDTH - RIGHT), scale(decades, HEIGHT - BOTTOM, TOP)
    parts = [f'<text class="title" x="{left + LEFT}" y="16">{series}, ms of a run</text>']
    for decade in decades:
        parts.append(f'<path class="grid" d="M{left + LEFT} {y(decade):.1f}H{left + WIDTH - RIGHT}"/><text x="{left + LEFT - 5}" y="{y(decade) + 4:.1f}" text-anchor="end">{decade:g}</text>')
    for value, following in zip(values, [*values[1:], None]):
        if following is not None and x(following) - x(value) < 24:
            continue  # its number would run into the next one
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value}</text>')
    parts.append(f'<text x="{left + (LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{SERIES[series][1]}</text>')
    for kind, heights in (("floor", floors), ("smelt", times)):
        parts.append(f'<path class="{kind}" d="M' + "L".join(f"{x(v):.1f} {y(h):.1f}" for v, h in zip(values, heights)) + '"/>')
    return parts + [f'<circle cx="{x(v):.1f}" cy="{y(t):.1f}" r="3"/>' for v, t in zip(values, times)]


def draw(rows):
    names = [series for series in SERIES if sum(row[0] == series for row in rows) > 1]
    width = WIDTH * len(names)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 20}" width="{width}" height="{HEIGHT + 20}">', STYLE]
    for place, series in enumerate(names):
        parts += panel(series, [row for row in rows if row[0] == series], place * WIDTH)
    parts.append(f'<path class="smelt" d="M{LEFT} {HEIGHT + 8}h30"/><text x="{LEFT + 36}" y="{HEIGHT + 12}">smelt</text>')
    parts.append(f'<path class="floor" d="M{LEFT + 90} {HEIGHT + 8}h30"/><text x="{LEFT + 126}" y="{HEIGHT + 12}">floor</text>')
    return "\n".join(parts + ["</svg>", ""])


def read(path):
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [(series, int(value), float(ms), float(floor), int(launches)) for series, value, ms, floor, launches in lines[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default="build/smelt")
    parser.add_argument("--perf-models", type=pathlib.Path, default="perf_models.py")
    parser.add_argument("--tune", default="off")
    parser.add_argument("--build-options", default="", help="further options of smelt build")
    parser.add_argument("--seconds", type=float, default=0.2, help="of timing a model")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=8, help="plans that are made at once")
    parser.add_argument("--limit", type=float, default=1e6, help="seconds after which nothing more is timed")
    parser.add_argument("--output", type=pathlib.Path, help="without its ending; written after each time, so that what ends this leaves what there is")
    parser.add_argument("--draw", type=pathlib.Path, metavar="TSV")
    options = parser.parse_args()
    if options.draw:
        options.draw.with_suffix(".svg").write_text(draw(read(options.draw)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = pathlib.Path(folder)
        measure(options)


if __name__ == "__main__":
    main()
