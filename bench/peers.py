"""What smelt is compared with, each in a process of its own: torch eager and compiled, ONNX Runtime.

A process prepares its peer (weights, compilation, a first run), which many do at once; then it waits until the GPU is
its own to settle (cuDNN's search, capture in a CUDA graph) and to be timed. One that fails, or that runs over its time
and is ended, costs a line of the table and nothing else.
"""
import fcntl
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
import traceback

import numpy as np
import onnx

EAGER, COMPILED, FROZEN, AUTOTUNED, RUNTIME = (
    "torch eager", "torch.compile", "torch.compile frozen", "torch.compile max-autotune", "ONNX Runtime")
JUDGE = "torch, all precisions"  # says how far all are from torch's FP32 results (errors.py)
COMPILERS = (COMPILED, FROZEN, AUTOTUNED)  # with a cache of what they have compiled


# -- in the peer's process --


class Torch:
    """How torch runs on the target: its precision, graphs and clocks."""

    def __init__(self, spec):
        import torch

        self.torch, self.cuda, self.half = torch, spec["target"] == "cuda", spec["precision"] == "fp16"
        torch.set_grad_enabled(False)
        self.allow_tf32(spec["precision"] == "tf32")
        torch.backends.cudnn.benchmark = False  # until the GPU is this process's own

    def allow_tf32(self, allowed):
        self.torch.backends.cuda.matmul.allow_tf32 = self.torch.backends.cudnn.allow_tf32 = allowed

    def place(self, array, half, channels_last):
        tensor = self.torch.from_numpy(array).to("cuda" if self.cuda else "cpu")
        tensor = tensor.half() if half and tensor.dtype == self.torch.float32 else tensor
        formats = {4: self.torch.channels_last, 5: self.torch.channels_last_3d}
        return tensor.contiguous(memory_format=formats[tensor.dim()]) if channels_last and tensor.dim() in formats else tensor

    def captured(self, function, inputs):
        """The function of these inputs as one CUDA graph, a function without arguments."""
        if not self.cuda:
            return lambda: function(*inputs)
        stream = self.torch.cuda.Stream()
        with self.torch.cuda.stream(stream):
            for _ in range(3):
                function(*inputs)
        self.torch.cuda.synchronize()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            self.results = function(*inputs)  # a captured graph does not keep what it writes
        return graph.replay

    def time(self, run, seconds, stream=None):
        """Median milliseconds of a run on the GPU. A kernel that only waits is in front of the first event, so that the time to
        hand the run over does not count."""
        if not self.cuda:
            return wall_time(run, seconds)
        cuda = self.torch.cuda
        times, begin = [], time.monotonic()
        with cuda.stream(stream or cuda.current_stream()):
            while len(times) < 10 or time.monotonic() - begin < seconds:
                start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
                cuda._sleep(150_000)  # cycles: about 80 us
                start.record()
                run()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
        return statistics.median(times[len(times) // 5 :])  # the first ones warm up


def wall_time(run, seconds):
    times, begin = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


class TorchPeer:
    """kind EAGER, COMPILED (the code of mode reduce-overhead), FROZEN (the same with Inductor's freezing) or AUTOTUNED, replayed from a CUDA graph that is captured here: its
    time is at most that of a call in those modes, which also copies the inputs into the graph's memory."""

    def __init__(self, spec):
        from onnx_torch import OnnxModule

        self.torch = Torch(spec)
        half, arrays, model = self.torch.half, spec["arrays"], onnx.load(spec["path"])
        self.inputs = [self.torch.place(array, half, True) for array in arrays]
        self.module = OnnxModule(model, half, channels_last=True).to("cuda" if self.torch.cuda else "cpu").eval().prepare(*self.inputs)
        if spec["reference"]:
            self.torch.allow_tf32(False)
            inputs = [self.torch.place(array, False, False) for array in arrays]
            expected = OnnxModule(model, half=False).to(inputs[0].device).eval().prepare(*inputs)(*inputs)
            self.reference = [tensor.float().cpu().numpy() for tensor in expected]
            del expected, inputs
            self.torch.allow_tf32(spec["precision"] == "tf32")
            if self.torch.cuda:
                self.torch.torch.cuda.empty_cache()
        if spec["kind"] != EAGER:
            folds = any(node.op_type == "BatchNormalization" for node in model.graph.node)
            self.module = compiled(self.torch.torch, self.module, spec["kind"], folds)
        self.outputs = [tensor.float().cpu().numpy() for tensor in self.module(*self.inputs)]
        if self.torch.cuda:
            self.torch.torch.cuda.empty_cache()  # many peers wait at the same time

    def settle(self):
        self.torch.torch.backends.cudnn.benchmark = True
        self.run = self.torch.captured(self.module, self.inputs)

    def time(self, seconds):
        return self.torch.time(self.run, seconds)


def compiled(torch, module, kind, folds):
    """folds: there are batch norms, which freezing folds; max-autotune has the better of both then."""
    import torch._inductor.config

    tunes = kind == AUTOTUNED
    torch._inductor.config.freezing = kind == FROZEN or (tunes and folds)  # weights are constants: batch norms go into the convolutions
    # No processes that compile: many models are compiled at once, and what they make takes longer to load than threads take to compile it.
    torch._inductor.config.compile_threads = 1
    if tunes:
        time_candidates_alone()
    return torch.compile(module, mode="max-autotune-no-cudagraphs" if tunes else None, dynamic=False)


def time_candidates_alone():
    """Candidates of max-autotune are timed while no other peer on this machine times its own; they have been compiled by then."""
    from torch._inductor.select_algorithm import AlgorithmSelectorCache

    benchmark = AlgorithmSelectorCache.benchmark_choices

    def alone(*arguments, **named):
        with open(os.path.join(tempfile.gettempdir(), "smelt-bench-autotune.lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return benchmark(*arguments, **named)

    AlgorithmSelectorCache.benchmark_choices = staticmethod(alone)


class Judge:
    """torch in FP32 without TF32, which says what is right, and in FP16: eager, and each of spec["compile"]. Files hold arrays."""

    def __init__(self, spec):
        self.torch, self.outputs, model = Torch({**spec, "precision": "fp16"}), [], onnx.load(spec["path"])
        self.right = self.module(spec["arrays"], model, False)
        eager = self.module(spec["arrays"], model, True)
        self.modules = {EAGER: eager, **{kind: compiled(self.torch.torch, eager, kind, False) for kind in spec["compile"]}}
        for module in self.modules.values():
            module(*self.placed(spec["arrays"], True))

    def placed(self, arrays, half):
        return [self.torch.place(array, half, half) for array in arrays]

    def module(self, arrays, model, half):
        from onnx_torch import OnnxModule

        inputs = self.placed(arrays, half)
        return OnnxModule(model, half, channels_last=half).to(inputs[0].device).eval().prepare(*inputs)

    def errors(self, inputs, outputs):
        """{name: (largest, root mean square)} relative to the largest element: of torch's kinds, and of the files of outputs as smelt's."""
        arrays = [np.load(file) for file in inputs]
        right = [tensor.double() for tensor in self.right(*self.placed(arrays, False))]
        found = {kind: self.apart(module(*self.placed(arrays, True)), right) for kind, module in self.modules.items()}
        return {"smelt": self.apart([self.torch.torch.from_numpy(np.load(file)) for file in outputs], right), **found}

    def apart(self, found, right):
        errors = []
        for got, expected in zip(found, right):
            scale = expected.abs().max().item() or 1.0
            difference = got.to(expected.device).reshape(expected.shape).double() - expected
            errors.append((difference.abs().max().item() / scale, difference.square().mean().sqrt().item() / scale))
        return tuple(np.max(errors, axis=0).tolist())  # NaN where one is


class RuntimePeer:
    """ONNX Runtime with the options that make its CUDA provider fast, inputs and results on the GPU, in its own CUDA graph."""

    def __init__(self, spec):
        import onnxruntime

        self.runtime, self.torch = onnxruntime, Torch(spec)
        cuda = self.torch.cuda
        if cuda and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RuntimeError(f"ONNX Runtime {onnxruntime.__version__} here has no CUDA provider")
        self.stream = self.torch.torch.cuda.Stream() if cuda else None
        model = runtime_model(spec["path"], self.torch.half)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        provider = "CPUExecutionProvider"
        if cuda:
            provider = ("CUDAExecutionProvider", {
                "cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": "1", "prefer_nhwc": "1", "fuse_conv_bias": "1",
                "enable_cuda_graph": "1", "use_tf32": str(int(spec["precision"] == "tf32")), "user_compute_stream": str(self.stream.cuda_stream)})
        self.session = onnxruntime.InferenceSession(model, options, providers=[provider])
        self.binding = self.session.io_binding()
        place = "cuda" if cuda else "cpu"
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(array, place, 0) for array in spec["arrays"]]
        for value, node in zip(self.values, self.session.get_inputs()):
            self.binding.bind_ortvalue_input(node.name, value)
        self.results = [onnxruntime.OrtValue.ortvalue_from_shape_and_type(node.shape, np.float32, place, 0) for node in self.session.get_outputs()]
        for value, node in zip(self.results, self.session.get_outputs()):
            self.binding.bind_ortvalue_output(node.name, value)
        self.run()
        self.outputs = [value.numpy() for value in self.results]

    def run(self):
        options = self.runtime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.session.run_with_iobinding(self.binding, options)

    def settle(self):
        for _ in range(3):
            self.run()

    def time(self, seconds):
        return self.torch.time(self.run, seconds, self.stream)


def runtime_model(path, half):
    """The file as ONNX Runtime's own tools prepare it: transformers fused, FP16 inside with FP32 inputs and outputs."""
    from onnxruntime.transformers import float16, optimizer

    name = os.path.basename(path)
    kind = "bert" if name.startswith("bert") else "vit" if name.startswith("vit") else None
    if kind is None:
        model = onnx.load(path)
        return (float16.convert_float_to_float16(model, keep_io_types=True) if half else model).SerializeToString()
    model = optimizer.optimize_model(path, model_type=kind, num_heads=12, hidden_size=768, use_gpu=True, opt_level=0)
    if half:
        model.convert_float_to_float16(keep_io_types=True)
    return model.model.SerializeToString()


def serve(connection, spec):
    """The process's life: prepares, then answers requests, a method and its arguments; None ends it."""
    os.setsid()  # what it starts ends with it
    try:
        peer = {RUNTIME: RuntimePeer, JUDGE: Judge}.get(spec["kind"], TorchPeer)(spec)
        connection.send(("done", {"outputs": peer.outputs, "reference": getattr(peer, "reference", None)}))
        while (request := connection.recv()) is not None:
            connection.send(("done", getattr(peer, request[0])(*request[1:])))
    except BaseException as problem:  # the parent is told of anything
        if not isinstance(problem, (KeyboardInterrupt, EOFError)):
            connection.send(("failed", f"{problem!r}"[:300] if not isinstance(problem, AssertionError) else traceback.format_exc()[-300:]))


# -- in the parent's process --


class Failed(Exception):
    """Why a peer has no time."""


def context():
    """Processes are copies of one that has imported torch, without CUDA in it."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["torch", "torch._dynamo", "onnx", "onnx_torch", "peers"])  # Inductor would start CUDA
    return made


class Peer:
    """A peer's process, seen from the parent. Every call raises Failed where it fails or takes longer than its limit. reference: torch
    computes what all are compared with, too, in FP32. more: what else the kind wants to know."""

    def __init__(self, processes, kind, path, arrays, precision, target, reference, **more):
        self.name = kind
        spec = {"kind": kind, "path": str(path), "arrays": arrays, "precision": precision, "target": target, "reference": reference, **more}
        self.connection, other = processes.Pipe()
        self.process = processes.Process(target=serve, args=(other, spec), daemon=False)
        self.process.start()
        other.close()

    def ask(self, request, limit):
        return self.answer(limit, request)

    def answer(self, limit, request=None):
        """To what was sent before, or is now."""
        try:
            if request is not None:
                self.connection.send(request)
            if not self.connection.poll(max(limit, 0.1)):
                raise Failed(f"ran over {limit:.0f} s")
            state, value = self.connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            state, value = "failed", "its process ended"
        except Failed:
            self.close()
            raise
        if state == "failed":
            self.close()
            raise Failed(value)
        return value

    def close(self):
        """Ends the process and what it has started."""
        if self.process.pid is not None and self.process.is_alive():
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()
        self.process.join(10)
