#!/usr/bin/env bash
# Runs every target for SECONDS (5) with its seeds and dictionary, one on each processor: fuzz/smoke.sh [SECONDS]
# Fails on the first crash. Finds nothing deep: that the targets build, start and hold is the point.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-5}
# Any toolchain of that channel: NIGHTLY=nightly-2026-05-20
nightly=+${NIGHTLY:-nightly}
cargo "$nightly" fuzz build
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

smoke() {
    local target=$1 log=$scratch/$1.log
    local options=("-max_total_time=$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1)
    local dictionary=fuzz/dictionaries/$target.dict
    [[ -f $dictionary ]] && options+=("-dict=$dictionary")
    # The first folder takes what is found; a smoke run leaves no trace of it.
    mkdir "$scratch/$target"
    if ! cargo "$nightly" fuzz run "$target" "$scratch/$target" "fuzz/corpus/$target" -- \
        "${options[@]}" >"$log" 2>&1; then
        # The panic's sentence stands before libFuzzer's own report.
        grep -A 30 'panicked at' "$log" | head -n 40 || true
        tail -n 30 "$log"
        echo "fuzz: $target failed" >&2
        # The value on which xargs starts no more targets.
        return 255
    fi
    echo "fuzz: $target for $seconds s, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
}
export -f smoke
export seconds nightly scratch

printf '%s\n' fuzz/fuzz_targets/*.rs | sed 's|.*/||; s|\.rs$||' |
    xargs -P "$(nproc)" -I '{}' bash -euo pipefail -c 'smoke "$1"' smoke '{}'
