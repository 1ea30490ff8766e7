#!/usr/bin/env python3
"""Whether two tunings of one machine agree, what tuning costs, and what it gains.

    bench/agreement.py --smelt build/smelt MODEL.onnx... [--precision fp16] [--tune quick] [--again 1] [--libraries] [--output rows.jsonl] [--budget SECONDS]

Of each model: a plan by the cost models (off); one tuned with every cache empty (cold); the same again (warm: nothing is measured);
--again more, each with a timing cache of its own but with the kernels that are compiled by then; with --libraries one where cuBLASLt and
cuDNN compete. Seconds and peak memory are the build's own process's; times are GPU compute of `smelt bench`, all plans in turns.
A step agrees where both plans have it with the same tactic and config. Rows go to --output, one JSON object a line,
with the steps that differ; timing caches go to --caches FOLDER. Libraries come last, once all models have been tuned without.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    pass


def call(options, *arguments):
    """(what it wrote, seconds, peak MiB); ends it where the budget does."""
    left = options.end - time.monotonic()
    if left < 1:
        raise Failed("no time left")
    with tempfile.TemporaryFile("w+") as words:
        begin = time.monotonic()
        process = subprocess.Popen([options.smelt, *map(str, arguments)], stdout=words, stderr=subprocess.STDOUT, env={**os.environ, "SMELT_LOG": "info"})
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - begin > left:
                process.kill()
                os.wait4(process.pid, 0)
                raise Failed(f"no time left after {left:.0f} s of {arguments[0]}")
            time.sleep(0.005)
        process.returncode = status
        words.seek(0)
        text = words.read()
    if status != 0:
        raise Failed(text.strip()[-300:])
    return text, time.monotonic() - begin, usage.ru_maxrss / 1024


class Plans:
    """Of one model: the plans that were made, by name, and what it took."""

    def __init__(self, options, model, folder):
        self.options, self.model, self.folder, self.plans, self.row = options, model, folder, {}, {"model": model.stem, "builds": {}}

    def build(self, name, cache, tune, tactics=None):
        plan = self.folder / f"{self.model.stem}.{name}.plan"
        times = pathlib.Path(self.options.caches or self.folder) / f"{self.model.stem}.{cache}.txt"
        command = ["build", self.model, "-o", plan, f"--precision={self.options.precision}", "--calib=off", "--target=cuda", f"--tune={tune}",
                   f"--cache-dir={self.folder / self.model.stem}.{'off' if tune == 'off' else 'kernels'}"]
        command += [f"--timing-cache={times}"] if tune != "off" else []
        text, seconds, peak = call(self.options, *command, *([f"--tactics={tactics}"] if tactics else []))
        said = [line.split("tuned:")[1].strip() for line in text.split("\n") if "tuned:" in line][-1:]
        asked = re.findall(r"(\d+) choices of passes: ([\d.]+) s in sequence, ([\d.]+) s for the steps", text)
        if asked:
            choices, sequence, steps = (sum(map(float, some)) for some in zip(*asked))
            said.append(f"{choices:.0f} choices of passes, {sequence:.1f} s in sequence, {steps:.1f} s for their steps")
        self.row["builds"][name] = {"seconds": round(seconds, 2), "peak_mib": round(peak), "said": "; ".join(said)}
        self.plans[name] = plan

    def steps(self, name):
        """{step: tactic and config}"""
        text, _, _ = call(self.options, "inspect", self.plans[name], "--json")
        steps = json.loads(text)["steps"]
        found = {}
        for number, step in enumerate(steps):
            origins = " ".join(operator["origins"] for operator in step["operators"]).split()
            found[f"{step['name']} {origins[0] if origins else number}"] = re.sub(r" \([^)]*\)", "", step.get("reason") or "")
        return found

    def compare(self):
        first, self.row["agree"] = self.steps("cold"), {}
        for name in self.plans:
            if name.startswith("again") or name == "warm":
                other = self.steps(name)
                different = [[step, first.get(step), other.get(step)] for step in sorted(first.keys() | other.keys()) if first.get(step) != other.get(step)]
                self.row["agree"][name] = {"steps": len(first), "different": different}

    def time(self):
        """Median milliseconds of each plan, the least of the rounds."""
        best = {}
        for _ in range(self.options.rounds):
            for name, plan in self.plans.items():
                report = plan.with_suffix(".json")
                text, _, _ = call(self.options, "bench", plan, "--warmup", 50, "--duration", self.options.seconds, "--json", report)
                median = json.loads(report.read_text())["gpu_compute_ms"]["median"]
                best[name] = min(best.get(name, median), median)
        self.row["ms"] = best

    def share(self):
        """What of the time on the GPU the libraries have where they compete."""
        text, _, _ = call(self.options, "bench", self.plans["libraries"], "--warmup", 50, "--duration", self.options.seconds, "--profile")
        found = re.search(r"Library calls: .*", text)
        self.row["libraries"] = found.group(0) if found else "no launches"

    def run(self):
        tune = self.options.tune
        self.build("off", "none", "off")
        self.build("cold", "1", tune)
        self.build("warm", "1", tune)
        for number in range(self.options.again):
            self.build(f"again{number + 1}", str(number + 2), tune)
        self.compare()
        self.time()

    def run_libraries(self):
        self.build("libraries", "1", self.options.tune, "+cublaslt,+cudnn")
        self.time()
        self.share()


def print_row(row):
    for name, build in row["builds"].items():
        print(f"  {name:9} {build['seconds']:6.1f} s {build['peak_mib']:6} MiB {row.get('ms', {}).get(name, float('nan')):8.4f} ms  {build['said']}")
    for name, agreement in row.get("agree", {}).items():
        print(f"  {name}: {agreement['steps'] - len(agreement['different'])} of {agreement['steps']} steps as cold", *(f"\n    {d}" for d in agreement["different"][:6]))
    for key in ("libraries", "error"):
        if key in row:
            print(f"  {row[key]}")


def attempt(plans, stage):
    """A stage of one model, and what its row says by now; False: it failed."""
    try:
        stage(plans)
    except Failed as problem:
        plans.row["error"] = str(problem)
    print(plans.model.stem)
    print_row(plans.row)
    sys.stdout.flush()
    return "error" not in plans.row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", required=True)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--tune", default="quick")
    parser.add_argument("--again", type=int, default=1)
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one timing")
    parser.add_argument("--caches", help="where timing caches stay")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--budget", type=float, default=1e6)
    options = parser.parse_args()
    options.end = time.monotonic() + options.budget
    with tempfile.TemporaryDirectory() as folder:
        everything = [Plans(options, model, pathlib.Path(folder)) for model in options.models]
        failed = 0
        for stage in [Plans.run, Plans.run_libraries] if options.libraries else [Plans.run]:
            for plans in everything:
                failed += not attempt(plans, stage)
                if options.output:  # after each, since something may end this
                    options.output.write_text("".join(json.dumps(plans.row) + "\n" for plans in everything if plans.row["builds"] or "error" in plans.row))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
