#!/usr/bin/env python3
"""Errors of FP16 over many inputs: smelt's, torch's (eager; with --compile also torch.compile's), all against torch in FP32 without TF32.

    bench/errors.py --smelt build/smelt MODEL.onnx... [--inputs 8] [--compile] [--output errors.jsonl]

Inputs are seeded; the first is that of bench/compare.py. As there, an error is the largest difference, or the root mean square of the
differences, relative to the largest element of the output. The largest is one element's and differs much from input to input: of both the
mean over the inputs, the least and the greatest are shown, and on how many inputs smelt's is at most torch's. Nothing is timed, so that all
models go at once. Rows go to --output as they are done, one JSON object a line, for bench/results.py --errors.
"""
import argparse
import concurrent.futures
import json
import pathlib
import sys
import tempfile
import time

import onnx

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import compare  # noqa: E402
import peers  # noqa: E402
import results  # noqa: E402


def prepare_inputs(options, path, folder):
    """[(Smelt, arrays)] of each input, all with the same plan."""
    model = onnx.load(path, load_external_data=False)
    names = [value.name for value in model.graph.input]
    sets = []
    for seed in range(1, options.inputs + 1):
        own = folder / f"{path.stem}.{seed}"
        own.mkdir()
        arrays = compare.sample_inputs(model, seed)
        sets.append((compare.Smelt(options, path, names, arrays, own), arrays))
        sets[-1][0].plan = sets[0][0].plan
    return sets


def measure(options, processes, path, folder):
    """The model's row; raises peers.Failed."""
    begin, end = time.monotonic(), time.monotonic() + options.limit
    sets = prepare_inputs(options, path, folder)
    judge = peers.Peer(processes, peers.JUDGE, path, sets[0][1], "fp16", options.target, False, compile=[peers.COMPILED] if options.compile else [])
    try:
        sets[0][0].build(end - time.monotonic())
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            outputs = list(pool.map(lambda one: one[0].run(end - time.monotonic()), sets))
        judge.answer(end - time.monotonic())
        errors = [judge.ask(("errors", one.files, files), end - time.monotonic()) for (one, _), files in zip(sets, outputs)]
    finally:
        judge.close()
        for one, _ in sets:
            one.close()
    return {"model": path.stem, "precision": "fp16", "seconds": time.monotonic() - begin, "errors": errors, **options.session}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare.add_plan_options(parser, tune="off")
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--compile", action="store_true", help="torch.compile, too, which takes about a minute for a 3-D net")
    parser.add_argument("--jobs", type=int, default=4, help="inputs of a model that smelt takes at once")
    parser.add_argument("--limit", type=float, default=300, help="seconds for everything")
    options = parser.parse_args()
    options.precision = "fp16"
    return options


def main():
    options = parse_arguments()
    options.session = compare.versions(options)
    processes, failed = peers.context(), 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(len(options.models)) as pool:
        work = {pool.submit(measure, options, processes, path, pathlib.Path(folder)): path for path in options.models}
        for done in concurrent.futures.as_completed(work):
            try:
                row = done.result()
            except peers.Failed as problem:
                failed += 1
                print(f"{work[done].stem}: {problem}", flush=True)
                continue
            print("\n".join([f"{row['model']}, {options.inputs} inputs, {row['seconds']:.0f} s", *results.errors([row])]), flush=True)
            if options.output:
                with open(options.output, "a") as file:
                    file.write(json.dumps(row) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
