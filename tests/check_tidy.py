#!/usr/bin/env python3
"""check_tidy.py BUILD_FOLDER [FILE]...: clang-tidy over the product's C files, all cores, one process for each: with several files in one,
clang-tidy 14 takes every va_list after the first file for uninitialised. The slowest files are named, as they decide how long it takes."""
import concurrent.futures
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["base", "ops", "ir", "frontend", "passes", "plan_format", "kernels", "runtime", "compiler", "cli"]
SKIPPED = 77


def tracked_files():
    out = subprocess.run(["git", "ls-files", "--"] + [f"{folder}/*.c" for folder in FOLDERS], cwd=ROOT, capture_output=True, text=True)
    if out.returncode == 0 and out.stdout:
        return sorted(name for name in out.stdout.split() if (ROOT / name).is_file())
    return sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.c"))


def run(tidy, build, name):
    start = time.monotonic()
    out = subprocess.run([tidy, "-p", build, "--quiet", str(ROOT / name)], capture_output=True, text=True)
    return name, out.returncode, out.stdout, time.monotonic() - start


def main():
    tidy = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if tidy is None:
        print("clang-tidy is not installed")
        return SKIPPED
    build, files = sys.argv[1], sys.argv[2:] or tracked_files()
    if not files:
        print("no files were found: the check itself is broken")
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = []
        for name, code, findings, took in pool.map(lambda name: run(tidy, build, name), files):
            results.append((name, code, findings, took))
            if code != 0:
                print(f"== {name}\n{findings.strip()}", flush=True)
    failed = [result for result in results if result[1] != 0]
    slowest = sorted(results, key=lambda result: -result[3])[:5]
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"{len(files)} files, {len(failed)} with findings, {seconds:.0f} s of processor time; slowest: "
          + ", ".join(f"{name} {took:.0f} s" for name, _, _, took in slowest))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
