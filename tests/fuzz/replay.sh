#!/bin/sh
# replay.sh FUZZER - every input of the fuzzer's corpus once through it, and the empty input.
set -eu

name=$(basename "$1")
corpus=$(dirname "$0")/corpus/${name#fuzz_}
# shellcheck source=tests/fuzz/lib.sh
. "$(dirname "$0")/lib.sh"
: >"$1.empty"
find "$corpus" -type f 2>/dev/null | sort >"$1.list"
[ -s "$1.list" ] || { echo "no corpus in $corpus" && exit 1; }
xargs "$1" "$1.empty" <"$1.list"
