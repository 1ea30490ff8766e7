#!/usr/bin/env python3
"""Launches of the benchmark models in FP16 for sm_90: at most so many, no Reformat, none on the host; and the arena, at most
1.15 times its lower bound.

    check_kernels.py --smelt SMELT [--generator perf_models.py] [MODEL...]

The models come from perf_models.py (numpy and onnx); without it, or without NVRTC, the test is skipped (exit 77).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

SKIP, MOST_ARENA = 77, 1.15
MOST = {"resnet50": 57, "mobilenet_v2": 55, "googlenet": 60, "unet2d": 28, "airway3d": 30, "heart3d": 30, "efficientnet_b0": 75,
        "bert_base_128": 7 * 12 + 4, "vit_b_16": 7 * 12 + 6}


def count(smelt, model, plan):
    """Launches, Reformats, host steps, arena over its bound; raises RuntimeError where the build fails."""
    built = subprocess.run([smelt, "build", model, "-o", plan, "--target=cuda", "--gpu=sm_90", "--precision=fp16", "--calib=off", "--tune=off"],
                           capture_output=True, text=True, errors="replace")
    if built.returncode != 0:
        raise RuntimeError(built.stderr.strip()[-300:])
    found = json.loads(subprocess.run([smelt, "inspect", plan, "--json"], capture_output=True, text=True, check=True).stdout)
    steps = found["steps"]
    launched = [step for step in steps if step["launches"]]
    reformats = sum(op["op"].endswith("Reformat") for step in launched for op in step["operators"])
    return sum(len(step["launches"]) for step in launched), reformats, sum(not step["device"] for step in steps), found["arena_bytes"] / found["arena_lower_bound"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", required=True)
    parser.add_argument("--generator", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[3] / "shared/bench/perf_models.py")
    parser.add_argument("models", nargs="*", default=list(MOST), metavar="MODEL")
    args = parser.parse_args()
    if not args.generator.is_file():
        print(f"skipped: no {args.generator.name}")
        return SKIP
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            made = subprocess.run([sys.executable, args.generator, name, "--out", folder], capture_output=True, text=True)
            if made.returncode != 0:
                print(f"skipped: {made.stderr.strip().splitlines()[-1]}")
                return SKIP
            model = pathlib.Path(folder) / f"{name}_b1.onnx"
            try:
                launched, reformats, host, arena = count(args.smelt, model, model.with_suffix(".plan"))
            except RuntimeError as problem:
                if "NVRTC" in str(problem):
                    print(f"skipped: {problem}")
                    return SKIP
                print(f"FAILED  {name}: {problem}")
                failed += 1
                continue
            fine = launched <= MOST[name] and reformats == 0 and host == 0 and arena <= MOST_ARENA
            failed += not fine
            print(f"{'passed' if fine else 'FAILED'}  {name:16} {launched} launches of at most {MOST[name]}, {reformats} Reformats, {host} on the host, arena {arena:.3f} of its bound", flush=True)
            model.unlink()
            model.with_suffix(".plan").unlink()
    print(f"{len(args.models) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
