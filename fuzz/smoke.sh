#!/usr/bin/env bash
# Runs every target for SECONDS (5) with its seeds and dictionary: fuzz/smoke.sh [SECONDS]
# Fails on the first crash. Finds nothing deep: that the targets build, start and hold is the point.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-5}
# Any toolchain of that channel: NIGHTLY=nightly-2026-05-20
nightly=+${NIGHTLY:-nightly}
cargo "$nightly" fuzz build
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for file in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    options=("-max_total_time=$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1)
    dictionary=fuzz/dictionaries/$target.dict
    [[ -f $dictionary ]] && options+=("-dict=$dictionary")
    # The first folder takes what is found; a smoke run leaves no trace of it.
    mkdir "$scratch/$target"
    echo "fuzz: $target for $seconds s"
    if ! cargo "$nightly" fuzz run "$target" "$scratch/$target" "fuzz/corpus/$target" -- \
        "${options[@]}" >"$scratch/log" 2>&1; then
        # The panic's sentence stands before libFuzzer's own report.
        grep -A 30 'panicked at' "$scratch/log" | head -n 40 || true
        tail -n 30 "$scratch/log"
        echo "fuzz: $target failed" >&2
        exit 1
    fi
    grep -E '^stat::number_of_executed_units' "$scratch/log"
done
