#!/usr/bin/env python3
"""Plans the memory of models and prints for each the arena, its lower bound and their ratio; fails where the arena is more than --limit times
the bound, or where the bound, counted again from the graph's text, is another one.

    check_memory.py --smelt build/smelt MODEL.onnx|GRAPH.ir|FOLDER...     more options for smelt build behind --
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

EXIT_BAD_INPUT, EXIT_SKIPPED = 3, 77
ALIGNMENT = 256
VALUE = r'%(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_./%$-]+)'
TEXT = re.compile(r'%?"(?:[^"\\]|\\.)*"')
PLACE = re.compile(rf'({VALUE}) : \S+?(?:\[[^\]]*\])?((?: channels_last| padding \d+| (?:strides|content) \[[^\]]*\])*)(?: at (\d+)\[([^\]]*)\])')
SYMBOL = re.compile(r'symbol (\S+) (?:late )?min (\d+) opt (\d+)(?: max (\d+))?')
BUFFER = re.compile(r'buffer (\d+) \[(.*)\] steps (\d+) (\d+)(?: offset (\d+))?$')
MEMORY = re.compile(r'memory arena (\d+) bound (\d+)( fixed)?$')


FUNCTIONS = {"floor": lambda a, b: a // b, "min": min, "max": max, "bcast": lambda a, b: b if a == 1 else a}


def number(text, symbols):
    """An expression of docs/ir.md for the symbols' numbers; one that the head does not name is 1."""
    def word(match):
        name = match[0]
        return name if name.isdigit() or name in FUNCTIONS else str(symbols.get(name, 1))
    return int(eval(re.sub(r"[A-Za-z0-9_.%]+", word, text), {"__builtins__": {}}, FUNCTIONS))  # numbers and operators: our own dump


class Graph:
    def __init__(self, text):
        self.symbols, self.buffers, self.places, self.touched = {}, [], {}, {}
        self.step, in_main = -1, False
        for line in text.split("\n"):
            indent, words = len(line) - len(line.lstrip()), line.strip()
            if not in_main:
                self.read_head(words)
                in_main = words.startswith('block "main"')
                continue
            if words.startswith("input ") and indent == 2 or words == "}" and indent == 0:
                continue
            if indent == 2 and words != "}" and not words.startswith("output "):
                self.step += 1
            if indent > 2 or not words.startswith("output "):
                self.read_values(TEXT.sub(lambda m: m[0] if m[0][0] == "%" else '""', words))

    def read_head(self, words):
        if m := SYMBOL.match(words):
            name = m[1].strip('"').encode()
            name = "".join(chr(c) if chr(c).isalnum() and c < 128 or c in b"_." else f"%{c:02x}" for c in name)
            self.symbols[name] = (int(m[3]), int(m[4]) if m[4] else None)
        elif m := MEMORY.match(words):
            self.arena, self.bound, self.fixed = int(m[1]), int(m[2]), bool(m[3])
        elif m := BUFFER.match(words):
            self.buffers.append((m[2], int(m[3]), int(m[4]), int(m[5]) if m[5] else None))

    def read_values(self, words):
        for m in PLACE.finditer(words):
            self.places[m[1]] = int(m[3])
        for name in re.findall(VALUE, words):
            if name in self.places:
                self.touched.setdefault(self.places[name], []).append(self.step)

    def faults(self, limit):
        """What is wrong with the plan."""
        numbers = {n: (high if self.fixed and high is not None else opt) for n, (opt, high) in self.symbols.items()}
        sizes = [(max(0, number(size, numbers)) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT for size, *_ in self.buffers]
        for i, (_, first, last, _) in enumerate(self.buffers):
            used = self.touched.get(i, [])
            if not used or (min(used), max(used)) != (first, last):
                yield f"buffer {i} lives from step {first} to {last}; it is used from {min(used, default=-1)} to {max(used, default=-1)}"
        alive = [0] * (self.step + 1)
        for size, (_, first, last, _) in zip(sizes, self.buffers):
            for step in range(first, last + 1):
                alive[step] += size
        symbolic = self.fixed and any(not size.isdigit() for size, *_ in self.buffers)  # kept for the largest that any symbols could give
        if max(alive, default=0) > self.bound or not symbolic and max(alive, default=0) != self.bound:
            yield f"the bound is {self.bound}; {max(alive, default=0)} bytes are alive at step {alive.index(max(alive))}"
        if self.arena > limit * self.bound:
            yield f"the arena of {self.arena} is {self.arena / self.bound:.3f} times its bound"


def plan(smelt, path, options):
    """The graph's text behind plan_memory; None where the model is not supported."""
    with tempfile.TemporaryDirectory() as folder:
        start = ["--from", "infer_shapes"] if path.suffix == ".ir" else []
        target = [] if any(o.startswith("--target") for o in options) else ["--target", "cpu"]
        command = [smelt, "build", str(path), "--stop-after", "plan_memory", "--dump-dir", folder, *start, *target, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode == EXIT_BAD_INPUT and "not supported" in done.stderr:
            return None
        if done.returncode != 0:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()}")
        return next(pathlib.Path(folder).glob("*-plan_memory.ir")).read_text(encoding="utf-8", errors="surrogateescape")


def expand(paths):
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for found in sorted([*path.glob("*.ir"), *path.glob("*.onnx"), *path.glob("*/model.onnx")]):
            reduced = found.parent / "reduced" / "model.onnx"
            yield reduced if reduced.is_file() else found


def check(smelt, path, limit, options):
    name = path.stem if path.stem != "model" else path.parent.name if path.parent.name != "reduced" else path.parent.parent.name
    try:
        text = plan(smelt, path, options)
        if text is None:
            return True, f"{name:34} not supported"
        graph = Graph(text)
        faults = list(graph.faults(limit))
    except (RuntimeError, StopIteration, subprocess.TimeoutExpired) as error:
        return False, f"{name:34} {error}"
    ratio = graph.arena / graph.bound if graph.bound else 1.0
    return not faults, "\n".join([f"{name:34} {graph.arena:14} {graph.bound:14} {ratio:7.3f}", *("    " + f for f in faults)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "smelt"))
    parser.add_argument("--limit", type=float, default=1.15)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    args, options = parser.parse_known_args(sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else None)
    options = sys.argv[sys.argv.index("--") + 1:] if "--" in sys.argv else options
    paths = list(expand(p for p in args.paths if p.exists()))
    if not paths:
        print("no models here")
        return EXIT_SKIPPED
    print(f"{'model':34} {'arena':>14} {'lower bound':>14} {'ratio':>7}")
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda p: check(args.smelt, p, args.limit, options), paths))
    for _, line in results:
        print(line)
    failed = sum(not good for good, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
