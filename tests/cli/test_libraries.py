#!/usr/bin/env python3
"""Calls of cuBLASLt and cuDNN, which the fake driver has too: switches, what a plan says of them, and results."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

smelt, fake = sys.argv[1:3]
HERE = {"SMELT_CUDA_LIBRARY": fake, "SMELT_CUBLASLT_LIBRARY": fake, "SMELT_CUDNN_LIBRARY": fake}
GONE = {"SMELT_CUDA_LIBRARY": fake, "SMELT_CUBLASLT_LIBRARY": "/nowhere/a.so", "SMELT_CUDNN_LIBRARY": "/nowhere/b.so"}
# Everything else that could do these steps is off, so that nothing needs a kernel.
TACTICS = (pathlib.Path(__file__).resolve().parents[2] / "kernels" / "tactics.def").read_text()
ALONE = "--tactics=+cublaslt,+cudnn," + ",".join("-" + name for name in re.findall(r"^TACTIC\(((?:conv|matmul)_\w+)\)", TACTICS, re.MULTILINE))
WEIGHTS = ", ".join(str((7 * i) % 11 - 5) for i in range(4 * 3 * 3 * 2))
GRAPH = f"""smelt-ir 1
graph "calls"
constant %cw : f32[4,2,3,3] = {{{WEIGHTS}}}
constant %cb : f32[4] = {{1, -2, 3, 0.5}}
constant %zero : f32[] = {{0}}
constant %six : f32[] = {{6}}
block "main" {{
  input %a : f32[2,3,8]
  input %b : f32[8,5]
  input %bias : f32[5]
  input %c : f32[2,3,5]
  input %d : f32[2,3,4,8]
  input %e : f32[2,3,8,6]
  input %f : f32[8,9]
  input %g : f32[7,8]
  input %h : f32[1,7]
  input %x : f32[3,4,1,1]
  region "row+matrix+relu" anchor 0 {{
    %a1 : f32[2,3,5] = MatMul(%a, %b)
    %a2 : f32[2,3,5] = Add(%a1, %bias)
    %a3 : f32[2,3,5] = Add(%c, %a2)
    %a4 : f32[2,3,5] = Relu(%a3)
  }}
  %d1 : f32[2,3,4,6] = MatMul(%d, %e)
  %f1 : f32[9,7] = Gemm(%f, %g, %h) {{transA = 1, transB = 1}}
  region "conv+clip" anchor 0 {{
    %x1 : f32[3,4,1,1] = Conv(%x, %cw, %cb) {{group = 2, pads = [1,1,1,1]}}
    %x2 : f32[3,4,1,1] = Clip(%x1, %zero, %six)
  }}
  output %a4
  output %d1
  output %f1
  output %x2
}}
"""
failures = 0


def expect(name, arguments, code, *texts, libraries=HERE):
    global failures
    done = subprocess.run([smelt, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, **libraries})
    text = done.stdout + done.stderr
    fine = done.returncode == code and all(part in text for part in texts)
    failures += not fine
    print(f"{'ok  ' if fine else 'FAIL'} {name}")
    if not fine:
        print(f"     expected exit {code} and {texts}, got {done.returncode}:\n{text[-3000:]}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        graph, plan = folder / "calls.ir", folder / "calls.plan"
        graph.write_text(GRAPH)
        options = ["--target=cuda", "--precision=tf32", "--calib=off", "--tune=off", f"--cache-dir={folder}"]
        expect("what is here", ["doctor"], 0, "cuBLASLt         99.0.1 (", "cuDNN            99.0.1 (")
        expect("what is not", ["doctor"], 0, "cuDNN (libcudnn.so.9) is not installed", "only plans that are built with --tactics=+cudnn need it", libraries=GONE)
        expect("asked for and not here", ["build", graph, "-o", plan, *options, "--tactics=+cudnn"], 4, "cuDNN (libcudnn.so.9) is not installed", "SMELT_CUDNN_LIBRARY", libraries=GONE)
        for variant in (0, 1, 3):
            results = ["check", graph, *options, ALONE, "--rtol=1e-5", f"--kernel-variant={variant}"]
            expect(f"results, variant {variant}", results, 0, "check: passed")
        expect("two variants, one behind the other", ["check", graph, *options, ALONE, "--rtol=1e-5", "--kernel-variants=2"], 0, "check: passed")
        expect("names the one that fails", ["check", graph, *options, ALONE, "--rtol=1e-5", "--kernel-variant=1", "--kernel-variants=3"], 4, "the plan wants number 1", "calls.ir, variant 2")
        expect("and the one that is wrong", ["check", graph, *options, ALONE, "--min-cosine=2", "--kernel-variant=1", "--kernel-variants=2"], 1, "check: FAILED variant 1: random output")
        expect("of models only", ["check", plan, "--kernel-variants=2"], 2, "--kernel-variants is for models")
        expect("a way that there is not", ["check", graph, *options, ALONE, "--kernel-variant=2"], 4, "cuBLASLt knows 1 ways to do a product; the plan wants number 1")
        expect("a plan of calls", ["build", graph, "-o", plan, *options, ALONE], 0, "4 steps")
        expect("says what it needs", ["inspect", plan], 0, "needs      cuBLASLt 99.0.1", "needs      cuDNN 99.0.1", "0 steps on the host",
               "cublaslt f32[1, 6, 8] * f32[1, 8, 5] + add + add + relu, choice 0, workspace 0 B", "cublaslt f32[6, 4, 8] * f32[6, 8, 6], choice 0",
               "cublaslt f32[1, 9, 8] * f32[1, 8, 7] + add, choice 0", "cudnn f32[3, 4, 1, 1] * f32[4, 2, 3, 3] + add + relu6, choice 0", "tactic: cudnn 0,0 (modelled")
        expect("as JSON", ["inspect", plan, "--json"], 0, '{"library": "cublaslt", ')
        expect("runs", ["bench", plan, "--iterations=3", "--duration=0", "--warmup=0"], 0, "Library calls: 4 of 4 launches (the goal is none)")
        expect("and its share of the time", ["bench", plan, "--iterations=3", "--duration=0", "--warmup=0", "--profile"], 0, "Library calls: 4 of 4 launches", " lib  conv+clip ")
        expect("but not without them", ["run", plan], 4, "the plan calls a library: cuBLASLt (libcublasLt.so.13) is not installed", "or build the plan with --tactics=-cublaslt", libraries=GONE)
        # The only tactic whose plans the fake driver can run is the library's.
        timings = ["tune", "*MatMul($0 $1) + Relu(%0.0) | f32[12, 12] f32[12, 12] -> %1.0:f32[12, 12]", "--tune=quick", f"--cache-dir={folder}", "--tactics=+cublaslt"]
        expect("times beside the others", timings, 0, "cublaslt.1               0,0                           10.00 us measured")
        expect("off by default", ["build", graph, "-o", plan, *options, "--gpu=sm_90"], 0, libraries=GONE)
        expect("which shows", ["inspect", plan], 0, "plan 1.4 for cuda", "tactic: matmul_", libraries=GONE)
        expect("switched off by name", ["build", graph, "-o", plan, *options, "--tactics=-cublaslt,-cudnn"], 0, libraries=GONE)
    print(f"{failures} failed")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
