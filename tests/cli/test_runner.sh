#!/bin/sh
# The runner itself: nothing that went wrong may look as if it had passed.
# shellcheck source=tests/cli/lib_build.sh
. "$(dirname "$0")/lib_build.sh"

program() { # name, body on standard input
	{ echo '#!/bin/sh' && cat; } >"$work/$1"
	chmod +x "$work/$1"
}

# Runs one program and compares the sum: passed failed skipped.
counts() { # what program wanted-counts
	status=0
	TEST_LOGS=$work/logs "$top/tests/run.sh" -t 1 suite "$work/$2" >"$work/out" 2>&1 || status=$?
	found=$(cat "$work"/logs/suite/*.result)
	wanted_status=0
	[ "$(echo "$3" | cut -d' ' -f2)" -eq 0 ] || wanted_status=1
	if [ "$found" = "$3" ] && [ "$status" -eq "$wanted_status" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1: '$found', status $status; expected '$3', status $wanted_status"
		failed=1
	fi
}

program yes <<'EOS'
exit 0
EOS
program no <<'EOS'
exit 3
EOS
program crash <<'EOS'
kill -SEGV $$
EOS
program hang <<'EOS'
exec sleep 60
EOS
program later <<'EOS'
echo no loop devices here
exit 77
EOS
program tap.sh <<'EOS'
echo ok - one
echo ok - two
echo not ok - three
echo "ok - four # SKIP no network"
exit 1
EOS
program tap-then-dies.sh <<'EOS'
echo ok - one
exit 1
EOS
program tap-exits-0.sh <<'EOS'
echo not ok - one
EOS
program cmocka <<'EOS'
echo '[==========] Running 3 test(s).'
echo '[       OK ] a'
echo '[  SKIPPED ] b'
echo '[       OK ] c'
echo '[  PASSED  ] 2 test(s).'
echo '[  SKIPPED ] 1 test(s), listed below:'
echo '[  SKIPPED ] b'
EOS
program cmocka-stops <<'EOS'
echo '[==========] Running 3 test(s).'
echo '[       OK ] a'
EOS
program cmocka-twice <<'EOS'
echo '[==========] Running 1 test(s).'
echo '[       OK ] a'
echo '[==========] Running 1 test(s).'
echo '[  FAILED  ] b'
exit 1
EOS

counts "a program that succeeds is one test" yes "1 0 0"
counts "one that fails is one failure" no "0 1 0"
counts "a crash is a failure" crash "0 1 0"
counts "a program that hangs is stopped and is a failure" hang "0 1 0"
counts "a missing program is a failure" missing "0 1 0"
counts "77 is skipped" later "0 0 1"
counts "ok, not ok and SKIP lines are counted" tap.sh "2 1 1"
counts "a script that dies after its last ok failed" tap-then-dies.sh "1 1 0"
counts "a script that says not ok failed, whatever its status" tap-exits-0.sh "0 1 0"
counts "cmocka's tests are counted" cmocka "2 0 1"
counts "what cmocka announced and did not run failed" cmocka-stops "1 2 0"
counts "two groups in one program" cmocka-twice "1 1 0"

if TEST_LOGS=$work/logs "$top/tests/run.sh" empty >/dev/null 2>&1; then
	echo "not ok - a suite without programs is a failure"
	failed=1
else
	echo "ok - a suite without programs is a failure"
fi
if TEST_LOGS=$work/logs "$top/tests/run.sh" -b 2 built "$work/yes" >/dev/null 2>&1; then
	echo "not ok - a build that failed is a failure, though old programs may still pass"
	failed=1
else
	echo "ok - a build that failed is a failure, though old programs may still pass"
fi
rm -rf "$work/logs"
TEST_LOGS=$work/logs "$top/tests/run.sh" -j 2 one "$work/yes" "$work/cmocka" >/dev/null
TEST_LOGS=$work/logs "$top/tests/run.sh" two "$work/no" "$work/yes" >/dev/null || true
status=0
TEST_LOGS=$work/logs "$top/tests/run.sh" -s >"$work/out" || status=$?
if [ "$(tail -n 1 "$work/out")" = "4 passed, 1 failed" ] && [ "$status" -ne 0 ]; then
	echo "ok - the sum is over all suites, in one line"
else
	echo "not ok - the sum is over all suites, in one line: $(cat "$work/out")"
	failed=1
fi
finish
