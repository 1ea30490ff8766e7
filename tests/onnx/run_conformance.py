#!/usr/bin/env python3
"""Runs ONNX's own backend test cases through `smelt check` and counts them per operator.

A case passes when every output agrees within the tolerances of ONNX's runner. It is skipped only when smelt refuses it
and it uses an operator that `smelt ops` does not list, or when wrong_data.tsv beside this script gives a reason why its
expected values cannot be met; anything else is a failure. Cases named in must_pass.txt may not be skipped.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ONNX_VERSION = "1.22.0"
FOLDERS = ("node", "simple", "pytorch-converted", "pytorch-operator")
NODE_CASES, LEAST_IN_SCOPE = ROOT.parent / "shared" / "onnx_node_cases.tsv", 1345
TOLERANCES = ["--rtol", "1e-3", "--atol", "1e-7"]
EXIT_OK, EXIT_NO_PROGRAM, EXIT_BAD_INPUT, EXIT_WRONG_DEVICE, EXIT_INTERNAL, EXIT_NO_DATA = 0, 2, 3, 4, 5, 77
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

Case = collections.namedtuple("Case", "name folder operators")
Result = collections.namedtuple("Result", "case outcome reason")


# ---- Operators of a model: just enough protobuf to find node types ----

MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE = 1
FUNCTION_NAME, FUNCTION_NODE, FUNCTION_DOMAIN = 1, 7, 10
NODE_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def message_fields(data):
    """Yields (number, bytes) of the length-delimited fields and steps over the others."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        wire = key & 7
        if wire == 0:
            _, at = read_varint(data, at)
        elif wire == 1:
            at += 8
        elif wire == 5:
            at += 4
        elif wire == 2:
            size, at = read_varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def text_field(fields, number):
    return next((bytes(value).decode("utf-8", "replace") for n, value in fields if n == number), "")


def operator_name(domain, name):
    return name if domain in ("", "ai.onnx") else f"{domain}::{name}"


def collect_node(data, found):
    fields = list(message_fields(data))
    found.add(operator_name(text_field(fields, NODE_DOMAIN), text_field(fields, NODE_TYPE)))
    for number, attribute in fields:
        if number != NODE_ATTRIBUTE:
            continue
        for inner, graph in message_fields(attribute):
            if inner in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                collect_nodes(graph, GRAPH_NODE, found)


def collect_nodes(data, node_field, found):
    for number, node in message_fields(data):
        if number == node_field:
            collect_node(node, found)


def model_operators(path):
    """Names of all operators in graph, bodies and model-local functions, but not of those functions."""
    found, functions = set(), set()
    for number, value in message_fields(memoryview(path.read_bytes())):
        if number == MODEL_GRAPH:
            collect_nodes(value, GRAPH_NODE, found)
        elif number == MODEL_FUNCTIONS:
            fields = list(message_fields(value))
            functions.add(operator_name(text_field(fields, FUNCTION_DOMAIN), text_field(fields, FUNCTION_NAME)))
            collect_nodes(value, FUNCTION_NODE, found)
    return found - functions


# ---- Cases ----


def find_cases(data, pattern):
    cases = []
    for folder in FOLDERS:
        for path in sorted((data / folder).glob("*/model.onnx")):
            name = f"{folder}/{path.parent.name}"
            operators = model_operators(path)
            if not pattern or fnmatch.fnmatch(name, f"*{pattern}*") or pattern in operators:
                cases.append(Case(name, path.parent, operators))
    return cases


