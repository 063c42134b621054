#!/bin/sh
# The journal: readable, checkable, repaired; and never in the way of what has to happen.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
journal=$work/state/journal.jsonl

expect 0 "an empty journal" abide log
check "prints nothing" [ ! -s "$work/out" ]
expect 0 "its chain is whole" abide log --verify
said "no lines" '^lines +0$'

abide install "$work/2.abide" >/dev/null
reboot_device
abide confirm >/dev/null
expect 0 "log" abide log
said "the install" '^ +1 +20[0-9-]+T[0-9:]+Z +install +b +2\.0 +[0-9a-f]{8}'
said "the activation" 'activated +b +2\.0'
said "the confirmation, and why" 'confirmed +b +2\.0 .*every health check passed'
expect 0 "log --json" abide log --json
check "is the file itself" cmp -s "$work/out" "$journal"
check "each line names what, from, to, artifact" \
	[ "$(grep -c '^{"seq":[0-9]*,"time":"[^"]*","boot_id":"[0-9a-f]\{8\}","event":"[a-z-]*","from":"[a-z]*","to":"[a-z]*","artifact":"[0-9a-f]\{64\}".*"prev":"[0-9a-f]\{64\}"}$' "$journal")" -ge 3 ]
expect 0 "log --verify" abide log --verify
said "the head is the last line's digest" "^head +$(tail -n 1 "$journal" | sha256sum | cut -d' ' -f1)\$"
said "the number of lines" "^lines +$(wc -l <"$journal")\$"
expect 0 "log --verify --json" abide log --verify --json
check "ok" [ "$(field ok)" = true ]
check "no broken line" [ "$(field broken_at)" = null ]

# ---- broken ----
cp "$journal" "$work/whole"
sed -i '2s/2\.0/9.9/' "$journal"
expect 9 "an edited line" abide log --verify
said "is found at the next one" 'broken at line 3'
sed 2d "$work/whole" >"$journal"
expect 9 "a deleted line" abide log --verify
said "is found" 'broken at line 2'
expect 9 "as JSON" abide log --verify --json
said "result and error" '"broken_at":2'
said "the error" '"code":"drift","exit":9'
echo 'no line of ours' >>"$journal"
expect 0 "log prints what it can" abide log
said "and says what it cannot" 'no line of abide'

# ---- torn ----
cp "$work/whole" "$journal"
printf '{"seq":99,"ti' >>"$journal"
expect 0 "a torn line does not break the chain" abide log --verify
said "it is told" 'has no end'
expect 0 "the next entry" abide activate a
expect 0 "repairs it" abide log --verify
not_said "nothing is torn" 'has no end'
expect 0 "log" abide log
said "the repair is told" 'journal-repaired .*13 bytes'

# ---- not writable: the device goes on ----
rm -rf "$work/state"
echo 'a file in its place' >"$work/state"
expect 0 "activate without a journal" abide activate b
said "it says that the journal was not written" "journal.*$work/state"
abide activate a >/dev/null 2>&1
expect 0 "install without a journal" abide install "$work/1.abide"
expect 0 "status without a journal" abide status
image "$work/image-3" 3
bundle 3 3.0 "$work/image-3"
expect 0 "install" abide install "$work/3.abide"
said "it says so" 'journal'
reboot_device
expect 0 "confirm without a journal" abide confirm
said "confirmed" 'is confirmed'
expect 0 "revert without a journal" abide revert
said "done" 'is marked bad'
check "the bootloader knows" [ "$(variable ORDER | cut -c1)" = B ]

# ---- a full disk ----
rm -f "$work/state"
mkdir "$work/state"
if mount -t tmpfs -o size=16k abide-test "$work/state" 2>/dev/null; then
	mounted=$work/state
	cp "$work/whole" "$journal"
	head -c 100000 /dev/zero >"$work/state/ballast" 2>/dev/null || true
	reboot_device
	expect 0 "confirm on a good group with a full disk" abide confirm
	expect 0 "install with a full disk" abide install "$work/3.abide" --force
	expect 0 "activate with a full disk" abide activate b
	rm "$work/state/ballast"
	expect 0 "with room again the chain is whole" abide log --verify
	expect 0 "and goes on" abide activate --force a
	expect 0 "whole" abide log --verify
	umount "$mounted"
	mounted=''
else
	echo "ok - a full disk # SKIP cannot mount a tmpfs"
fi
finish
