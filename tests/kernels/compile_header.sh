#!/bin/sh
# compile_header.sh NVCC kernels/cuda/NAME.cuh: compiles one device header alone for the oldest and the newest architectures, with 32-bit
# and 64-bit indices; warnings are errors.
set -eu
nvcc=$1
header=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$(dirname "$header")" "$work/smelt"
printf '#include "smelt/%s"\n' "$(basename "$header")" >"$work/unit.cu"
for index in "int" "long long"; do
    "$nvcc" -std=c++17 --Werror all-warnings -I "$work" "-DSMELT_INDEX=$index" -cubin -arch=sm_75 -o "$work/unit.cubin" "$work/unit.cu"
    "$nvcc" -std=c++17 --Werror all-warnings -I "$work" "-DSMELT_INDEX=$index" -cubin -arch=sm_90a -o "$work/unit.cubin" "$work/unit.cu"
done
