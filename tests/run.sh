#!/bin/sh
# run.sh - run test programs, each with a time limit; count their tests; tell.
#
#	tests/run.sh [-b STATUS] [-j JOBS] [-t SECONDS] [-w WRAPPER] SUITE PROGRAM...
#	tests/run.sh -s
#
# A program is a cmocka binary, a shell script (*.sh), or any program that says yes or no with its
# exit status. Its output goes to build/test-logs/SUITE/NAME.log, and one line about it is printed;
# on failure the log's end too. Counted are cmocka's tests, a script's `ok` and `not ok` lines, else
# the program as one. A crash, a time-out, a missing program and a test that was announced but
# never ran count as failed; so does the build, if -b says that it failed: the programs may then be
# old ones. Exit status 77 means skipped.
#
# -s sums up every suite run since the logs were removed: `N passed, N failed`.
set -eu

logs=${TEST_LOGS:-build/test-logs}
build=0
jobs=1
limit=120
wrapper=""
sum=""

# Reads a log; prints: passed failed skipped. $1 is the exit status.
count() {
	awk -v status="$1" '
		match($0, /\[==========\] Running [0-9]+ test/) { split(substr($0, RSTART), w, " "); planned += w[3] }
		/\[       OK \]/ { ok++ }
		/\[  SKIPPED \] [^0-9]/ { skipped++ }
		/^ok/ { if (/# *[Ss][Kk][Ii][Pp]/) tapskip++; else tapok++ }
		/^not ok/ { tapbad++ }
		END {
			# cmocka lists what it skipped a second time at its end
			skipped = int((skipped + 1) / 2)
			bad = planned - ok - skipped
			if (bad < 0) bad = 0
			ok += tapok; bad += tapbad; skipped += tapskip
			if (status == 77 && bad == 0) skipped = skipped ? skipped : 1
			else if (status != 0 && bad == 0) bad = 1
			else if (ok + bad + skipped == 0) ok = 1
			print ok + 0, bad + 0, skipped + 0
		}'
}

verdict() { # status limit
	case $1 in
	0) echo ok ;;
	77) echo skipped ;;
	124 | 137) echo "FAILED: still running after $2 s" ;;
	126 | 127) echo "FAILED: no such program" ;;
	*) if [ "$1" -gt 128 ]; then echo "FAILED: killed by signal $(($1 - 128))"; else echo FAILED; fi ;;
	esac
}

run_one() { # suite program
	name=$(basename "$2" .sh)
	log=$logs/$1/$name.log
	start=$(date +%s%N)
	status=0
	case $2 in
	*.sh) set -- "$1" sh "$2" ;;
	esac
	suite=$1
	shift
	# shellcheck disable=SC2086 # the wrapper is words
	env -u RUN_ONE timeout -k 5 "$limit" $wrapper "$@" >"$log" 2>&1 </dev/null || status=$?
	counts=$(count "$status" <"$log")
	echo "$counts" >"$logs/$suite/$name.result"
	ms=$((($(date +%s%N) - start) / 1000000))
	# shellcheck disable=SC2086 # three numbers
	set -- $counts
	say=$(verdict "$status" "$limit")
	[ "$status" -ne 0 ] || [ "$2" -eq 0 ] || say=FAILED
	{
		printf '%-8s %-34s %4d passed %3d failed %2d skipped %4d.%d s  %s\n' \
			"$suite" "$name" "$1" "$2" "$3" $((ms / 1000)) $((ms % 1000 / 100)) "$say"
		[ "$2" -eq 0 ] || { tail -n 40 "$log" | sed 's/^/    | /'; }
		[ "$2" -eq 0 ] || echo "    whole log: $log"
	} >"$log.say"
	cat "$log.say" # at once, so that parallel programs do not mix
	rm -f "$log.say"
}

sum_up() { # directory...; sets passed, failed, skipped
	find "$@" -name '*.result' -exec cat {} + 2>/dev/null |
		awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }'
}

while getopts b:j:t:w:s option; do
	case $option in
	b) build=$OPTARG ;;
	j) jobs=$OPTARG ;;
	t) limit=$OPTARG ;;
	w) wrapper=$OPTARG ;;
	s) sum=yes ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

if [ "$sum" ]; then
	# shellcheck disable=SC2046 # three numbers
	set -- $(sum_up "$logs")
	[ "$3" -eq 0 ] || echo "($3 skipped, see $logs)"
	echo "$1 passed, $2 failed"
	[ "$2" -eq 0 ] && [ "$1" -gt 0 ]
	exit
fi

suite=$1
shift
if [ "${RUN_ONE:-}" ]; then
	run_one "$suite" "$1"
	exit 0
fi
rm -rf "${logs:?}/$suite"
mkdir -p "$logs/$suite"
[ "$build" -eq 0 ] || {
	echo "$suite: FAILED: not everything could be built"
	echo 0 1 0 >"$logs/$suite/build.result"
}
[ $# -gt 0 ] || { # a suite that lost its programs must not look fine
	echo "$suite: FAILED: nothing to run"
	echo 0 1 0 >"$logs/$suite/nothing.result"
	exit 1
}
start=$(date +%s)
printf '%s\n' "$@" | RUN_ONE=yes TEST_LOGS=$logs xargs -P "$jobs" -n 1 \
	sh "$0" -t "$limit" -w "$wrapper" "$suite"
# shellcheck disable=SC2046 # three numbers
set -- $(sum_up "$logs/$suite")
echo "$suite: $1 passed, $2 failed, $3 skipped in $(($(date +%s) - start)) s"
[ "$2" -eq 0 ]
