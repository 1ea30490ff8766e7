#!/usr/bin/env python3
"""Writes docs/operators.md from `smelt ops --markdown` and the outcomes that tests/onnx/run_conformance.py --json writes.

With --check it writes nothing and fails when the page is not what it would write; without outcomes it then compares only
what smelt says of its operators.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operators.md"
OUTCOMES = ("passed", "failed", "skipped")

HEAD = """# Operators

Written by `docs/operators.py`; edit that instead. *opset* is the newest meaning; models of opset 7 and later are rewritten to it.
*precision* is the least one in which the operator may run. The last three columns count the cases of ONNX's own backend test on
the CPU target; a case counts for every operator in it, and `tests/onnx/wrong_data.tsv` says why some are skipped.

"""


def operator_rows(smelt):
    """(head, rows) as lists of cells."""
    text = subprocess.run([smelt, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return table[0], table[2:]


def count_outcomes(path):
    counts = collections.defaultdict(collections.Counter)
    for case in json.loads(path.read_text(encoding="utf-8")):
        for operator in case["operators"]:
            counts[operator][case["outcome"]] += 1
    return counts


def table_line(cells):
    return "| " + " | ".join(cells) + " |\n"


def write_page(head, rows, counts):
    lines = [HEAD, table_line([*head, *OUTCOMES]), "|" + "---|" * (len(head) + len(OUTCOMES)) + "\n"]
    for row in rows:
        lines.append(table_line([*row, *(str(counts[row[0]][outcome]) for outcome in OUTCOMES)]))
    others = sorted(set(counts) - {row[0] for row in rows})
    lines.append("\nOther operators of those cases: older names, which become one of the above, and ones that smelt refuses by name.\n\n")
    lines += [table_line(["operator", *OUTCOMES]), "|" + "---|" * (1 + len(OUTCOMES)) + "\n"]
    lines += [table_line([name, *(str(counts[name][outcome]) for outcome in OUTCOMES)]) for name in others]
    return "".join(lines)


def documented_rows(page, width):
    """The page's first table without the columns of outcomes."""
    table = page.split("\n\n")[2].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")][:width] for line in table]


def stale(page, head, rows, counts):
    if counts is not None:
        return page != write_page(head, rows, counts)
    return documented_rows(page, len(head)) != rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"))
    parser.add_argument("--outcomes", type=pathlib.Path, default=ROOT / "build" / "conformance.json")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    head, rows = operator_rows(options.smelt)
    counts = count_outcomes(options.outcomes) if options.outcomes.exists() else None
    if options.check:
        if stale(PAGE.read_text(encoding="utf-8"), head, rows, counts):
            print("docs/operators.md is stale: run docs/operators.py after tests/onnx/run_conformance.py --json build/conformance.json")
            return 1
        return 0
    if counts is None:
        print(f"{options.outcomes} is not there: tests/onnx/run_conformance.py --json writes it")
        return 2
    PAGE.write_text(write_page(head, rows, counts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
