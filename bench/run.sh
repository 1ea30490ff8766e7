#!/bin/sh
# Benchmarks of the CPU target; makes a virtual environment for the peers. Arguments go to cpu.py.
set -eu
cd "$(dirname "$0")/.."
venv=build/bench-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import numpy, onnxruntime' 2>/dev/null || "$venv/bin/pip" install --quiet numpy onnxruntime
exec "$venv/bin/python" bench/cpu.py "$@"
