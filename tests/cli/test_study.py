#!/usr/bin/env python3
"""What people look into builds with: inspect --why, plugins, study and its page. Usage: test_study.py SMELT BUILD_FOLDER"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
SMELT, BUILD = "build/smelt", pathlib.Path("build")
OK, MISMATCH, USAGE, BAD_INPUT = 0, 1, 2, 3

HARD_SWISH = """smelt-ir 1
graph "t"
block "main" {
  input %x : f32[2,3]
  %g : ? = HardSigmoid(%x) {alpha = 0.16666667, beta = 0.5} "gate"
  %m : ? = Mul(%x, %g) "product"
  %h : ? = HardSigmoid(%m) {alpha = 0.2} "other gate"
  %y : ? = Mul(%h, %m) "other product"
  output %y
}
"""


def smelt(*arguments, **options):
    return subprocess.run([SMELT, *map(str, arguments)], capture_output=True, text=True, timeout=600, **options)


class StudyTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="smelt-study-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = MODELS / "mnist-8" / "model.onnx"
        self.swish = self.folder / "swish.ir"
        self.swish.write_text(HARD_SWISH)

    def expect(self, done, code, *texts):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for text in texts:
            self.assertIn(text, output)
        return done.stdout


class Why(StudyTest):
    def test_folded_and_fused(self):
        out = self.expect(smelt("inspect", self.model, "--why", "Plus30"), OK, "fold_batch_norm", "removed", "took in 'Plus30'")
        self.assertRegex(out, r"Conv '\w+' in step 0 '.*': Convolution28, Plus30, ReLU32")
        self.expect(smelt("inspect", self.model, "--why", "ReLU32"), OK, "joined region")

    def test_known_beforehand(self):
        out = self.expect(smelt("inspect", self.model, "--why", "Times212_reshape1"), OK, "its result", "is known")
        self.assertIn("nowhere", out)

    def test_a_value_or_a_node_of_the_graph_will_do(self):
        by_value = self.expect(smelt("inspect", self.model, "--why", "ReLU32_Output_0"), OK)
        by_node = self.expect(smelt("inspect", self.model, "--why", "ReLU32"), OK)
        self.assertEqual(by_value.split("\n")[1:], by_node.split("\n")[1:])

    def test_refusals_have_reasons(self):
        text = HARD_SWISH.replace("output %y", "output %y\n  output %m")
        self.swish.write_text(text)
        out = json.loads(self.expect(smelt("inspect", self.swish, "--why", "product", "--json"), OK))
        self.assertTrue(out["refused"])
        for refusal in out["refused"]:
            self.assertTrue(refusal["pass"] and refusal["text"], refusal)

    def test_what_a_recognised_operator_spells_out(self):
        gelu = self.folder / "gelu.ir"
        gelu.write_text('''smelt-ir 1
graph "t"
constant %root : f32[] = {1.4142135}
constant %one : f32[] = {1}
constant %half : f32[] = {0.5}
block "main" {
  input %x : f32[2,8]
  %d : ? = Div(%x, %root) "div"
  %e : ? = Erf(%d) "erf"
  %a : ? = Add(%e, %one) "plus"
  %m : ? = Mul(%x, %a) "times"
  %y : ? = Mul(%m, %half) "halve"
  output %y
}
''')
        out = self.expect(smelt("inspect", gelu, "--why", "erf", "--target=cpu"), OK, "removed: it went into Gelu 'halve'")
        self.assertIn("added: does what Div 'div', Erf 'erf', Add 'plus', Mul 'times', Mul 'halve' did", out)
        self.assertRegex(out, "in step 0 '.*': div, erf, plus, times, halve")

    def test_json_says_the_same(self):
        out = json.loads(self.expect(smelt("inspect", self.model, "--why", "Plus30", "--json"), OK))
        self.assertEqual(out["node"], "Plus30")
        self.assertTrue(any(e["change"] == "removed" and e["pass"] == "fold_batch_norm" for e in out["history"]), out)
        self.assertEqual(out["now"][0]["step"], 0)
        self.assertIn("Plus30", out["now"][0]["origins"])

    def test_with_the_pass_off(self):
        out = self.expect(smelt("inspect", self.model, "--why", "Plus30", "--disable-pass", "fold_batch_norm"), OK)
        self.assertNotIn("took in", out)

    def test_no_such_node(self):
        self.expect(smelt("inspect", self.model, "--why", "ReLU3"), USAGE, "no node or value is called 'ReLU3'", "did you mean 'ReLU32'")
        self.expect(smelt("inspect", self.model, "--why", "xyzzy"), USAGE, "its nodes are called")
        plan = self.folder / "m.plan"
        self.expect(smelt("build", self.model, "-o", plan, "--target=cpu"), OK)
        self.expect(smelt("inspect", plan, "--why", "ReLU32"), USAGE, "give the model")


class Verbose(StudyTest):
    def test_passes_tell_their_times(self):
        done = smelt("build", self.model, "-o", self.folder / "m.plan", "--target=cpu", "--verbose")
        self.expect(done, OK)
        times = re.findall(r"^(\w+):.*; (\d+\.\d+) ms, (\d+\.\d+) ms of it on weights$", done.stderr, re.M)
        listed = re.findall(r"^PASS\((\w+),", (HERE.parent.parent / "passes/passes.def").read_text(), re.M)
        self.assertEqual([name for name, _, _ in times], [*listed, "verifier"])
        self.assertTrue(all(float(weights) <= float(whole) for _, whole, weights in times), times)
        self.assertGreater(float(dict((name, weights) for name, _, weights in times)["fold_batch_norm"]), 0)

    def test_memory_names_what_is_alive_at_the_peak(self):
        done = smelt("build", self.model, "-o", self.folder / "m.plan", "--target=cpu", "--verbose")
        self.expect(done, OK)
        arena, bound = map(int, re.search(r"in (\d+) bytes, \S+ % over the lower bound of (\d+)", done.stderr).groups())
        step, most, count = map(int, re.search(r"step (\d+) needs most, (\d+) bytes in (\d+) tensors", done.stderr).groups())
        tensors = re.findall(r"^plan_memory: +(\d+) B  (\S+)$", done.stderr, re.M)
        self.assertEqual((len(tensors), most), (count, bound))
        self.assertGreaterEqual(sum(int(size) for size, _ in tensors) + 256 * count, most)
        self.assertGreaterEqual(arena, bound)


class WithoutGpu(StudyTest):
    """GPU targets where there is no GPU: kernels are named, errors found on the host, nothing is timed."""

    def setUp(self):
        super().setUp()
        self.hidden = {**os.environ, "SMELT_CUDA_LIBRARY": "libno_such_driver.so"}
        if "NVRTC            no " in smelt("doctor", env=self.hidden).stdout:
            self.skipTest("no NVRTC")

    def test_why_names_kernels(self):
        self.expect(smelt("inspect", self.model, "--why", "Plus30", "--gpu=sm_80", env=self.hidden), OK, "took in 'Plus30'", "kernels: conv")

    def test_channels_of_zeros_change_no_result(self):
        cifar, errors, packed = MODELS / "cifar10-winml", {}, {}
        for name, options in {"padded": [], "plain": ["--disable-pass=pad_channels"]}.items():
            plan = self.folder / "m.plan"
            done = smelt("build", cifar / "model.onnx", "-o", plan, "--target=cuda", "--gpu=sm_80", "--precision=fp16", "--tune=off", "--verbose",
                         "--calib", cifar / "test_data_set_0", *options, env=self.hidden)
            self.expect(done, OK, *(["pad_channels: padded 2"] if not options else []))
            errors[name] = re.search("error relative to the output's range: (.*)", done.stderr).group(1)
            packed[name] = sum(value["shape"][1:2] == [16] for value in json.loads(self.expect(smelt("inspect", plan, "--json"), OK))["values"])
        self.assertEqual(errors["padded"], errors["plain"])
        self.assertGreater(packed["padded"], packed["plain"])

    def test_study(self):
        done = smelt("study", self.model, "--gpu=sm_80", "--precision=fp16", "--passes=fuse_vertical", "--json", env=self.hidden)
        out = json.loads(self.expect(done, OK))
        self.assertEqual(out["target"], "cuda sm_80")
        self.assertIn("not timed: there is no GPU here", out["note"])
        for row in out["builds"]:
            self.assertEqual(row["host_steps"], 0)
            self.assertIsNone(row["time_ms"])
            self.assertLess(row["error"], 2e-2)
        self.assertLess(out["builds"][0]["kernels"], out["builds"][1]["kernels"])


class Plugins(StudyTest):
    def setUp(self):
        super().setUp()
        self.plugin = BUILD / "fuse_hard_swish.so"
        self.plan = self.folder / "m.plan"

    def build(self, *arguments):
        return smelt("build", self.swish, "-o", self.plan, "--target=cpu", *arguments)

    def test_it_runs_and_counts(self):
        self.expect(self.build("--plugin-pass", self.plugin, "--verbose"), OK, "fuse_hard_swish: fused 1")
        self.expect(smelt("inspect", self.plan), OK, "hardswish", "extra-pass.fuse_hard_swish = after=canonicalize")

    def test_results_stay(self):
        for name in ("with", "without"):
            extra = ["--plugin-pass", self.plugin] if name == "with" else []
            self.expect(smelt("check", self.swish, "--target=cpu", "--rtol", "1e-6", *extra), OK, "check: passed")

    def test_why_shows_what_it_did_and_refused(self):
        self.expect(smelt("inspect", self.swish, "--why", "product", "--plugin-pass", self.plugin), OK, "fuse_hard_swish", "it went into HardSwish")
        self.expect(smelt("inspect", self.swish, "--why", "other product", "--plugin-pass", self.plugin), OK, "alpha is not 1/6")

    def test_it_is_a_pass_like_others(self):
        self.expect(self.build("--plugin-pass", self.plugin, "--disable-pass", "fuse_hard_swish", "--verbose"), OK)
        dumps = self.folder / "dumps"
        self.expect(self.build("--plugin-pass", self.plugin, "--dump-dir", dumps, "--stop-after", "fuse_hard_swish"), OK)
        names = sorted(f.name for f in dumps.glob("*.ir"))
        self.assertRegex(names[-1], r"^\d\d-fuse_hard_swish\.ir$")
        self.assertRegex(names[-2], r"^\d\d-canonicalize\.ir$")
        self.assertIn("HardSwish", (dumps / names[-1]).read_text())

    def test_refusals(self):
        tests = BUILD / "tests"
        faults = {
            1: (BAD_INPUT, "was made for interface"),
            2: (BAD_INPUT, "no function smelt_plugin"),
            3: (BAD_INPUT, "smelt_function_of_the_future"),
            4: (BAD_INPUT, "it has no passes"),
            5: (BAD_INPUT, "smelt_plugin gives nothing"),
            6: (BAD_INPUT, "the graph is broken after break_it: "),
            7: (BAD_INPUT, "the graph is broken after break_it: "),
            8: (USAGE, "there is no pass 'alchemy'"),
        }
        for fault, (code, text) in faults.items():
            path = tests / f"bad_plugin_{fault}.so"
            self.expect(self.build("--plugin-pass", path), code, text)
            if fault < 6:
                self.expect(self.build("--plugin-pass", path), code, path.name)
        self.expect(self.build("--plugin-pass", tests / "bad_plugin_6.so"), BAD_INPUT, "it has no producer, no data, and is no parameter")
        self.expect(self.build("--plugin-pass", tests / "bad_plugin_7.so"), BAD_INPUT, "it is used before its definition")
        self.assertFalse(self.plan.exists())

    def test_files_that_are_none(self):
        self.expect(self.build("--plugin-pass", self.folder / "absent.so"), BAD_INPUT, "absent.so", "no such file")
        self.expect(self.build("--plugin-pass", self.swish), BAD_INPUT, "cannot be loaded")
        self.expect(self.build("--plugin-pass", self.plugin, "--plugin-pass", self.plugin), USAGE, "two passes named 'fuse_hard_swish'")

    def test_only_names_of_smelt_are_visible(self):
        if shutil.which("nm") is None:
            self.skipTest("no nm")
        for path in (SMELT, BUILD / "libsmelt.so", BUILD / "libsmelt_runtime.so"):
            lines = subprocess.run(["nm", "-D", "--defined-only", str(path)], capture_output=True, text=True).stdout.split("\n")
            names = [line.split()[-1] for line in lines if line.strip() and " B " not in line and " V " not in line]
            foreign = [n for n in names if not n.startswith(("smelt_", "__asan", "__ubsan", "__sanitizer", "__lsan", "__interceptor"))]
            self.assertTrue(names, path)
            if "asan" not in str(path) and not any(n.startswith("__asan") for n in names):
                self.assertEqual(foreign, [], path)


class Study(StudyTest):
    def study(self, *arguments):
        return smelt("study", self.model, "--target=cpu", "--duration", "0.05", *arguments)

    def test_table(self):
        out = self.expect(self.study(), OK, "touched", "kernels", "pass ms", "all passes", "without fuse_vertical", "no optional pass", "error: against")
        self.assertNotIn("infer_shapes", out)

    def test_json(self):
        out = json.loads(self.expect(self.study("--json"), OK))
        rows = {row["name"]: row for row in out["builds"]}
        every, plain, unfused = rows["all passes"], rows["no optional pass"], rows["without fuse_vertical"]
        self.assertLess(every["kernels"], unfused["kernels"])
        self.assertLess(unfused["kernels"], plain["kernels"])
        self.assertLess(every["bytes"], plain["bytes"])
        self.assertEqual(unfused["off"], ["fuse_vertical"])
        self.assertGreater(unfused["touched"], 0)
        self.assertEqual(plain["error"], 0)
        for row in out["builds"]:
            self.assertIsNone(row["failure"])
            self.assertGreater(row["time_ms"], 0)
            self.assertGreaterEqual(row["pass_ms"], 0)
            self.assertLess(row["error"], 1e-4)
            self.assertGreater(row["flops"], 1e6)
        passes = {p["name"]: p for p in out["passes"]}
        for p in out["passes"]:
            self.assertTrue(0 <= p["weights_seconds"] <= p["seconds"], p)
        self.assertGreaterEqual(every["pass_ms"], unfused["pass_ms"])
        self.assertEqual(len(rows), 2 + len([p for p in passes if "without " + p in rows]))
        self.assertEqual(passes["fuse_vertical"]["touched"], unfused["touched"])

    def test_sets(self):
        out = json.loads(self.expect(self.study("--json", "--no-run", "--passes", "fold_constants+fuse_vertical,mine=canonicalize+eliminate_dead"), OK))
        self.assertEqual([row["name"] for row in out["builds"]], ["all passes", "without fold_constants+fuse_vertical", "mine", "no optional pass"])
        self.assertEqual(out["builds"][2]["off"], ["canonicalize", "eliminate_dead"])
        self.assertIsNone(out["builds"][1]["time_ms"])
        self.assertIn("--no-run", out["note"])

    def test_pairs(self):
        out = json.loads(self.expect(self.study("--json", "--no-run", "--passes", "pairs"), OK))
        rows = out["builds"][1:-1]
        optional = len(out["builds"][-1]["off"])
        self.assertEqual(len(rows), optional * (optional - 1) // 2)
        self.assertTrue(all(len(row["off"]) == 2 and row["failure"] is None for row in rows))

    def test_plugins_take_part(self):
        done = smelt("study", self.swish, "--target=cpu", "--duration", "0.02", "--plugin-pass", BUILD / "fuse_hard_swish.so")
        self.expect(done, OK, "without fuse_hard_swish")

    def test_bad_requests(self):
        self.expect(self.study("--passes", "alchemy"), USAGE, "'alchemy' is no pass that can be left out", "fuse_vertical")
        self.expect(self.study("--passes", "infer_shapes"), USAGE, "'infer_shapes' is no pass")
        self.expect(self.study("--passes", ""), USAGE, "'' is no pass")
        self.expect(self.study("--html", self.folder / "no" / "such" / "page.html"), BAD_INPUT, "page.html")
        plan = self.folder / "m.plan"
        self.expect(smelt("build", self.model, "-o", plan, "--target=cpu"), OK)
        self.expect(smelt("study", plan), USAGE, "is built already")


class Page(StudyTest):
    def page(self, model, *arguments):
        path = self.folder / "page.html"
        self.expect(smelt("study", model, "--target=cpu", "--no-run", "--passes", "fuse_vertical", "--html", path, *arguments), OK)
        return path

    @staticmethod
    def data(path):
        return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S).group(1))

    def test_it_needs_nothing_from_outside(self):
        text = self.page(self.model).read_text()
        self.assertNotRegex(text, r'(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest')
        self.assertEqual(re.findall(r"https?://\S*", text.replace("http://www.w3.org/2000/svg", "")), [])
        self.assertEqual(text.count("<script"), text.count("</script>"))
        self.assertNotIn("@DATA@", text)

    def test_differences_add_up_to_the_graphs_that_were_dumped(self):
        page, dumps = self.data(self.page(self.model)), self.folder / "dumps"
        self.expect(smelt("build", self.model, "-o", self.folder / "m.plan", "--target=cpu", "--dump-dir", dumps), OK)
        files = {f.stem.split("-", 1)[1]: f.read_text() for f in dumps.glob("*.ir")}
        nodes, values, blocks = {}, {}, []
        self.assertEqual(len(page["steps"]), len(files))
        for step in page["steps"]:
            for gone in step["gone"]:
                del nodes[gone]
            nodes.update((node["id"], node) for node in step["nodes"])
            values.update((value["id"], value) for value in step["values"])
            blocks = step.get("blocks", blocks)
            order = [nodes[i] for block in blocks for i in block["nodes"]]
            dumped = [(m.group(1), m.group(2)) for m in re.finditer(r"^ +%(\S+) :.*? = (\w+)\(", files[step["pass"]], re.M)]
            self.assertEqual([(values[n["outputs"][0]]["name"], n["op"]) for n in order], dumped, step["pass"])
            self.assertEqual(len(order), step["node_count"])
            self.assertEqual(len(nodes), len(order))
            for node in order:
                for value in node["inputs"] + node["outputs"]:
                    self.assertTrue(value == -1 or value in values)

    def test_names_can_be_anything(self):
        self.swish.write_text(HARD_SWISH.replace('"product"', r'"</script><b>\"x\\y"'))
        path = self.page(self.swish)
        names = [node["name"] for node in self.data(path)["steps"][0]["nodes"]]
        self.assertIn('</script><b>"x\\y', names)

    def run_page(self, path, query):
        node = shutil.which("node")
        if node is None:
            self.skipTest("no node to run the page's scripts")
        done = subprocess.run([node, str(HERE / "study_page.js"), str(path), query], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_stepping_and_searching(self):
        path = self.page(self.model)
        shown, steps = self.run_page(path, "relu32"), self.data(path)["steps"]
        self.assertEqual(shown["passes"], len(steps))
        self.assertEqual(shown["stepped_back"], len(steps) - 2)
        self.assertIn("all passes", shown["table"])
        for step, view in zip(steps, shown["steps"]):
            self.assertIn(step["pass"], view["after"])
            self.assertIn(f"{step['node_count']} nodes", view["after"])
            changed = sum(view["kinds"].get(kind, 0) for kind in ("added", "removed", "changed"))
            self.assertEqual(changed, step["touched"], step["pass"])
        self.assertEqual(shown["found"], "1 found")
        for text in ("ReLU32", "joined region", "came from", "f32[1, 8, 28, 28]"):
            self.assertIn(text, shown["details"])

    def test_a_thousand_nodes(self):
        lines = "".join(f'  %v{i + 1} : ? = {"Relu" if i % 2 else "Softmax"}(%v{i}) "node{i}"\n' for i in range(1200))
        model = self.folder / "long.ir"
        model.write_text(f'smelt-ir 1\ngraph "t"\nblock "main" {{\n  input %v0 : f32[4,4]\n{lines}  output %v1200\n}}\n')
        path = self.page(model)
        self.assertLess(path.stat().st_size, 4 << 20)
        shown = self.run_page(path, "node777")
        self.assertEqual(shown["found"], "1 found")
        self.assertIn("1200 nodes", shown["steps"][0]["after"])


if __name__ == "__main__":
    if len(sys.argv) > 2 and not sys.argv[1].startswith("-"):
        SMELT, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
