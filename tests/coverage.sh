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
# Columns: name, then functions, lines and branches, each with how many, missed, covered.
# shellcheck disable=SC2086 # words
llvm-cov report -instr-profile "$build/profile" -ignore-filename-regex '(^|/)tests/' \
	-show-region-summary=false $objects |
	awk '
		function row(name, lines, missed, covered, branches) {
			printf "%-36s %7s %7s %9s %10s\n", name, lines, missed, covered, branches
		}
		BEGIN { row("file", "lines", "missed", "covered", "branches") }
		$1 ~ /\.[ch]$/ && $2 > 0 || $1 == "TOTAL" { row($1, $5, $6, $7, $10) }'
