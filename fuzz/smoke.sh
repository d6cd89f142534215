#!/usr/bin/env bash
# Builds every target and runs it for SECONDS (5) with its seeds and dictionary, one on each processor:
#
#   fuzz/smoke.sh [SECONDS]
#
# Both are done as ClusterFuzzLite and OSS-Fuzz do them: .clusterfuzzlite/build.sh builds, and the targets run in a copy
# of what it made, away from the repository and from cargo. Fails on the first crash, and if a seed or a dictionary was
# not loaded. Finds nothing deep: that the targets build, start and hold is the point.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-5}
repository=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mkdir "$scratch/src" "$scratch/work" "$scratch/built"
ln -s "$repository" "$scratch/src/socklab"
# Any toolchain of that channel: NIGHTLY=nightly-2026-05-20
SRC=$scratch/src WORK=$scratch/work OUT=$scratch/built RUSTUP_TOOLCHAIN=${NIGHTLY:-nightly} SANITIZER=address \
    FUZZING_ENGINE=libfuzzer FUZZING_LANGUAGE=rust ARCHITECTURE=x86_64 .clusterfuzzlite/build.sh
# The engines run the targets on another machine.
out=$scratch/out
mv "$scratch/built" "$out"

smoke() {
    local target=$1 log=$scratch/$1.log corpus=$scratch/corpus/$1 found=$repository/fuzz/artifacts/$1
    local options=("-max_total_time=$seconds" -rss_limit_mb=2560 -timeout=25 -print_final_stats=1
        "-artifact_prefix=$found/")
    local seeds words=0
    seeds=$(find "fuzz/corpus/$target" -type f | wc -l)
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        options+=("-dict=$target.dict")
        words=$(grep -c '^[^#]*"' "fuzz/dictionaries/$target.dict")
    fi
    mkdir -p "$corpus" "$found"
    python3 -m zipfile -e "$out/${target}_seed_corpus.zip" "$corpus"
    if ! (cd "$out" && env -i PATH=/usr/bin:/bin "./$target" "${options[@]}" "$corpus") >"$log" 2>&1 </dev/null; then
        # The panic's sentence stands before libFuzzer's own report.
        grep -A 30 'panicked at' "$log" | head -n 40 || true
        tail -n 30 "$log"
        echo "fuzz: $target failed" >&2
        # The value on which xargs starts no more targets.
        return 255
    fi
    # What libFuzzer loaded. An empty seed is a file, but not an input.
    local loaded
    loaded=$(sed -n 's/^INFO: *\([0-9]*\) files found in .*/\1/p' "$log")
    if [ "$loaded" != "$seeds" ] || { [ "$words" != 0 ] && ! grep -q "^Dictionary: $words entries" "$log"; }; then
        grep -e '^INFO' -e '^Dictionary' "$log"
        echo "fuzz: $target did not start from its $seeds seeds and its dictionary of $words entries" >&2
        return 255
    fi
    rmdir "$found" 2>/dev/null || true
    echo "fuzz: $target for $seconds s, $seeds seeds, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
}
export -f smoke
export seconds repository scratch out

printf '%s\n' fuzz/fuzz_targets/*.rs | sed 's|.*/||; s|\.rs$||' |
    xargs -P "$(nproc)" -I '{}' bash -euo pipefail -c 'smoke "$1"' smoke '{}'
