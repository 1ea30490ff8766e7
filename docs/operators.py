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
FORMS = """## Older forms, and operators of others

Models may also hold these; the importer writes each as operators of the first table.
"""
OTHERS = """## Further operators of those cases

Constant is read by the importer; the others are refused by name.
"""


def operator_tables(smelt):
    """(head, rows) of the operators and of the forms that become such, as lists of cells."""
    text = subprocess.run([smelt, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout
    tables = []
    for part in text.strip().split("\n\n"):
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        tables.append((table[0], table[2:]))
    return tables


def count_outcomes(path):
    counts = collections.defaultdict(collections.Counter)
    for case in json.loads(path.read_text(encoding="utf-8")):
        for operator in case["operators"]:
            counts[operator][case["outcome"]] += 1
    return counts


def table_line(cells):
    return "| " + " | ".join(cells) + " |\n"


def write_table(head, rows):
    return "".join([table_line(head), "|" + "---|" * len(head) + "\n", *(table_line(row) for row in rows)])


def write_page(operators, forms, counts):
    def counted(name):
        return [str(counts[name][outcome]) for outcome in OUTCOMES]

    others = sorted(set(counts) - {row[0] for _, rows in (operators, forms) for row in rows})
    return "\n".join([
        HEAD, write_table([*operators[0], *OUTCOMES], [[*row, *counted(row[0])] for row in operators[1]]), FORMS, write_table(*forms),
        OTHERS, write_table(["operator", *OUTCOMES], [[name, *counted(name)] for name in others])])


def documented_rows(page, head):
    """The page's table that begins with these columns, without further ones."""
    part = next(part for part in page.split("\n\n") if part.startswith("| " + " | ".join(head)))
    return [[cell.strip() for cell in line.strip("|").split("|")][: len(head)] for line in part.splitlines()[2:]]


def stale(page, operators, forms, counts):
    if counts is not None:
        return page != write_page(operators, forms, counts)
    return any(documented_rows(page, head) != rows for head, rows in (operators, forms))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smelt", default=str(ROOT / "build" / "smelt"))
    parser.add_argument("--outcomes", type=pathlib.Path, default=ROOT / "build" / "conformance.json")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    operators, forms = operator_tables(options.smelt)
    counts = count_outcomes(options.outcomes) if options.outcomes.exists() else None
    if options.check:
        if stale(PAGE.read_text(encoding="utf-8"), operators, forms, counts):
            print("docs/operators.md is stale: run docs/operators.py after tests/onnx/run_conformance.py --json build/conformance.json")
            return 1
        return 0
    if counts is None:
        print(f"{options.outcomes} is not there: tests/onnx/run_conformance.py --json writes it")
        return 2
    PAGE.write_text(write_page(operators, forms, counts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