def read_reasons(path):
    """{case: reason} of a table with comment lines."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split("\t", 1) for line in lines if line and not line.startswith("#"))


def read_names(path):
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def supported_operators(smelt):
    rows = subprocess.run([smelt, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {row.split("|")[1].strip() for row in rows[2:] if row.startswith("|")}


class Worker:
    """A `smelt check --batch` process; started again after a case that ended it."""

    def __init__(self, smelt, options, timeout):
        self.command = [smelt, "check", "--batch", "--quiet", *TOLERANCES, *options]
        self.timeout, self.process = timeout, None

    def ask(self, case):
        """(exit code, message); the code is negative for a signal, None when there was no answer in time."""
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                            errors="replace")
        parts = [case.folder / "model.onnx", *sorted(case.folder.glob("test_data_set_*"))]
        self.process.stdin.write("\t".join(map(str, parts)) + "\n")
        self.process.stdin.flush()
        timer = threading.Timer(self.timeout, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        in_time = timer.is_alive()
        timer.cancel()
        if line:
            code, message = line.rstrip("\n").split("\t", 1)
            if int(code) == EXIT_WRONG_DEVICE:  # a GPU that has failed gives no more answers to this process
                self.close()
            return int(code), message
        code, self.process = self.process.wait(), None
        return (code or EXIT_INTERNAL if in_time else None), "no answer"

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


class Runner:
    def __init__(self, smelt, options, timeout, reasons, jobs):
        self.timeout, self.reasons = timeout, reasons
        self.supported = supported_operators(smelt)
        self.workers = queue.Queue()
        for _ in range(jobs):
            self.workers.put(Worker(smelt, options, timeout))

    def run(self, case):
        problem, refused = self.check(case)
        if problem is None:
            return Result(case, PASSED, "")
        if case.name in self.reasons and not problem.startswith(("killed", "exit 5", "no result")):
            return Result(case, SKIPPED, self.reasons[case.name])
        missing = sorted(case.operators - self.supported)
        if refused and missing:
            return Result(case, SKIPPED, "operator not supported: " + ", ".join(missing))
        return Result(case, FAILED, problem)

    def check(self, case):
        """(None, _) when it passes, else what is wrong and whether the model was refused as unsupported."""
        worker = self.workers.get()
        try:
            code, message = worker.ask(case)
        finally:
            self.workers.put(worker)  # whatever happens, or the others wait for ever
        if code == EXIT_OK:
            return None, False
        if code is None:
            return f"no result within {self.timeout} s", False
        if code < 0:
            return f"killed by signal {-code}", False
        return f"exit {code}: {message}", code == EXIT_BAD_INPUT and "not supported" in message

    def close(self):
        while not self.workers.empty():
            self.workers.get().close()


# ---- Reports ----


def print_table(results):
    rows = collections.defaultdict(collections.Counter)
    reasons = collections.defaultdict(collections.Counter)
    for result in results:
        for operator in result.case.operators:
            rows[operator][result.outcome] += 1
            if result.outcome == SKIPPED:
                reasons[operator][result.reason] += 1
    print("Cases per operator; each case counts for every operator in it.\n")
    print(f"{'operator':40} {PASSED:>7} {FAILED:>7} {SKIPPED:>7}  reasons of the skipped")
    for operator in sorted(rows):
        why = "; ".join(f"{textwrap.shorten(reason, 80)} ({count})" for reason, count in reasons[operator].most_common(2))
        more = len(reasons[operator]) - 2
        why += f"; {more} more reasons below" if more > 0 else ""
        row = rows[operator]
        print(f"{operator:40} {row[PASSED]:7} {row[FAILED]:7} {row[SKIPPED]:7}  {why}".rstrip())


def print_skipped(results):
    by_reason = collections.defaultdict(list)
    for result in results:
        if result.outcome == SKIPPED:
            by_reason[result.reason].append(result.case.name)
    for reason in sorted(by_reason):
        print(f"\nskipped, {reason} ({len(by_reason[reason])}):")
        print(textwrap.fill(" ".join(by_reason[reason]), width=120, initial_indent="  ", subsequent_indent="  ",
                            break_on_hyphens=False))


def print_failures(results):
    for result in results:
        if result.outcome == FAILED:
            print(f"failed  {result.case.name}: {result.reason}")


def write_json(path, results):
    rows = [{"case": r.case.name, "operators": sorted(r.case.operators), "outcome": r.outcome, "reason": r.reason}
            for r in results]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def check_must_pass(path, results, filtered):
    """Complaints about listed cases that did not pass; ones outside a filtered run do not count."""
    outcomes = {result.case.name: result for result in results}
    complaints = []
    for name in read_names(path):
        result = outcomes.get(name)
        if result is None and not filtered:
            complaints.append(f"must pass, but there is no such case: {name}")
        elif result is not None and result.outcome == SKIPPED:
            complaints.append(f"must pass, but was skipped: {name}: {result.reason}")
    return complaints


def check_reference(path, results):
    """Complaints about the table of node cases that says what ONNX Runtime makes of each (../shared/onnx_node_cases.tsv): all that it
    passes must pass here, and LEAST_IN_SCOPE of those in scope."""
    outcomes = {result.case.name: result for result in results}
    rows = [line.rstrip("\n").split("\t") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    wanted = [row for row in rows if row[3] == "1"]
    passed = [row for row in wanted if outcomes.get(f"node/{row[0]}") is not None and outcomes[f"node/{row[0]}"].outcome == PASSED]
    print(f"{len(passed)} of {len(wanted)} node cases in scope pass, ONNX Runtime passes {sum(row[5] == 'pass' for row in wanted)}")
    missing = [row for row in wanted if row[5] == "pass" and row not in passed]
    complaints = [f"ONNX Runtime passes it: node/{row[0]}" for row in missing]
    if len(passed) < LEAST_IN_SCOPE:
        complaints.append(f"fewer than {LEAST_IN_SCOPE} node cases in scope pass")
    return complaints


def write_must_pass(path, results):
    passed = sorted(result.case.name for result in results if result.outcome == PASSED)
    path.write_text("# Cases that passed before and may not be skipped or vanish; run_conformance.py "
                    "--update-must-pass writes this list.\n" + "".join(name + "\n" for name in passed), encoding="utf-8")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"), help="the program (build/smelt)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "build/onnx/onnx/backend/test/data",
                        help="folder of node/, simple/, ... (build/onnx/onnx/backend/test/data)")
    parser.add_argument("--filter", default="", metavar="PATTERN",
                        help="only cases whose name contains this (may hold * and ?) or that use this operator")
    parser.add_argument("--list-failures", action="store_true", help="print nothing but failed cases and the count")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all outcomes")
    parser.add_argument("--update-must-pass", action="store_true", help="rewrite must_pass.txt with what passed now")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases at a time (all cores)")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one case (60)")
    parser.add_argument("options", nargs="*", help="passed on to smelt check, after --")
    return parser.parse_args()


def main():
    args = parse_arguments()
    if not (args.data / "node").is_dir():
        print(f"{args.data} has no ONNX test data. Fetch it with\n"
              f"  pip install --no-deps --target {ROOT / 'build/onnx'} onnx=={ONNX_VERSION}")
        return EXIT_NO_DATA
    if not os.access(args.smelt, os.X_OK):
        print(f"{args.smelt} is not there: build it first (./dev build) or name it with --smelt")
        return EXIT_NO_PROGRAM
    reasons = read_reasons(HERE / "wrong_data.tsv")
    runner = Runner(args.smelt, args.options or ["--threads", "1"], args.timeout, reasons, args.jobs)
    cases = find_cases(args.data, args.filter)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(runner.run, cases))
    runner.close()
    if not args.list_failures:
        print_table(results)
        print_skipped(results)
        print()
        for result in results:
            if result.outcome == PASSED and result.case.name in reasons:
                print(f"note: {result.case.name} is in wrong_data.tsv, but passes")
    print_failures(results)
    if args.json:
        write_json(args.json, results)
    if args.update_must_pass and not args.filter:
        write_must_pass(HERE / "must_pass.txt", results)
    complaints = check_must_pass(HERE / "must_pass.txt", results, bool(args.filter))
    if NODE_CASES.exists() and not args.filter:
        complaints += check_reference(NODE_CASES, results)
    for complaint in complaints:
        print(complaint)
    counts = collections.Counter(result.outcome for result in results)
    print(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped")
    return 1 if counts[FAILED] or complaints or not results else 0


if __name__ == "__main__":
    sys.exit(main())
