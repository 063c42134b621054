#!/bin/sh
# Stopped, killed, locked out: the device is as before, and the same command goes on.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 48M
sed -i 's/^stall-timeout.*/stall-timeout = 60/' "$work/system.conf"
# Large enough to be met half-way.
{
	noise 7 20000000
	head -c 4000000 /dev/zero
	noise 8 12000000
} >"$work/image-2"
truncate -s %4096 "$work/image-2"
bundle 2 2.0 "$work/image-2"
bundle_size=$(stat -c %s "$work/2.abide")
running=$(slot_print a)
# Copies with a path of their own: their processes can be told from others'.
cp "$ABIDE" "$(dirname "$ABIDE")/abide-carrier" "$work"
ABIDE=$work/abide
sleep_a_bit() { sleep 0.1; }

processes() { # of the copies
	for exe in /proc/[0-9]*/exe; do
		case $(readlink "$exe" 2>/dev/null) in
		"$work"/abide*) echo "$exe" ;;
		esac
	done
}

none_left() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ -n "$(processes)" ] || return 0
		sleep_a_bit
	done
	processes
	return 1
}

# An install that reads from a pipe which stops half-way, and stays open.
mkfifo "$work/pipe"
start_stuck_install() {
	truncate -s 0 "$work/rootfs-b"
	truncate -s 48M "$work/rootfs-b"
	grubenv A 1 0 0 0
	{
		head -c "$((bundle_size / 2))" "$work/2.abide"
		exec sleep 60
	} >"$work/pipe" &
	feeder=$!
	children="$children $feeder"
	abide install --json - <"$work/pipe" >"$work/out" 2>"$work/err" &
	installer=$!
	children="$children $installer"
	for _ in $(seq 100); do
		if grep -q '"phase":"writing"' "$work/out"; then
			sleep 0.7 # until the pipe is empty
			return 0
		fi
		sleep_a_bit
	done
	not_ok "the install does not get anywhere"
}

end_feeder() {
	kill "$feeder" 2>/dev/null || true # with it the pipe's other end is gone
	wait "$feeder" 2>/dev/null || true
}

# ---- the lock ----
start_stuck_install
pid=$(processes | head -n 1 | tr -dc 0-9)
check "the install is at work" [ -n "$pid" ]
mv "$work/out" "$work/out.install"
for command in "install $work/2.abide" confirm revert "activate b"; do
	# shellcheck disable=SC2086 # words
	expect 6 "locked out: $command" abide $command
	said "it says who is at work" "busy: 'install' runs as process [0-9]+ since 20[0-9-]+T"
done
holder=$(sed -n 's/.*as process \([0-9]*\) since.*/\1/p' "$work/err")
check "the number is a process of the install" \
	[ "$(readlink "/proc/$holder/exe")" = "$work/abide" ]
expect 0 "status needs no lock" abide status
said "the other group is being written" '^state +writing'
expect 0 "log needs no lock" abide log

# ---- SIGINT ----
kill -INT "$holder"
status=0
wait "$installer" || status=$?
check "SIGINT: exit status 130 (it was $status)" [ "$status" -eq 130 ]
mv "$work/out.install" "$work/out"
end_feeder
said "it says that it was interrupted" '"event":"error","command":"install","code":"interrupted","exit":130'
check "no process is left" none_left
expect 0 "status" abide status
said "the device says what to do" '^state +writing: .*install again'
said "a boots next" '^boots next +group a$'
check "the running group is untouched" [ "$running" = "$(slot_print a)" ]
expect 0 "the lock is free: install goes on" abide install --json "$work/2.abide"
check "less was fetched than the whole" [ "$(field fetch)" -lt 24000000 ]
check "less was written than the whole" [ "$(field written)" -lt 28000000 ]
expect 0 "verify" abide verify

# ---- SIGTERM ----
start_stuck_install
holder=$(sed -n 's/.*as process \([0-9]*\) since.*/\1/p' "$work/run/lock")
kill -TERM "$holder"
status=0
wait "$installer" || status=$?
check "SIGTERM: exit status 143 (it was $status)" [ "$status" -eq 143 ]
end_feeder
check "the sentence about the device" grep -q "the device is as before, but for the target group" "$work/err"
check "no process is left" none_left

# ---- the carrier dies ----
start_stuck_install
holder=$(sed -n 's/.*as process \([0-9]*\) since.*/\1/p' "$work/run/lock")
for exe in $(processes); do
	pid=$(echo "$exe" | tr -dc 0-9)
	# The one that does not hold the lock.
	[ "$pid" = "$holder" ] || kill -KILL "$pid"
done
status=0
wait "$installer" || status=$?
check "a killed carrier: exit status 1 (it was $status)" [ "$status" -eq 1 ]
end_feeder
check "no process is left" none_left
check "the running group is untouched" [ "$running" = "$(slot_print a)" ]

# ---- SIGKILL, here and there ----
for delay in 0.01 0.03 0.05 0.08 0.12 0.17 0.23 0.3 0.4 0.5; do
	abide install "$work/2.abide" >/dev/null 2>&1 &
	installer=$!
	sleep "$delay"
	holder=$(sed -n 's/.*as process \([0-9]*\) since.*/\1/p' "$work/run/lock")
	[ -z "$holder" ] || kill -KILL "$holder" 2>/dev/null || true
	wait "$installer" 2>/dev/null || true
	none_left || not_ok "killed after $delay s: processes are left"
	expect 0 "killed after $delay s: status" abide status
	not_said "and has no problem" '^problem'
	check "the running group is untouched" [ "$running" = "$(slot_print a)" ]
	# Either it was not done, and a boots; or it was, and b is whole.
	if [ "$(variable ORDER)" = "B A" ]; then
		expect 0 "it was done: b is whole" abide verify b
		grubenv A 1 0 0 0
		noise 9 4096 | dd of="$work/rootfs-b" bs=4096 seek=2000 conv=notrunc status=none
	else
		check "a boots" [ "$(variable A_OK)" = 1 ]
	fi
done
expect 0 "after all that, install" abide install "$work/2.abide"
check "the slot has the image" \
	[ "$(head -c "$(stat -c %s "$work/image-2")" "$work/rootfs-b" | sha256sum)" = "$(sha256sum <"$work/image-2")" ]
expect 0 "verify" abide verify
expect 0 "the journal is whole" abide log --verify

# ---- a bar on a terminal ----
if command -v script >/dev/null; then
	grubenv A 1 0 0 0
	truncate -s 0 "$work/rootfs-b"
	truncate -s 48M "$work/rootfs-b"
	script -qec "stty cols 70; '$work/abide' -c '$work/system.conf' install '$work/2.abide'" \
		/dev/null >"$work/out" 2>"$work/err" </dev/null
	check "a bar with percent, MiB, rate and time left" \
		grep -Eq 'writing rootfs  \[[=> ]+\] +[0-9]+%  [0-9.]+/[0-9.]+ MiB  [0-9.]+ MiB/s  ETA' "$work/out"
	tr '\r' '\n' <"$work/out" >"$work/lines"
	check "no line is longer than the terminal is wide" \
		[ "$(sed 's/\x1b\[K//g' "$work/lines" | awk '/%/ && length > 69' | wc -l)" -eq 0 ]
	check "the bar is cleared before the result" grep -q "$(printf '^\033\\[Krelease 2\\.0 ')" "$work/lines"
fi
finish
