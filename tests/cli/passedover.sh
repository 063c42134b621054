#!/bin/sh
# A confirmed group that the bootloader does not start: said, stable, and mended by an install.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"

# b runs release 2.0, confirmed; a is good, too.
abide install "$work/2.abide" >/dev/null
expect 0 "status after an install" abide status
said "it is activated, not passed over" '^state +activated'
reboot_device
abide confirm >/dev/null
check "both are good" [ "$(variable ORDER) $(variable A_OK) $(variable B_OK)" = "B A 1 1" ]

# GRUB finds no kernel in b: on with the next.
reboot_without_b() {
	rm -rf "$work/run"
	configure a
}
reboot_without_b
before=$(cat "$work/grubenv")
expect 0 "status" abide status
said "it says so" '^state +passed-over: the bootloader was to start the other group and did not$'
said "and what can be done" "^note .*group b may not load: 'abide verify b' .*'abide activate b' .*'abide activate a'"
said "b is still first" '^boots next +group b$'
expect 0 "status --json" abide status --json
check "as a state" [ "$(field state)" = passed-over ]
expect 0 "confirm" abide confirm
said "says so at every boot" 'confirm: the bootloader was to start group b, which is confirmed, and started group a'
expect 0 "confirm --json" abide confirm --json
said "says so, too" '"passed_over":true'
check "nothing was changed" [ "$before" = "$(cat "$work/grubenv")" ]
expect 0 "log" abide log
check "it is written down, once" [ "$(grep -c 'passed-over' "$work/out")" = 1 ]
reboot_without_b
expect 0 "at the next boot" abide confirm
expect 0 "it is the same" abide status
said "stable" '^state +passed-over'
expect 0 "log" abide log
check "and not written down again" [ "$(grep -c 'passed-over' "$work/out")" = 1 ]
expect 6 "there is nothing to revert to" abide revert
said "it says why" 'was to start the other group and did not'

# The same release again: its bytes are right, so it is tried again, on trial this time.
expect 0 "plan" abide plan "$work/2.abide"
expect 0 "install the same release again" abide install "$work/2.abide"
check "b is on trial" [ "$(variable B_OK) $(variable B_TRY)" = "0 3" ]
expect 0 "status" abide status
said "activated" '^state +activated'
for _ in 1 2 3; do reboot_device; done # b's kernel does not load: each costs a try
rm -rf "$work/run"
configure a
check "b's tries are used up" [ "$(variable B_OK) $(variable B_TRY)" = "0 0" ]
expect 0 "confirm" abide confirm
expect 0 "status" abide status
said "idle" '^state +idle'
expect 4 "the same release is rejected: no circle" abide install "$work/2.abide"

# Mended: another release into b.
image "$work/image-3" 3
bundle 3 3.0 "$work/image-3"
expect 0 "another release" abide install "$work/3.abide"
reboot_device
check "b is booted" grep -q '^booted = b' "$work/system.conf"
expect 0 "confirm" abide confirm
expect 0 "status" abide status
said "idle again" '^state +idle'

# b's content has rotted: the read-back sees it, and the install writes it again.
reboot_without_b
printf rot | dd of="$work/rootfs-b" bs=1 seek=300000 conv=notrunc status=none
expect 9 "verify finds it" abide verify b
expect 0 "the same release" abide install "$work/3.abide"
expect 0 "is whole again" abide verify b
check "and on trial" [ "$(variable B_OK) $(variable B_TRY)" = "0 3" ]

# To stay where it is: the running group first.
abide activate a >/dev/null
grubenv "B A" 1 0 1 0
reboot_without_b
expect 0 "activate the running group" abide activate a
check "a is first" [ "$(variable ORDER)" = "A B" ]
check "b is still the fallback" [ "$(variable B_OK)" = 1 ]
expect 0 "status" abide status
said "idle" '^state +idle'

# A trial that was not started, and not counted either: GRUB could not save.
expect 0 "install" abide install --force "$work/2.abide"
reboot_without_b
expect 0 "status" abide status
said "passed over" '^state +passed-over'
expect 0 "confirm" abide confirm
said "as a trial" 'start group b, which is on trial, and started group a'
expect 0 "the journal's chain is whole" abide log --verify
finish
