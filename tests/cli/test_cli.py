#!/usr/bin/env python3
"""The program as its users meet it: commands, exit codes, messages, and files that stay whole. Usage: test_cli.py SMELT"""
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"
SMELT = "build/smelt"
OK, MISMATCH, USAGE, BAD_INPUT, WRONG_DEVICE = 0, 1, 2, 3, 4
COMMANDS = ("build", "run", "check", "bench", "inspect", "diff", "device", "ops", "doctor")


def smelt(*arguments, **options):
    return subprocess.run([SMELT, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class CliTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="smelt-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = MODELS / "mnist-8" / "model.onnx"
        self.data = MODELS / "mnist-8" / "test_data_set_0"
        self.plan = self.folder / "mnist.plan"

    def expect(self, done, code, *texts):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for text in texts:
            self.assertIn(text, output)

    def build(self, *arguments):
        self.expect(smelt("build", self.model, "-o", self.plan, *arguments), OK)


class Usage(CliTest):
    def test_help_of_each_command_has_an_example(self):
        for command in COMMANDS:
            self.expect(smelt(command, "--help"), OK, f"smelt {command}", "example:")

    def test_operators_and_forms(self):
        self.expect(smelt("ops"), OK, "\nSoftmax ", "\ncom.microsoft::FusedConv", "Conv Add", "\nSlice                                            1-9")
        self.expect(smelt("ops", "--markdown"), OK, "| Softmax | 13 |", "| form | opsets | becomes |", "| com.microsoft::QGemm | all |")

    def test_no_command_and_unknown_command(self):
        self.expect(smelt(), USAGE, "usage:")
        self.expect(smelt("forge"), USAGE, "unknown command 'forge'")

    def test_unknown_option_names_the_nearest(self):
        self.expect(smelt("run", self.model, "--outptu-dir", "x"), USAGE, "unknown option --outptu-dir", "did you mean --output-dir?")

    def test_missing_values_and_files(self):
        self.expect(smelt("build", self.model), USAGE, "-o FILE")
        self.expect(smelt("build"), USAGE, "1 file argument")
        self.expect(smelt("bench", self.model, "--iterations"), USAGE, "--iterations needs a value")
        self.expect(smelt("bench", self.model, "--iterations", "many"), USAGE, "expected an integer")

    def test_options_that_do_not_fit(self):
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=cpu", "--tune=fast"), USAGE, "--tune is 'fast', expected quick, full, first or off")
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=cpu", "--timing-cache=t.txt"), OK, "--timing-cache is not read")
        for command, option in (("run", "--shape=Input3:1x1x28x28"), ("run", "--target=cuda"), ("run", "--precision=fp16"), ("bench", "--disable-pass=fold_pad"),
                                ("bench", "--tune=quick"), ("bench", "--tactics=-conv_tiles"), ("check", "--gpu=sm_80"), ("check", "--kernel-variants=2")):
            data = ["--data", self.data] if command != "bench" else []
            self.expect(smelt(command, self.plan, option, *data), USAGE, option.split("=")[0] + " is for models")
        self.expect(smelt("check", self.plan), USAGE, "a plan does not say what is right")
        self.expect(smelt("check", self.plan, "--data", self.data, "--atol=0.1", "--precision=fp16"), OK, "check: passed")
        self.expect(smelt("check", self.model, "--data", self.data, "--range-error=1e-4"), OK, "check: passed")
        self.expect(smelt("check", self.model, "--data", self.data, "--range-error=1e-4", "--rtol=0.1"), USAGE, "--range-error takes the place of")
        self.expect(smelt("check", self.model, "--data", self.data, "--atol=0.1,0.2"), USAGE, "--atol has 2 tolerances for 1 outputs")

    def test_help_keeps_its_columns(self):
        """Long options have a line of their own."""
        lines = smelt("build", "--help").stdout.splitlines()
        options = [line for line in lines if line.startswith("  ") and line[36:37] == " " and not line.startswith("  smelt")]
        self.assertGreater(len(options), 20)
        long = [line for line in lines if line.startswith("      --precision")]
        self.assertEqual(long, ["      --precision fp32|tf32|fp16|bf16|best"])

    def test_unknown_pass_lists_the_passes(self):
        self.expect(smelt("build", self.model, "-o", self.plan, "--disable-pass", "alchemy"), USAGE, "alchemy", "fuse_vertical")

    def test_bad_shapes(self):
        for shape in ("data", "Input3:1x1x28xbig", "Input3:1x1x28"):
            self.assertIn(smelt("build", self.model, "-o", self.plan, "--shape", shape).returncode, (USAGE, BAD_INPUT), shape)
        self.assertFalse(self.plan.exists())

    def test_results_go_to_stdout_and_nothing_else(self):
        done = smelt("check", self.model, "--data", self.data, "--atol", "0.1")
        self.assertEqual(done.stdout, "check: passed\n")


class WholePath(CliTest):
    def test_build_run_check_inspect(self):
        self.build()
        out = self.folder / "out"
        self.expect(smelt("run", self.plan, "--data", self.data, "--output-dir", out), OK, "Plus214_Output_0: f32[1,10]")
        self.assertEqual([p.name for p in out.iterdir()], ["output_0.npy"])
        self.expect(smelt("check", self.model, "--data", self.data, "--atol", "0.1"), OK, "check: passed")
        self.expect(smelt("inspect", self.plan), OK, "Plus214_Output_0", "conv")
        self.expect(smelt("inspect", self.model), OK, "GMAC", "Conv", "Input3")
        json.loads(smelt("inspect", self.plan, "--json").stdout)
        json.loads(smelt("inspect", self.model, "--json").stdout)

    def test_outputs_can_be_inputs_again(self):
        """What run writes as .npy and .pb reads back as expected outputs of a data set."""
        for form in ("npy", "pb"):
            out = self.folder / form
            self.expect(smelt("run", self.model, "--data", self.data, "--output-dir", out, "--output-format", form), OK)
            shutil.copy(self.data / "input_0.pb", out)
            self.expect(smelt("check", self.model, "--data", out, "--rtol", "0", "--atol", "0"), OK, "check: passed")

    def test_check_says_what_differs(self):
        wrong = self.folder / "wrong"
        shutil.copytree(self.data, wrong)
        shutil.copy(MODELS / "mnist-8" / "test_data_set_1" / "output_0.pb", wrong)
        self.expect(smelt("check", self.model, "--data", wrong, "--range-error=1e-2", "--quiet"), MISMATCH, "FAILED")
        done = smelt("check", self.model, "--data", wrong, "--report", self.folder / "r.json")
        self.expect(done, MISMATCH, "check: FAILED", "Plus214_Output_0", "element", "got", "expected")
        self.assertFalse(json.loads((self.folder / "r.json").read_text())["passed"])

    def test_check_says_which_variant(self):
        data, report = self.folder / 'of "mnist"', self.folder / "v.json"
        shutil.copytree(self.data, data)
        several = ["check", self.model, "--kernel-variant=3", "--kernel-variants=2"]
        self.expect(smelt(*several, "--data", data, "--atol", "0.1", "--report", report), OK, "variant 3: ", "variant 4: ", "check: passed")
        self.assertEqual([(row["data"], row["variant"]) for row in json.loads(report.read_text())["outputs"]], [(str(data), 3), (str(data), 4)])
        self.expect(smelt(*several, "--data", self.folder / "absent"), BAD_INPUT, "variant 3: data ")
        for count in ("0", "-1", "1000001", "99999999999999999999", "two", ""):
            self.expect(smelt("check", self.model, f"--kernel-variants={count}"), USAGE, "--kernel-variants", "from 1 to 1000000")

    def test_check_without_data_uses_the_plain_graph(self):
        self.expect(smelt("check", self.model), OK, "check: passed")

    def test_one_plan_for_two_batches(self):
        folder = MODELS / "cifar10-winml"
        self.expect(smelt("check", folder / "model.onnx", "--data", folder / "test_data_set_0", "--data", folder / "test_data_set_1", "--atol",
                          "5e-5"), OK, "check: passed")

    def test_bench_reports_and_writes_json(self):
        done = smelt("bench", self.model, "--duration", "0.1", "--warmup", "10", "--profile", "--json", self.folder / "b.json")
        self.expect(done, OK, "Throughput:", "median", "percentile(99%)", "=== Profile ===", "us of a whole run", "=== ONNX nodes ===")
        figures = json.loads((self.folder / "b.json").read_text())
        self.assertGreater(figures["throughput_qps"], 0)
        profile = figures["profile"]
        self.assertAlmostEqual(profile["steps_us"] + profile["rest_us"], profile["measured_us"], 3)
        self.assertAlmostEqual(sum(node["us"] for node in profile["nodes"]), profile["steps_us"], 3)

    def test_plans_are_known_by_their_content(self):
        self.build()
        other = self.plan.rename(self.folder / "mnist.engine")
        self.expect(smelt("inspect", other), OK, "plan 1.")
        self.expect(smelt("run", other, "--data", self.data), OK, "Plus214_Output_0")

    def test_names_that_are_no_utf8(self):
        """JSON stays JSON whatever a model calls its values."""
        graph = self.folder / "names.ir"
        graph.write_bytes(b'smelt-ir 1\ngraph "g"\nblock "main" {\n  input %"x\xff\\"" : f32[2]\n  %"y<\xc3\xa9" : ? = Relu(%"x\xff\\"")\n  output %"y<\xc3\xa9"\n}\n')
        self.expect(smelt("build", graph, "-o", self.plan, "--target=cpu"), OK)
        model = json.loads(smelt("inspect", graph, "--json").stdout)
        self.assertEqual([model["inputs"][0]["name"], model["outputs"][0]["name"]], ["x\ufffd\"", "y<\u00e9"])
        plan = json.loads(smelt("inspect", self.plan, "--json").stdout)
        self.assertEqual([b["name"] for b in plan["bindings"]], ["x\ufffd\"", "y<\u00e9"])

    def test_diff(self):
        self.build()
        other = self.folder / "other.plan"
        self.expect(smelt("build", self.model, "-o", other, "--disable-pass", "fuse_vertical"), OK)
        self.expect(smelt("diff", self.plan, self.plan), OK, "0 differences")
        self.expect(smelt("diff", self.plan, other), MISMATCH, "difference")


    def test_random_inputs_have_the_usual_size(self):
        """Dynamic dimensions at the profile's optimum, and a hint where that does not fit."""
        graph = self.folder / "pool.ir"
        text = """smelt-ir 1
graph "pool"
symbol n min 1 opt %d max 64
block "main" {
  input %%x : f32[1,1,n]
  %%y : ? = MaxPool(%%x) {kernel_shape = [2], strides = [2]}
  output %%y
}
"""
        graph.write_text(text % 10)
        self.expect(smelt("run", graph, "--target=cpu", "--random"), OK, "y: f32[1,1,5]")
        graph.write_text(text % 1)
        self.expect(smelt("run", graph, "--target=cpu", "--random"), BAD_INPUT, "a kernel of 2", "hint: input 'x' is f32[1,1,1] here; --input gives another")
        self.expect(smelt("run", graph, "--target=cpu", "--random", "--shape=x:1x1x4"), USAGE, "are for ONNX models")

    def test_outputs_keep_their_names(self):
        """An input that is an output too, two outputs of one value, a constant: on both targets."""
        text = """smelt-ir 1
graph "names"
constant %k : f32[2] = {1, 2}
block "main" {
  input %x : f32[2]
  %x.1 : ? = Identity(%x)
  %r : ? = Relu(%x)
  %y : ? = Identity(%r)
  %z : ? = Identity(%r)
  %c : ? = Identity(%k)
  output %x.1 as "x"
  output %y
  output %z
  output %c
}
"""
        (self.folder / "names.ir").write_text(text)
        targets = ["--target=cpu"] + ["--gpu=sm_80"] * (re.search(r"^NVRTC +\d", smelt("doctor").stdout, re.MULTILINE) is not None)
        for target in targets:
            self.expect(smelt("build", self.folder / "names.ir", "-o", self.plan, target), OK)
            bindings = json.loads(smelt("inspect", self.plan, "--json").stdout)["bindings"]
            self.assertEqual([(b["name"], b["output"]) for b in bindings], [("x", False), ("x", True), ("y", True), ("z", True), ("c", True)])
        (self.folder / "x.bin").write_bytes(struct.pack("<2f", 3, -4))
        done = smelt("run", self.folder / "names.ir", "--target=cpu", "--input", f"x={self.folder / 'x.bin'}")
        self.expect(done, OK, "x: f32[2]", "y: f32[2]")


class Reproducible(CliTest):
    def test_same_bytes_every_time(self):
        self.build()
        first = digest(self.plan)
        for extra in (["--threads", "1"], ["--threads", "2"], ["--dump-dir", str(self.folder / "d")]):
            self.build(*extra)
            self.assertEqual(digest(self.plan), first, extra)

    def test_every_dump_continues_to_the_same_plan(self):
        dumps = self.folder / "dumps"
        self.build("--dump-dir", dumps)
        direct = smelt("inspect", self.plan, "--json").stdout
        files = sorted(dumps.glob("*.ir"))
        names = [f.stem.split("-", 1)[1] for f in files]
        self.assertGreaterEqual(len(files), 7)
        for dump, next_pass in zip(files[:-1], names[1:]):
            again = self.folder / "again.plan"
            self.expect(smelt("build", dump, "-o", again, "--from", next_pass), OK)
            data = smelt("check", self.model, "--data", self.data, "--atol", "0.1")
            self.expect(data, OK)
            self.assertEqual(len(json.loads(smelt("inspect", again, "--json").stdout)), len(json.loads(direct)))
            self.expect(smelt("run", again, "--data", self.data), OK, smelt("run", self.plan, "--data", self.data).stdout)

    def test_dumps_are_stable(self):
        for name in ("a", "b"):
            self.build("--dump-dir", self.folder / name)
        for file in (self.folder / "a").iterdir():
            self.assertEqual(digest(file), digest(self.folder / "b" / file.name), file.name)

    def test_stop_after_writes_no_plan(self):
        self.expect(smelt("build", self.model, "--stop-after", "fold_constants", "--dump-dir", self.folder / "d"), OK)
        self.assertFalse(self.plan.exists())

    def test_options_that_contradict_each_other(self):
        dumps = self.folder / "d"
        self.expect(smelt("build", self.model, "--stop-after", "recognise", "--disable-pass", "recognise"), USAGE, "both name 'recognise'")
        self.expect(smelt("build", self.model, "--stop-after", "recognise", "--dump-dir", dumps), OK)
        plan = self.folder / "stopped.plan"
        self.expect(smelt("build", self.model, "--stop-after", "recognise", "-o", plan), OK, "stopped.plan is not written: --stop-after=recognise ends")
        self.assertFalse(plan.exists())
        graph = next(dumps.glob("*-recognise.ir"))
        done = smelt("build", graph, "--from", "lower_precision", "--stop-after", "fold_pad")
        self.expect(done, USAGE, "pass 'fold_pad' comes before 'lower_precision'")

    def test_every_optional_pass_can_be_left_out(self):
        for name in ("fold_constants", "eliminate_dead", "canonicalize", "fold_batch_norm", "fuse_vertical"):
            done = smelt("check", self.model, "--data", self.data, "--atol", "0.1", "--disable-pass", name)
            self.expect(done, OK, "check: passed")


class BadInput(CliTest):
    def test_files_that_are_no_models(self):
        (self.folder / "empty.onnx").write_bytes(b"")
        (self.folder / "noise.onnx").write_bytes(bytes(range(256)) * 16)
        for name in ("empty.onnx", "noise.onnx", "absent.onnx", "."):
            self.expect(smelt("build", self.folder / name, "-o", self.plan), BAD_INPUT, "smelt:")
        self.assertFalse(self.plan.exists())

    def test_cut_and_flipped_models(self):
        whole = self.model.read_bytes()
        for cut in range(0, len(whole), len(whole) // 40):
            bad = self.folder / "cut.onnx"
            bad.write_bytes(whole[:cut])
            self.assertEqual(smelt("build", bad, "-o", self.plan).returncode, BAD_INPUT, f"cut at {cut}")
        for at in range(0, 2000, 37):
            flipped = bytearray(whole)
            flipped[at] ^= 0x55
            (self.folder / "flip.onnx").write_bytes(flipped)
            self.assertIn(smelt("build", self.folder / "flip.onnx", "-o", self.plan).returncode, (OK, BAD_INPUT), f"flip at {at}")

    def test_cut_and_flipped_plans(self):
        self.build()
        whole = self.plan.read_bytes()
        bad = self.folder / "bad.plan"
        for cut in range(0, len(whole), len(whole) // 40):
            bad.write_bytes(whole[:cut])
            self.expect(smelt("run", bad, "--data", self.data), BAD_INPUT, "smelt:")
        for at in range(0, len(whole), len(whole) // 60):
            flipped = bytearray(whole)
            flipped[at] ^= 0x01
            bad.write_bytes(flipped)
            self.assertIn(smelt("run", bad, "--data", self.data).returncode, (OK, BAD_INPUT), f"flip at {at}")

    def test_wrong_inputs(self):
        self.build()
        picture = self.data / "input_0.pb"
        self.expect(smelt("run", self.plan, "--input", f"Image={picture}"), USAGE, "names no input", "'Input3'")
        self.expect(smelt("run", self.plan), USAGE, "input 'Input3' is not given")
        other = MODELS / "cifar10-winml" / "test_data_set_0" / "input_0.pb"
        self.expect(smelt("run", self.plan, "--input", f"Input3={other}"), BAD_INPUT, "Input3")
        self.expect(smelt("run", self.plan, "--input", "Input3=absent.pb"), BAD_INPUT, "absent.pb")
        raw = self.folder / "short.bin"
        raw.write_bytes(b"1234")
        self.expect(smelt("run", self.plan, "--input", f"Input3={raw}"), BAD_INPUT, "short.bin")

    def test_unwritable_outputs(self):
        self.expect(smelt("build", self.model, "-o", self.folder / "no" / "such" / "m.plan"), BAD_INPUT, "m.plan")
        self.expect(smelt("build", self.model, "-o", self.folder), BAD_INPUT)
        (self.folder / "file").write_text("x")
        self.expect(smelt("run", self.model, "--data", self.data, "--output-dir", self.folder / "file" / "x"), BAD_INPUT)

    def test_the_model_is_not_replaced(self):
        model = self.folder / "m.onnx"
        shutil.copy(self.model, model)
        (self.folder / "link.onnx").symlink_to(model)
        for output in (model, self.folder / "." / "m.onnx", self.folder / "link.onnx"):
            self.expect(smelt("build", model, "-o", output, "--target=cpu"), USAGE, "is the model itself")
        self.assertEqual(digest(model), digest(self.model))

    def test_unwritable_files_are_found_before_the_work(self):
        nowhere = self.folder / "no" / "such" / "file"
        for command in (["build", self.folder / "absent.onnx", "-o", nowhere], ["study", self.folder / "absent.onnx", "--html", nowhere],
                        ["check", self.folder / "absent.onnx", "--report", nowhere], ["bench", self.folder / "absent.onnx", "--json", nowhere]):
            self.expect(smelt(*command), BAD_INPUT, f"cannot write '{nowhere}'")

    @unittest.skipUnless(pathlib.Path("/dev/full").exists(), "no /dev/full")
    def test_lost_results_are_failures(self):
        for arguments in (["doctor"], ["--help"], ["--version"], ["ops"], ["inspect", self.model], ["study", self.model, "--target=cpu", "--no-run", "--json"],
                          ["check", self.model, "--target=cpu"], ["run", self.model, "--target=cpu", "--random"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([SMELT, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
            self.assertEqual(done.returncode, BAD_INPUT, arguments)
            self.assertIn("standard output cannot be written", done.stderr)

    def test_a_data_folder_without_inputs(self):
        for folder in (self.folder, self.folder / "absent"):
            self.expect(smelt("run", self.model, "--target=cpu", "--data", folder), BAD_INPUT, f"'{folder}' has no input_0.pb or input_0.npy")

    def test_full_disk_leaves_the_old_plan(self):
        """A limit on file sizes makes writes fail as a full disk does."""
        self.build()
        before = digest(self.plan)

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        done = smelt("build", self.model, "-o", self.plan, "--disable-pass", "fuse_vertical", preexec_fn=limit)
        self.expect(done, BAD_INPUT, "mnist.plan")
        self.assertEqual(digest(self.plan), before)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["mnist.plan"])

    def test_interrupted_builds_leave_the_old_plan(self):
        self.build()
        before = digest(self.plan)
        for delay in (0.0, 0.001, 0.003, 0.006, 0.01, 0.02):
            process = subprocess.Popen([SMELT, "build", str(self.model), "-o", str(self.plan)], stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            process.wait()
            self.assertEqual(digest(self.plan), before)

    def test_bounded_memory(self):
        """Bad input is refused with 1 GiB of address space to spare."""
        self.build()
        (self.folder / "noise.onnx").write_bytes(os.urandom(4096))
        (self.folder / "noise.plan").write_bytes(self.plan.read_bytes()[:64] + os.urandom(4096))
        for name, command in (("noise.onnx", "inspect"), ("noise.plan", "inspect")):
            if "asan" in SMELT:
                continue  # its shadow memory takes address space without end
            done = smelt(command, self.folder / name, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
            self.expect(done, BAD_INPUT)


class WithoutGpu(CliTest):
    """GPU plans where there is no GPU: they can be built, inspected and compared, and say why they do not run."""

    def setUp(self):
        super().setUp()
        self.hidden = {**os.environ, "SMELT_CUDA_LIBRARY": "libno_such_driver.so"}
        if "NVRTC            no " in smelt("doctor", env=self.hidden).stdout:
            self.skipTest("no NVRTC")

    def test_target_is_chosen_and_said(self):
        done = smelt("build", self.model, "-o", self.plan, env=self.hidden)
        self.expect(done, OK, "target: cpu (no GPU here)")
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=cuda", env=self.hidden), WRONG_DEVICE, "--gpu=native: no CUDA driver", "--gpu=sm_90")
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=tpu"), USAGE, "expected cuda or cpu")
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=cpu", "--gpu=sm_90"), USAGE, "--gpu goes with --target=cuda")
        self.expect(smelt("build", self.model, "-o", self.plan, "--gpu=sm_12"), USAGE, "unknown GPU architecture 'sm_12'")

    def test_tactics_are_switched(self):
        self.expect(smelt("build", self.model, "-o", self.plan, "--target=cpu", "--tactics=-conv_tiles"), USAGE, "--tactics goes with --target=cuda")
        self.expect(smelt("build", self.model, "-o", self.plan, "--gpu=sm_80", "--tactics=+conv_x"), USAGE, "tactics: there is no 'conv_x'")
        self.expect(smelt("build", self.model, "-o", self.plan, "--gpu=sm_80", "--tactics=conv_tiles"), USAGE, "'conv_tiles' has no sign")
        self.expect(smelt("build", MODELS / "yunet-n-320" / "model.onnx", "-o", self.plan, "--gpu=sm_80", "--tactics=-conv_tiles,+conv_tf32x3"), OK)
        self.expect(smelt("inspect", self.plan), OK, "tactics", "-conv_tiles,+conv_tf32x3", "conv_tf32x3 ")

    def test_gpus_by_name_and_file(self):
        mine = self.folder / "mine.gpu"
        mine.write_text(smelt("device", "describe", "rtx4090").stdout)
        self.build(f"--gpu=a100,{mine}")
        self.expect(smelt("inspect", self.plan), OK, "for sm_80, sm_89", "a100 (specification), rtx4090 (specification)")
        mine.write_text(mine.read_text().replace("sm_count 128", "sm_count 64"))
        self.expect(smelt("build", self.model, "-o", self.plan, f"--gpu={mine}"), BAD_INPUT, "mine.gpu: line 38: the hash does not fit")
        mine.write_text("\n".join(mine.read_text().split("\n")[:-2]) + "\nend\n")
        self.build(f"--gpu={mine}")
        self.expect(smelt("build", self.model, "-o", self.plan, f"--gpu={self.folder}/none.gpu"), BAD_INPUT, "none.gpu")
        self.expect(smelt("build", self.model, "-o", self.plan, "--gpu=h100,h200"), USAGE, "'h100' and 'h200' are both sm_90a")

    def test_slow_steps_are_listed(self):
        for size, slow in ((300, True), (64, False)):
            graph = self.folder / "heads.ir"
            graph.write_text(f'smelt-ir 1\ngraph "g" opset 24\nblock "main" {{\n  input %x : f16[1,2,5,{size}]\n'
                             f'  %y : f16[1,2,5,{size}] = Attention(%x, %x, %x)\n  output %y\n}}\n')
            done = smelt("build", graph, "-o", self.plan, "--gpu=sm_90", "--tune=off")
            self.expect(done, OK, *["warning: slow, for want of a fast kernel: 1 steps (Attention 'y' by attention)"] * slow)
            self.assertEqual("slow" in done.stderr, slow)
            self.assertEqual("tactic: attention (the preferred one), slow\n" in smelt("inspect", self.plan).stdout, slow)

    def test_a_cache_folder_that_cannot_be_made(self):
        done = smelt("build", self.model, "-o", self.plan, "--gpu=sm_80", "--cache-dir", self.model)
        self.expect(done, OK, f"warning: compiled kernels are not kept: no folder can be made in '{self.model}'")

    def test_build_inspect_and_refusal(self):
        self.build("--gpu=sm_80,sm_90")
        first = digest(self.plan)
        self.expect(smelt("inspect", self.plan), OK, "for cuda", "for sm_80, sm_90a", "launches on sm_80, ", ", 0 steps on the host", "grid ")
        steps = json.loads(smelt("inspect", self.plan, "--json").stdout)["steps"]
        self.assertTrue(all(step["device"] for step in steps))
        self.expect(smelt("run", self.plan, "--data", self.data, env=self.hidden), WRONG_DEVICE, "no CUDA driver", "--target=cpu")
        self.expect(smelt("doctor", env=self.hidden), OK, "only plans for the CPU target run here")
        self.build("--gpu=sm_80,sm_90", "--cache-dir", self.folder / "cache")
        self.assertEqual(digest(self.plan), first, "two builds differ")


if __name__ == "__main__":
    SMELT = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else SMELT
    unittest.main()
