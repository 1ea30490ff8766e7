#!/usr/bin/env python3
"""Rules about the source that no compiler checks: who includes whom, calls that do not belong in libraries, and sizes."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders it may include. Source: the arrows of the README's picture.
MAY_INCLUDE = {
    "base": set(),
    "ops": {"base"},
    "ir": {"base", "ops"},
    "frontend": {"base", "ops", "ir"},
    "passes": {"base", "ops", "ir"},
    "plan_format": {"base"},
    "kernels": {"base", "ops", "ir", "plan_format"},
    "runtime": {"base", "ops", "plan_format"},
    "compiler": {"base", "ops", "ir", "frontend", "passes", "plan_format", "kernels", "runtime"},
    "cli": {"base", "ops", "ir", "frontend", "passes", "plan_format", "kernels", "runtime", "compiler"},
    "examples": {"runtime", "compiler"},
}
# Calls that no library makes: whoever links it decides about the process and its output.
FORBIDDEN_CALLS = re.compile(r"(?<![\w.>])(exit|_exit|abort|printf|fprintf|puts|putchar|perror|malloc|calloc|realloc|free|strdup|system)\s*\(")
LIBRARIES = set(MAY_INCLUDE) - {"cli", "examples"}
ALLOWED_CALLS = {"base/memory.c": {"free"}}  # aligned_alloc and free stand behind mem_alloc
MOST_LINES = 600
MOST_FUNCTION_LINES = 100
MEDIAN_FUNCTION_LINES = 15
P90_FUNCTION_LINES = 60
FORBIDDEN_TEXT = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def strip_comments_and_strings(text):
    """Blanks out comments and literals, keeping line breaks."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def tracked_files():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = out.stdout.split() if out.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]
    return sorted(name for name in names if (ROOT / name).is_file())


def check_includes(name, text, problems):
    folder = name.split("/")[0]
    if folder not in MAY_INCLUDE:
        return
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        target = match.group(1).split("/")[0] if "/" in match.group(1) else None
        if target is None:
            if match.group(1) != "onnx.pb-c.h" or folder != "frontend":
                problems.append(f"{name}:{number}: includes \"{match.group(1)}\" without its folder")
        elif target != folder and target not in MAY_INCLUDE[folder]:
            problems.append(f"{name}:{number}: {folder} may not include {target}")


def check_calls(name, code, problems):
    if name.split("/")[0] not in LIBRARIES:
        return
    for number, line in enumerate(code.split("\n"), 1):
        for match in FORBIDDEN_CALLS.finditer(line):
            if match.group(1) not in ALLOWED_CALLS.get(name, set()):
                problems.append(f"{name}:{number}: {match.group(1)}() does not belong in a library")


def function_lengths(code):
    """Lines from each top-level opening brace to its closing brace, for bodies of functions (a ')' before the brace)."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines):
        if start is None and line.endswith("{") and not line.startswith((" ", "\t", "#")) and ")" in line:
            start = number
        elif start is None and line.endswith("{") and line.startswith(" ") and ") {" in line and is_continuation(lines, number):
            start = number
        elif start is not None and line.startswith("}"):
            yield start + 1, number - start + 1
            start = None


def is_continuation(lines, number):
    """A wrapped parameter list: the line before ends with a comma or opens the list at column 0."""
    while number > 0 and lines[number].startswith(" "):
        number -= 1
    return bool(re.match(r"[A-Za-z_].*\(", lines[number])) and not lines[number].rstrip().endswith(("{", ";"))


def main():
    problems, lengths = [], []
    files = tracked_files()
    for name in files:
        if not name.endswith((".c", ".h", ".cu", ".cuh", ".py", ".sh")) and name != "dev":
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        count = text.count("\n")
        if count > MOST_LINES:
            problems.append(f"{name}: {count} lines, at most {MOST_LINES}")
        if name != "tests/check_layout.py":
            for number, line in enumerate(text.split("\n"), 1):
                if FORBIDDEN_TEXT.search(line):
                    problems.append(f"{name}:{number}: unfinished business: {line.strip()}")
        if not name.endswith((".c", ".h")):
            continue
        code = strip_comments_and_strings(text)
        check_includes(name, text, problems)
        check_calls(name, code, problems)
        if name.split("/")[0] in MAY_INCLUDE:
            for line, length in function_lengths(code):
                lengths.append(length)
                if length > MOST_FUNCTION_LINES:
                    problems.append(f"{name}:{line}: function of {length} lines, at most {MOST_FUNCTION_LINES}")
    lengths.sort()
    if lengths:
        median, p90 = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
        print(f"{len(lengths)} functions: median {median} lines, p90 {p90}, longest {lengths[-1]}")
        if median > MEDIAN_FUNCTION_LINES or p90 > P90_FUNCTION_LINES:
            problems.append(f"functions are long: median {median} (at most {MEDIAN_FUNCTION_LINES}), p90 {p90} (at most {P90_FUNCTION_LINES})")
    else:
        problems.append("no functions were found: the check itself is broken")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
