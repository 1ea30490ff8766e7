#!/usr/bin/env python3
"""The table of passes in docs/passes.md, from passes/passes.def. --check: fails where the page has another one; without it: writes it."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = re.compile(r"<!-- passes:.*?-->\n"), "<!-- end -->"


def table():
    rows = re.findall(r'^PASS\((\w+), (true|false),\s*"([^"]*)"\)', (ROOT / "passes/passes.def").read_text(), re.M)
    lines = ["| | pass | | what it does |", "|---|---|---|---|"]
    lines += [f"| {i + 1} | `{name}` | {'always' if required == 'true' else ''} | {what} |" for i, (name, required, what) in enumerate(rows)]
    return "\n".join(lines) + "\n", len(rows)


def main():
    page = ROOT / "docs/passes.md"
    text = page.read_text()
    begin = BEGIN.search(text)
    wanted, count = table()
    if begin is None or END not in text or count == 0 or count != (ROOT / "passes/passes.def").read_text().count("\nPASS("):
        sys.exit("docs/passes.md has no place for the table, or passes.def is not what this script reads")
    new = text[:begin.end()] + wanted + text[text.index(END):]
    if "--check" not in sys.argv:
        page.write_text(new)
    elif new != text:
        sys.exit("docs/passes.md does not list the passes as passes.def has them: run docs/passes.py")
    print(f"{count} passes")


if __name__ == "__main__":
    main()
