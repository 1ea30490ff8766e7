#!/usr/bin/env python3
"""Reduced precision as users meet it: what stays f32, errors that are measured and enforced, flags that contradict. Usage: test_precision.py SMELT"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
MADE = ROOT / "precision"
SMELT = "build/smelt"
OK, MISMATCH, USAGE, BAD_INPUT = 0, 1, 2, 3


def smelt(*arguments):
    return subprocess.run([SMELT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


class PrecisionTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="smelt-precision-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = MODELS / "mnist-8" / "model.onnx"
        self.data = MODELS / "mnist-8" / "test_data_set_0"
        self.plan = self.folder / "x.plan"

    def expect(self, done, code, *texts):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for text in texts:
            self.assertIn(text, output)

    def build(self, *arguments, code=OK, texts=(), model=None):
        done = smelt("build", model or self.model, "-o", self.plan, "--target=cpu", *arguments)
        self.expect(done, code, *texts)

    def meta(self):
        return json.loads(smelt("inspect", self.plan, "--json").stdout)["meta"]

    def values(self):
        return json.loads(smelt("inspect", self.plan, "--json").stdout)["values"]


class Overflow(PrecisionTest):
    """Models that f16 cannot hold come out right, since what overflows stays f32."""

    def check(self, name, *options):
        self.expect(smelt("check", MADE / name, "--target=cpu", "--seed=3", *options), OK, "check: passed")

    def test_normalisation_of_large_values_and_of_small_ones_beside_an_offset(self):
        self.check("layer_norm.ir", "--precision=fp16")
        self.check("layer_norm.ir", "--precision=bf16")

    def test_masks(self):
        for precision in ("fp16", "bf16", "best"):
            for calib in ("auto", "off"):
                self.check("mask.ir", f"--precision={precision}", f"--calib={calib}")

    def test_a_sum_of_a_million_terms(self):
        for calib in ("auto", "off"):
            self.check("long_sum.ir", "--precision=fp16", f"--calib={calib}")

    def test_forced_they_do_not(self):
        done = smelt("check", MADE / "long_sum.ir", "--target=cpu", "--precision=fp16", "--force-fp16=ReduceSum")
        self.expect(done, MISMATCH, "check: FAILED")

    def test_reasons_are_told(self):
        self.build("--precision=fp16", "--verbose", model=MADE / "long_sum.ir", texts=("sum/ReduceSum (ReduceSum): stays f32: sums of 1000000 terms",))
        meta = self.meta()
        self.assertEqual(meta["option.precision"], "fp16")
        self.assertIn("sums of 1000000 terms", " ".join(value for key, value in meta.items() if key.startswith("kept.")))


class Errors(PrecisionTest):
    def test_the_error_is_measured_and_kept_in_the_plan(self):
        self.build("--precision=fp16", texts=("error relative to the output's range: 'Plus214_Output_0'",))
        self.assertIn("of the range of 'Plus214_Output_0'", self.meta()["error"])
        self.assertEqual(self.meta()["kept"], "0")
        self.expect(smelt("inspect", self.plan), OK, "error", "precision = fp16")
        self.assertIn("f16", {value["dtype"] for value in self.values()})

    def test_bf16_is_less_exact_than_fp16(self):
        errors = []
        for precision in ("fp16", "bf16"):
            self.build(f"--precision={precision}")
            errors.append(float(self.meta()["error"].split()[0]))
        self.assertLess(0, errors[0])
        self.assertLess(errors[0], errors[1])

    def test_a_limit_raises_precision(self):
        self.build("--precision=fp16", f"--calib={self.data}")
        loose = float(self.meta()["error"].split()[0])
        self.build("--precision=fp16", f"--calib={self.data}", f"--max-error={loose / 2}")
        self.assertLessEqual(float(self.meta()["error"].split()[0]), loose / 2)
        self.assertGreater(int(self.meta()["kept"]), 0)

    def test_a_limit_that_cannot_be_met_fails_and_leaves_no_plan(self):
        self.build("--precision=fp16", "--force-fp16=*", "--max-error=1e-9", code=MISMATCH, texts=("--max-error is 1e-09", "'Plus214_Output_0'"))
        self.assertFalse(self.plan.exists())

    def test_without_samples_nothing_is_measured(self):
        self.build("--precision=fp16", "--calib=off", texts=("not calibrated", "not compared with f32: --calib=off"))
        self.assertIn("not measured", self.meta()["error"])

    def test_check_takes_data_and_random_inputs(self):
        for options in ((), (f"--data={self.data}",), (f"--data={self.data}", f"--calib={self.data},{self.data}")):
            self.expect(smelt("check", self.model, "--target=cpu", "--precision=fp16", *options), OK, "check: passed")
        self.expect(smelt("check", self.model, "--target=cpu", "--precision=fp16", "--rtol=1e-7", f"--data={self.data}"), MISMATCH, "FAILED")

    def test_same_bytes_every_time(self):
        self.build("--precision=fp16")
        first = self.plan.read_bytes()
        self.build("--precision=fp16")
        self.assertEqual(first, self.plan.read_bytes())


class Choices(PrecisionTest):
    def test_inputs_and_outputs_keep_their_types_unless_told(self):
        for options, dtype in ((("--precision=fp16",), "f32"), (("--precision=fp16", "--io-precision=fp16"), "f16"), (("--io-precision=bf16",), "bf16")):
            self.build(*options)
            bindings = json.loads(smelt("inspect", self.plan, "--json").stdout)["bindings"]
            self.assertEqual({binding["dtype"] for binding in bindings}, {dtype})
            self.expect(smelt("check", self.model, "--target=cpu", *options), OK, "check: passed")

    def test_patterns(self):
        self.build("--precision=fp16", "--keep-fp32=*")
        self.assertEqual({value["dtype"] for value in self.values()} - {"i64"}, {"f32"})
        self.build("--precision=fp16", "--keep-fp32=Convolution2?")
        self.assertEqual(self.meta()["kept"], "1")

    def test_tf32_changes_no_type(self):
        self.build("--precision=tf32")
        self.assertEqual(self.meta()["option.precision"], "tf32")
        self.assertNotIn("f16", {value["dtype"] for value in self.values()})

    def test_refusals(self):
        cases = (
            (("--precision=int4",), USAGE, "--precision is 'int4', expected fp32, tf32, fp16, bf16 or best"),
            (("--precision=fp16", "--keep-fp32=nothing"), USAGE, "--keep-fp32 'nothing' matches no node"),
            (("--precision=fp16", "--force-fp16=Softmax"), USAGE, "--force-fp16 'Softmax' matches no node"),
            (("--precision=fp16", "--keep-fp32=Conv", "--force-fp16=Convolution28"), USAGE, "node 'Convolution28' (Conv): --keep-fp32 and"),
            (("--keep-fp32=Conv",), USAGE, "--keep-fp32 goes with --precision=fp16"),
            (("--precision=tf32", "--max-error=0.1"), USAGE, "--max-error goes with --precision=fp16"),
            (("--precision=fp16", "--io-precision=bf16"), USAGE, "--io-precision=bf16 contradicts --precision=fp16"),
            (("--io-precision=int8",), USAGE, "--io-precision is 'int8'"),
            (("--precision=fp16", "--calib=,"), USAGE, "--calib is ','"),
            (("--precision=fp16", "--calib=nowhere"), BAD_INPUT, "'nowhere' has no input_0.pb"),
            (("--precision=fp16", f"--calib={MODELS / 'yunet-n-320' / 'test_data_set_0'}"), BAD_INPUT, "input 'Input3' is f32[1,3,320,320], expected f32[1, 1, 28, 28]"),
            (("--precision=fp16", "--from=fuse_vertical"), USAGE, "--from"),
            (("--precision=tf32", "--disable-pass=lower_precision"), USAGE, "leaves out what --precision=tf32 needs"),
        )
        for options, code, text in cases:
            self.build(*options, code=code, texts=(text,))


if __name__ == "__main__":
    SMELT = sys.argv.pop(1)
    unittest.main()
