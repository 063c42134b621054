#!/bin/sh
# coverage.sh BUILD TEST... -- SCRIPT... - runs both against a build with coverage mapping, then
# prints llvm-cov's table: per file and in total. What runs in the carrier's sandbox can write no
# profile, so the carrier is counted by its units only.
set -eu

build=$1
shift
units=
while [ "$1" != -- ]; do
	units="$units $1"
	shift
done
shift
rm -rf "$build/profiles"
mkdir -m 1777 "$build/profiles"
# %m: one file for each program, merged as processes end.
export LLVM_PROFILE_FILE="$PWD/$build/profiles/%m.profraw"
export TEST_LOGS="$build/test-logs"
ABIDE_BUILD=$PWD/$build
export ABIDE_BUILD
# shellcheck disable=SC2086 # words
tests/run.sh -t 600 unit $units || true
tests/run.sh -t 600 cli "$@" || true
llvm-profdata merge -o "$build/profile" "$build"/profiles/*.profraw
objects=
for object in $units "$build/abide" "$build/abide-image"; do
	[ ! -x "$object" ] || objects="$objects -object $object"
done
# shellcheck disable=SC2086 # words
llvm-cov report -instr-profile "$build/profile" -ignore-filename-regex '(^|/)tests/' \
	-show-region-summary=false $objects
