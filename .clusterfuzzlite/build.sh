#!/usr/bin/env bash
# Builds every fuzz target into $OUT, with its seeds and its dictionary, as ClusterFuzzLite and OSS-Fuzz expect:
#
#   $OUT/TARGET   $OUT/TARGET_seed_corpus.zip   $OUT/TARGET.dict
#
# Their image sets the variables, chooses the toolchain and has the repository in $SRC/socklab. fuzz/smoke.sh runs this
# script without the image.
set -euo pipefail

# cargo reads RUSTFLAGS, and the C++ of libFuzzer is compiled with CXXFLAGS: nothing to do for either.
case ${SANITIZER:=address} in
    # For a report of coverage the image's cargo replaces this build by one of its own.
    coverage | none) sanitizer=none ;;
    address) sanitizer=address ;;
    *)
        echo "SANITIZER=$SANITIZER is not supported: use address, coverage or none" >&2
        exit 1
        ;;
esac
if [ "${FUZZING_LANGUAGE:-rust}" != rust ] || [ "${FUZZING_ENGINE:-libfuzzer}" != libfuzzer ]; then
    echo "only FUZZING_LANGUAGE=rust and FUZZING_ENGINE=libfuzzer are supported" >&2
    exit 1
fi

cd "$SRC/socklab"
host=$(rustc --version --verbose | sed -n 's/^host: //p')
# The assertions are what most targets are about.
cargo fuzz build -O --debug-assertions --sanitizer "$sanitizer" --target "$host"

# `cargo fuzz list` would give the same names, but the image's cargo builds instead of listing when SANITIZER=coverage.
for source in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    cp "${CARGO_TARGET_DIR:-fuzz/target}/$host/release/$target" "$OUT/"
    # Not zip: the image has both, and a machine that builds this repository has Python.
    python3 -m zipfile -c "$OUT/${target}_seed_corpus.zip" "fuzz/corpus/$target"/*
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        cp "fuzz/dictionaries/$target.dict" "$OUT/"
    fi
done
