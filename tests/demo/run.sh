#!/bin/sh
# The demo: a face detector from tests/models, compiled and run on a portrait. Usage: run.sh [OUTPUT-FOLDER]
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build/demo}
mkdir -p "$out"
model=tests/models/yunet-n-320/model.onnx

echo "== the model: YuNet, a face detector"
build/smelt inspect "$model"
echo
echo "== smelt build: ONNX to plan"
build/smelt build "$model" -o "$out/yunet.plan"
echo
echo "== smelt inspect: the plan"
build/smelt inspect "$out/yunet.plan"
echo
echo "== examples/find_faces: the plan through the runtime library, on tests/demo/portrait.png"
build/find_faces "$out/yunet.plan" tests/demo/portrait.png "$out/faces.png"
