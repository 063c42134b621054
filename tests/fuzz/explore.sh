#!/bin/sh
# explore.sh FUZZER - fuzzes for FUZZ_SECONDS, starting from the corpus in the source. New inputs
# stay in build-fuzz/new/NAME, what crashes in build-fuzz/crash/NAME; a crash fails.
set -eu

name=$(basename "$1")
name=${name#fuzz_}
corpus=$(dirname "$0")/corpus/$name
new=build-fuzz/new/$name
crash=build-fuzz/crash/$name
# shellcheck source=tests/fuzz/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir -p "$new" "$crash"
[ -d "$corpus" ] || { echo "no corpus in $corpus" && exit 1; }
"$1" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
	-artifact_prefix="$crash/" "$new" "$corpus"
