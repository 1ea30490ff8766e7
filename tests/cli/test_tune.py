#!/usr/bin/env python3
"""Tuning and timing caches where there is no GPU, or one that computes nothing: what is refused, what is kept."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

smelt, fake, idle = sys.argv[1:4]
model = pathlib.Path(__file__).resolve().parents[1] / "models" / "mnist-8" / "model.onnx"
PRODUCT = """smelt-ir 1
graph "g"
block "main" {
  input %a : f16[256,256]
  input %b : f16[256,256]
  %c : f16[256,256] = MatMul(%a, %b)
  output %c
}
"""
OTHER = "smelt-timings 1\ngpu Other GPU sm_90 driver 13.0\nend 0 8350594203131f1e\n"
failures = 0


def environment_of(driver):
    return {**os.environ, "SMELT_LOG": "info", **({"SMELT_CUDA_LIBRARY": driver} if driver else {})}


def run(*arguments, gpu=False, quiet=False, driver=None):
    environment = environment_of(driver or (fake if gpu else None))
    if quiet:
        environment["SMELT_LOG"] = "error"
    done = subprocess.run([smelt, *map(str, arguments)], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def expect(name, result, code, text):
    global failures
    fine = result[0] == code and text in result[1]
    failures += not fine
    print(f"{'ok  ' if fine else 'FAIL'} {name}")
    if not fine:
        print(f"     expected exit {code} and '{text}', got {result[0]}:\n{result[1][-1500:]}")


def zeros(path, rows, large=0):
    """What a driver that runs no kernel gets right: products with zero; and a large matrix turned."""
    inputs = [f"  input %x{i} : f32[{n},40]" for i, n in enumerate(rows)]
    nodes = [f"  %y{i} : f32[{n},40] = Mul(%x{i}, %w)" for i, n in enumerate(rows)]
    outputs = [f"  output %y{i}" for i in range(len(rows))]
    if large:
        inputs.append(f"  input %p : f32[{large},{large}]")
        nodes.append(f"  %q : f32[{large},{large}] = Transpose(%p) {{perm = [1, 0]}}")
        outputs.append("  output %q")
    path.write_text("\n".join(["smelt-ir 1", 'graph "zeros"', "constant %w : f32[] = {0}", 'block "main" {', *inputs, *nodes, *outputs, "}", ""]))


def rows_in(timings):
    return sum(line.startswith("Mul") for line in timings.read_text().split("\n")) if timings.exists() else 0


def measure_zeros(folder, cache):
    """What a GPU measures, where one can be had: an interrupted tuning keeps it, and memory that is short skips a candidate."""
    graph, plan, timings = folder / "zeros.ir", folder / "z.plan", folder / "zeros.txt"
    zeros(graph, [16, 32, 64])
    tune = ["tune", graph, "--tune=quick", "--cache-dir", cache, "--timing-cache", timings]
    expect("measuring", run(*tune, driver=idle), 0, " us measured ")
    whole = rows_in(timings)
    expect("all is kept", (0, str(whole)), 0, str(3 * 3))
    expect("and not measured again", (0, str("tuned" in run(*tune, driver=idle)[1])), 0, "False")
    expect("a plan says so", run("build", graph, "-o", plan, "--cache-dir", cache, "--gpu=sm_90", "--timing-cache", timings), 0, "z.plan")
    expect("of each step", run("inspect", plan), 0, " (measured, 1.0 us)")
    near = folder / "near.ir"
    zeros(near, [48])
    build = ["build", near, "-o", plan, "--cache-dir", cache, "--gpu=sm_90", "--timing-cache", timings]
    expect("a problem between those", run(*build), 0, "z.plan")
    expect("is estimated", run("inspect", plan), 0, " (interpolated, ")
    expect("not measured", run("tune", near, "--gpu=sm_90", "--timing-cache", timings), 0, " us interpolated ")
    expect("and not kept", run("inspect", timings), 0, f"{whole} times of 3 problems")
    timings.unlink()
    process = subprocess.Popen([smelt, *map(str, tune)], env=environment_of(idle), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and rows_in(timings) == 0:
        time.sleep(0.001)
    process.kill()
    process.wait()
    kept = rows_in(timings)
    expect("an interrupted tuning keeps what it measured", run("inspect", timings), 0, f"{kept} times of")
    expect("some of it", (0, str(0 < kept <= whole)), 0, "True")
    expect("and goes on from there", run(*tune, driver=idle), 0, f"tuned: {whole - kept} tactics" if kept < whole else " us measured ")
    expect("to the same end", (0, str(rows_in(timings))), 0, str(whole))
    mine = folder / "mine.gpu"
    described = run("device", "describe", "--cache-dir", cache, driver=idle, quiet=True)
    mine.write_text(described[1])
    expect("a GPU is described", described, 0, "label measured")
    expect("by a launch's time", described, 0, "launch_us 1\n")
    expect("and plans are made for it", run("build", graph, "-o", plan, "--cache-dir", cache, f"--gpu={mine}"), 0, "z.plan")
    expect("which they name", run("inspect", plan), 0, "fake_gpu_0 (measured)")
    expect("no GPU to describe", run("device", "describe"), 4, "no GPU to describe: ")
    expect("one whose kernels do not load", run("device", "describe", "--cache-dir", cache, gpu=True), 4, "does not load")
    # 64 MiB is what the driver has.
    zeros(graph, [16], large=4096)
    result = run("build", graph, "-o", plan, "--cache-dir", cache, "--gpu=native", "--tune=quick", "--timing-cache", timings, driver=idle)
    expect("too little memory to time", result, 0, "inputs and outputs do not fit on Fake GPU 0")
    expect("is no fault of the build", (0, result[1]), 0, "z.plan: 2 steps")


def measure_ways(folder, cache):
    """A pass has the steps of a block timed in sequence, as they are and as one, where a launch takes 1 us; a cache tells others."""
    graph, plan, timings = folder / "block.ir", folder / "w.plan", folder / "ways.txt"
    weights = {"v": "144,24,1,1", "d": "144,1,3,3", "p": "24,144,1,1"}
    counts = {"v": 144 * 24, "d": 144 * 9, "p": 24 * 144}
    graph.write_text("\n".join([
        "smelt-ir 1", 'graph "block" opset 22',
        *(f"constant %{name} : f16[{shape}] = {{{', '.join(['0'] * counts[name])}}}" for name, shape in weights.items()),
        'block "main" {', "  input %x : f16[2,24,7,7]", "  %y : f16[2,24,7,7] channels_last = smelt::Reformat(%x)",
        "  %a : f16[2,144,7,7] channels_last = Conv(%y, %v)",
        "  %b : f16[2,144,7,7] channels_last = Conv(%a, %d) {group = 144, pads = [1,1,1,1]}",
        "  %c : f16[2,24,7,7] channels_last = Conv(%b, %p)", "  %z : f16[2,24,7,7] = smelt::Reformat(%c)", "  output %z", "}", ""]))
    # Without conv_wgmma, whose tiles the driver has too little shared memory for.
    build = ["build", graph, "--from=fuse_blocks", "-o", plan, "--cache-dir", cache, "--tactics=-conv_wgmma"]
    expect("a block, modelled", run(*build, "--gpu=sm_90"), 0, "w.plan: 5 steps")
    tuned = [*build, "--gpu=native", "--tune=first", "--timing-cache", timings]
    expect("measured", run(*tuned, driver=idle), 0, "w.plan: 3 steps")
    expect("is one step", run("inspect", timings), 0, "1.00 us by conv_inverted.")
    expect("and its steps three", run("inspect", timings), 0, "3.00 us by ")
    again = run(*tuned, driver=idle)
    expect("again", again, 0, "w.plan: 3 steps")
    expect("not measured again", (0, str("choices of passes" in again[1])), 0, "False")
    expect("elsewhere", run(*build, "--gpu=sm_90", "--timing-cache", timings), 0, "w.plan: 3 steps")


def measure_large(folder, cache):
    """Of a result of more than 32 MiB pieces are compared: zeros are what a driver that runs nothing leaves, other products are not."""
    graph, timings = folder / "large.ir", folder / "large.txt"
    for factor, expected in ((0, " us measured "), (1, "its results are not those of the reference")):
        graph.write_text("\n".join([
            "smelt-ir 1", 'graph "large"', f"constant %w : f32[1,4500] = {{{', '.join(['0'] * 4499)}, {factor}}}", 'block "main" {',
            "  input %x : f32[2048,1]", "  %y : f32[2048,4500] = Mul(%x, %w)", "  output %y", "}", ""]))
        timings.unlink(missing_ok=True)
        tune = ["tune", graph, "--tune=first", "--cache-dir", cache, "--timing-cache", timings]
        expect(f"a large result, a column of {factor}", run(*tune, driver=idle), 0, expected)


def measure_infinite(folder, cache):
    """Zeros in place of infinities are other results."""
    graph, timings = folder / "infinite.ir", folder / "infinite.txt"
    for operator, expected in (("Mul", " us measured "), ("Div", "its results are not those of the reference")):
        graph.write_text("\n".join([
            "smelt-ir 1", 'graph "infinite"', "constant %w : f32[1,4] = {0, 0, 0, 0}", 'block "main" {', "  input %x : f32[2048,4]",
            f"  %y : f32[2048,4] = {operator}(%x, %w)", "  output %y", "}", ""]))
        timings.unlink(missing_ok=True)
        tune = ["tune", graph, "--tune=first", "--cache-dir", cache, "--timing-cache", timings]
        expect(f"{operator} by zero", run(*tune, driver=idle), 0, expected)


def profile_zeros(folder, cache):
    """Where the time goes on a GPU whose launches take 1 us, and whose events are 250 us apart without any."""
    graph, plan, figures = folder / "zeros.ir", folder / "p.plan", folder / "bench.json"
    zeros(graph, [16, 32, 64, 128])
    run("build", graph, "-o", plan, "--cache-dir", cache, "--gpu=sm_90")
    bench = ["bench", plan, "--profile", "--duration", "0", "--warmup", "0", "--json", figures]
    expect("a profile", run(*bench, driver=idle), 0, "   250.00  98.43%  start of the first CUDA graph")
    profile = json.loads(figures.read_text())["profile"]
    expect("says where all time goes", (0, f"{profile['measured_us']:.3f} {abs(profile['rest_us']):.3f}"), 0, "254.000 0.000")
    expect("by step", (0, str([round(step["us"], 3) for step in profile["steps"]])), 0, "[1.0, 1.0, 1.0, 1.0]")
    expect("and node", (0, str(sum(node["us"] for node in profile["nodes"]))[:4]), 0, "4.0")


def main():
    if re.search(r"^NVRTC +\d", run("doctor")[1], re.MULTILINE) is None:
        print("skipped: no NVRTC")
        return 77
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plan, cache, timings = folder / "m.plan", folder / "cache", folder / "t.txt"
        build = ["build", model, "-o", plan, "--cache-dir", cache]
        expect("an unknown effort", run(*build, "--gpu=sm_90", "--tune=fast"), 2, "--tune is 'fast', expected quick, full, first or off")
        expect("tune without a GPU", run("tune", model, "--cache-dir", cache), 4, "--gpu=native: ")
        # Where there is no GPU, or it is another one, a table is of the model's times.
        line = "*MatMul($0 $1) + Relu(%0.0) | f16[1024, 1024] f16[1024, 1024]= -> %1.0:f16[1024, 1024]"
        expect("a problem's line", run("tune", line, "--gpu=h200"), 0, " GFLOP, 6.29 MB, roofline 2.72 us")
        expect("with the model's times", run("tune", line, "--gpu=h200"), 0, " us modelled ")
        table = json.loads(run("tune", line, "--gpu=h200", "--json", quiet=True)[1])
        choices = table["problems"][0]["choices"]
        expect("as JSON", (0, table["problems"][0]["problem"]), 0, line)
        expect("of all tactics", (0, " ".join({choice["tactic"] for choice in choices})), 0, "matmul_tiles")
        expect("the least first", (0, str(choices == sorted(choices, key=lambda choice: choice.get("us", 1e9)))), 0, "True")
        expect("a graph", run("tune", model, "--gpu=h100", "--filter", "MaxPool"), 0, "2 problems on h100 (specification), times of the model alone")
        expect("a wrong line", run("tune", line.replace("Relu", "Rule"), "--gpu=h200"), 2, "the problem's line, character 22: expected an operator")
        kernels = folder / "kernels"
        expect("only compiled", run("tune", line, "--gpu=h200", "--tune=first", "--compile-only", "--cache-dir", kernels), 0, " us modelled ")
        expect("for a later tuning, with what results are compared with", (0, str(len(list(kernels.rglob("*.cubin"))))), 0, "2")
        expect("two lines", run("tune", line, line.replace("Relu", "Sigmoid"), "--gpu=h200"), 0, "2 problems on h200")
        expect("a line and a model", run("tune", line, model, "--gpu=h200"), 2, "model.onnx' is no problem's line")
        expect("two GPUs", run("tune", line, "--gpu=h200,a100"), 2, "tune is for one GPU, 2 are named")
        # A GPU whose kernels do nothing: every candidate's numbers are wrong, and the build goes on without them.
        expect("wrong numbers lose", run(*build, "--gpu=native", "--tune=quick", "--timing-cache", timings, gpu=True), 0, "left out of the search")
        expect("a cache is kept", (0, timings.read_text()), 0, "smelt-timings 1\ngpu Fake GPU 0 sm_90")
        expect("showing it", run("inspect", timings), 0, "0 times of 0 problems on Fake GPU 0 sm_90 driver 13.0; 0 of tactics that smelt has no more")
        expect("merging", run("cache", "merge", timings, timings, "-o", folder / "all.txt"), 0, "0 times for Fake GPU 0")
        expect("merged, the same", (0, (folder / "all.txt").read_text()), 0, timings.read_text())
        expect("a cache of another architecture", run(*build, "--gpu=sm_80", "--timing-cache", timings), 3, "are no use for 'sm_80'")
        expect("a cache of another GPU", run(*build, "--gpu=h100", "--timing-cache", timings), 3, "times of 'Fake GPU 0 sm_90 driver 13.0' are no use for 'NVIDIA H100 80GB HBM3'")
        expect("a cache for an absent GPU", run(*build, "--gpu=sm_90", "--timing-cache", timings), 0, "m.plan")
        expect("a cache that is not there", run(*build, "--gpu=sm_90", "--timing-cache", folder / "none.txt"), 3, "none.txt")
        whole = timings.read_bytes()
        timings.write_bytes(whole[:-3])
        expect("showing one cut off", run("inspect", timings), 3, "t.txt: line 2: ")
        expect("a cache cut off", run(*build, "--gpu=sm_90", "--timing-cache", timings), 3, "t.txt")
        expect("merging one cut off", run("cache", "merge", timings, "-o", folder / "all.txt"), 3, "t.txt")
        for file in (cache / "timings").glob("*"):
            file.unlink()
        (cache / "timings").mkdir(exist_ok=True)
        own = cache / "timings" / "Fake_GPU_0_sm_90_driver_13.0.txt"
        own.write_bytes(whole[:-3])
        expect("its own cache cut off", run(*build, "--gpu=native", "--tune=off", gpu=True), 0, "is left aside")
        own.write_text(OTHER)
        expect("its own cache of another GPU", run(*build, "--gpu=native", "--tune=off", gpu=True), 0, "is left aside: it is of another GPU")
        (folder / "other.txt").write_text(OTHER)
        timings.write_bytes(whole)
        expect("merging caches of two GPUs", run("cache", "merge", timings, folder / "other.txt", "-o", folder / "all.txt"), 2, "do not go together")
        timings.write_bytes(whole.replace(b"Fake GPU 0", b"Fake GPU 1"))
        expect("a cache that was edited", run(*build, "--gpu=sm_90", "--timing-cache", timings), 3, "the hash does not fit: the file was edited")
        # What is reproducible is so whatever GPU is here and whatever was measured before; a named cache is part of the input.
        own.write_bytes(whole[:-3])
        here, there, named = folder / "here.plan", folder / "there.plan", folder / "named.plan"
        native = run("build", model, "-o", here, "--cache-dir", cache, "--gpu=native", "--reproducible", gpu=True)
        expect("reproducible: built", native, 0, "here.plan")
        expect("reproducible: nothing measured, no default cache", (0, str([word for word in ("tuned", "left out", "left aside") if word in native[1]])), 0, "[]")
        own.unlink()
        expect("reproducible: again", run("build", model, "-o", there, "--cache-dir", folder / "other", "--gpu=native", "--reproducible", gpu=True), 0, "there.plan")
        expect("whatever was measured before: the same bytes", (int(here.read_bytes() != there.read_bytes()), ""), 0, "")
        timings.write_bytes(whole)
        expect("reproducible by a named cache", run("build", model, "-o", named, "--cache-dir", cache, "--gpu=native", "--reproducible", "--timing-cache", timings, gpu=True), 0, "named.plan")
        expect("a named cache that is not there", run(*build, "--gpu=native", "--reproducible", "--timing-cache", folder / "none.txt", gpu=True), 3, "none.txt")
        expect("not made without tuning", run(*build, "--gpu=native", "--tune=off", "--timing-cache", folder / "none.txt", gpu=True), 3, "none.txt")
        expect("contradictory flags", run(*build, "--gpu=sm_90", "--reproducible", "--tune=full"), 2, "--reproducible and --tune=full contradict")
        expect("flags that agree", run(*build, "--gpu=sm_90", "--reproducible", "--tune=off"), 0, "m.plan")
        (folder / "p.ir").write_text(PRODUCT)
        for name, flags, wanted in ("timed", [], [True, True]), ("untimed", ["--reproducible"], [True, False]):
            run("build", folder / "p.ir", "-o", plan, "--cache-dir", cache, "--gpu=sm_90", *flags)
            said = run("inspect", plan)[1]
            expect(f"{name}: how tactics were chosen", (0, str(["(modelled" in said, " us)" in said])), 0, str(wanted))
        measure_zeros(folder, cache)
        measure_large(folder, cache)
        measure_infinite(folder, cache)
        measure_ways(folder, cache)
        profile_zeros(folder, cache)
        expect("merging nothing", run("cache", "merge"), 2, "cache")
        expect("another word", run("cache", "sort", timings, "-o", timings), 2, "'sort' is not 'merge'")
    print(f"{failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
