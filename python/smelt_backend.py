"""smelt as an ONNX backend (onnx.backend.base), so that ONNX's own test harness and scoreboard can run it.

A model is compiled once by `smelt build`; each run hands tensors to `smelt run` in files of ONNX's TensorProto, which hold every
element type. The program is found by the variable SMELT, else in build/ of this repository, else in PATH.
"""
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

EXIT_BAD_INPUT, EXIT_NO_DEVICE = 3, 4
TARGETS = {"CPU": "cpu", "CUDA": "cuda"}


def program():
    """Path of the smelt program."""
    built = pathlib.Path(__file__).resolve().parent.parent / "build" / "smelt"
    found = os.environ.get("SMELT") or (str(built) if built.exists() else shutil.which("smelt"))
    if not found:
        raise FileNotFoundError("smelt is not built: run ./dev build, or name the program in SMELT")
    return found


def call(*arguments):
    """Runs smelt. Models that it refuses by name raise what ONNX's harness counts as not supported; the rest RuntimeError."""
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True, text=True, errors="replace")
    if done.returncode == EXIT_BAD_INPUT and "not supported" in done.stderr:
        raise BackendIsNotSupposedToImplementIt(done.stderr.strip())
    if done.returncode != 0:
        raise RuntimeError(f"smelt {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class SmeltRep(BackendRep):
    """A compiled model. Its plan lives in a temporary folder until the object goes."""

    def __init__(self, model, device):
        self.folder = tempfile.TemporaryDirectory(prefix="smelt-")
        self.plan = pathlib.Path(self.folder.name) / "model.plan"
        source = pathlib.Path(self.folder.name) / "model.onnx"
        onnx.save(model, source)
        given = {initializer.name for initializer in model.graph.initializer}
        self.inputs = [value.name for value in model.graph.input if value.name not in given]
        self.outputs = [value.name for value in model.graph.output]
        call("build", source, "-o", self.plan, "--target", TARGETS[device])

    def run(self, inputs, **kwargs):
        """inputs: arrays in the order of the graph's inputs, {name: array}, or one array. Returns the outputs as a tuple."""
        if isinstance(inputs, (numpy.ndarray, numpy.generic)):
            inputs = [inputs]
        feeds = inputs if isinstance(inputs, dict) else dict(zip(self.inputs, inputs))
        with tempfile.TemporaryDirectory(prefix="smelt-run-") as name:
            folder = pathlib.Path(name)
            command = ["run", self.plan, "--output-dir", folder / "out", "--output-format", "pb"]
            for index, (key, value) in enumerate(feeds.items()):
                file = folder / f"input_{index}.pb"
                file.write_bytes(numpy_helper.from_array(numpy.asarray(value), key).SerializeToString())
                command += ["--input", f"{key}={file}"]
            call(*command)
            return tuple(read_tensor(folder / "out" / f"output_{index}.pb") for index in range(len(self.outputs)))


@functools.lru_cache
def doctor():
    """What `smelt doctor` says; the harness asks for devices thousands of times."""
    return subprocess.run([program(), "doctor"], capture_output=True, text=True, errors="replace").stdout


def read_tensor(path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


class SmeltBackend(Backend):
    @classmethod
    def is_compatible(cls, model, device="CPU", **kwargs):
        """Whether smelt compiles the model for that device."""
        try:
            cls.prepare(model, device)
        except (BackendIsNotSupposedToImplementIt, RuntimeError):
            return False
        return True

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        super().prepare(model, device, **kwargs)
        return SmeltRep(model, device.split(":")[0])

    @classmethod
    def run_model(cls, model, inputs, device="CPU", **kwargs):
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node, inputs, device="CPU", outputs_info=None, opset_version=None, **kwargs):
        """Runs one node. opset_version: of ai.onnx and of the node's own domain; ONNX's newest without."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        arrays = [numpy.asarray(value) for value in inputs]
        names = [name for name in node.input if name]
        values = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                  for name, array in zip(names, arrays)]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", values, outputs)
        version = opset_version or onnx.defs.onnx_opset_version()
        opsets = [onnx.helper.make_opsetid("", version)]
        if node.domain:
            opsets.append(onnx.helper.make_opsetid(node.domain, opset_version or 1))
        return SmeltRep(onnx.helper.make_model(graph, opset_imports=opsets), device.split(":")[0]).run(arrays)

    @classmethod
    def supports_device(cls, device):
        kind = device.split(":")[0]
        return kind == "CPU" or (kind == "CUDA" and "cuda" in doctor().lower())


is_compatible = SmeltBackend.is_compatible
prepare = SmeltBackend.prepare
run_model = SmeltBackend.run_model
run_node = SmeltBackend.run_node
supports_device = SmeltBackend.supports_device
