#!/bin/sh
# run.sh [SECONDS] [TARGET]...: builds the fuzz targets with clang and libFuzzer in build-fuzz/ and runs each for that many seconds (60), from the
# seeds in corpus/. What it finds stays in build-fuzz/: new inputs in corpus-<target>/, crashes in crash-<target>/. Fails when there was a crash.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
command -v clang >/dev/null || { echo "fuzzing needs clang and libclang-rt (apt-get install clang libclang-rt-14-dev)" >&2; exit 1; }

cmake -G Ninja -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DSMELT_FUZZ=ON >/dev/null
targets=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/fuzz_\(.*\)\.c/\1/')}
for what in $targets; do cmake --build build-fuzz -j "$(nproc)" --target "fuzz_$what"; done

failed=""
for what in $targets; do
    mkdir -p "build-fuzz/corpus-$what" "build-fuzz/crash-$what"
    seeds="tests/fuzz/corpus/$what"
    [ -d "tests/bad_${what}s" ] && seeds="$seeds tests/bad_${what}s"
    [ "$what" = import ] && seeds="$seeds tests/bad_models"
    echo "== $what, $seconds s"
    # Inputs that take 20 s or 2 GB are crashes too: bad input must fail within seconds and bounded memory.
    # shellcheck disable=SC2086
    "build-fuzz/tests/fuzz_$what" "build-fuzz/corpus-$what" $seeds -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="build-fuzz/crash-$what/" -print_final_stats=1 -verbosity=0 2>"build-fuzz/$what.log" || failed="$failed $what"
    grep -E "^stat::number_of_executed_units|SUMMARY|^==[0-9]+==" "build-fuzz/$what.log" || true
done
[ -z "$failed" ] && exit 0
echo "crashes:$failed (inputs in build-fuzz/crash-*, reports in build-fuzz/*.log)" >&2
exit 1
