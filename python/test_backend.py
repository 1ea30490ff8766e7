#!/usr/bin/env python3
"""ONNX's own test harness on smelt_backend: a few of its cases by default, all with --all. Usage: test_backend.py SMELT [--all]"""
import os
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIP = 77
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "build" / "onnx")]

try:
    import numpy
    import onnx
    import onnx.backend.test
    import onnx.parser
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIP)

if len(sys.argv) > 1:
    os.environ["SMELT"] = os.path.abspath(sys.argv[1])

import smelt_backend  # noqa: E402

FEW = r"^test_(add|conv_with_autopad_same|cast_FLOAT_to_BFLOAT16|lstm_defaults|loop11|nonzero_example|dequantizelinear|shape)_cpu$"


class BackendItself(unittest.TestCase):
    def test_node(self):
        node = onnx.helper.make_node("Sub", ["a", "b"], ["c"])
        a, b = numpy.float32([5, 7]), numpy.float32([2])
        self.assertEqual(smelt_backend.run_node(node, [a, b])[0].tolist(), [3, 5])

    def test_inputs_by_name_and_again(self):
        model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 21]> g (float[n] a, float[n] b) => (float[n] c) { c = Div(a, b) }')
        prepared = smelt_backend.prepare(model)
        for size in (1, 3):
            a, b = numpy.full(size, 6, "float32"), numpy.full(size, 2, "float32")
            self.assertEqual(prepared.run({"b": b, "a": a})[0].tolist(), [3] * size)

    def test_refusal(self):
        model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 21, "x": 1]> g (float[2] a) => (float[2] b) { b = x.Unheard(a) }')
        self.assertFalse(smelt_backend.is_compatible(model))

    def test_wrong_input(self):
        model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 21]> g (float[2] a) => (float[2] b) { b = Neg(a) }')
        with self.assertRaises(RuntimeError):
            smelt_backend.run_model(model, [numpy.zeros(3, "float32")])

    def test_devices(self):
        self.assertTrue(smelt_backend.supports_device("CPU"))
        self.assertFalse(smelt_backend.supports_device("ABACUS"))


def main():
    harness = onnx.backend.test.BackendTest(smelt_backend, __name__)
    harness.include(r".*_cpu$" if "--all" in sys.argv else FEW)
    suite = unittest.TestSuite([unittest.defaultTestLoader.loadTestsFromTestCase(BackendItself)])
    for case in harness.test_cases.values():
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    print(f"{result.testsRun - len(result.skipped)} ran, {len(result.skipped)} skipped by the harness")
    return 0 if result.wasSuccessful() and result.testsRun > len(result.skipped) + 10 else 1


if __name__ == "__main__":
    sys.exit(main())
