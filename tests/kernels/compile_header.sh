#!/bin/sh
# compile_header.sh NVCC kernels/cuda/NAME.cuh: compiles one device header alone, with 32-bit indices for the oldest and with 64-bit
# indices for the newest architecture; warnings are errors.
set -eu
nvcc=$1
header=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$(dirname "$header")" "$work/smelt"
printf '#include "smelt/%s"\n' "$(basename "$header")" >"$work/unit.cu"
compile() { "$nvcc" -std=c++17 --Werror all-warnings -I "$work" "-DSMELT_INDEX=$1" -cubin "-arch=$2" -o "$work/unit.cubin" "$work/unit.cu"; }
compile int sm_75
compile "long long" sm_90a
