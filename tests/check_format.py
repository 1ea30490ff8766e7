#!/usr/bin/env python3
"""Every C file is laid out as clang-format does it (./dev format). One header holds C++."""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = 77


def main():
    formatter = shutil.which("clang-format-14") or shutil.which("clang-format")
    if formatter is None:
        print("clang-format is not installed")
        return SKIPPED
    out = subprocess.run(["git", "ls-files", "*.c", "*.h", ":!tests/kernels_host/device_shim.h"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode != 0:
        print("not a git checkout: which files are the repository's is not known")
        return SKIPPED
    files = [name for name in out.stdout.split() if (ROOT / name).is_file()]
    if not files:
        print("no files were found: the check itself is broken")
        return 1
    found = subprocess.run([formatter, "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True)
    print(f"{len(files)} files")
    print(found.stderr)
    return 1 if found.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
