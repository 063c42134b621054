#!/bin/sh
# failing: a slot whose medium runs out of room in the middle of an install, as a file and as a block
# device (EIO is the units': test_install, test_sweep): the message, the exit code, nothing sealed, the device boots what it did; then it heals.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"

mkdir "$work/small"
mount -t tmpfs -o size=2m abide-test "$work/small" 2>/dev/null || {
	echo "ok - a medium without room # SKIP cannot mount a tmpfs"
	finish
}
mounted=$work/small
use() { sed -i "/rootfs.b/,+1s,^device = .*,device = $1," "$work/system.conf"; }

unharmed() {
	expect 0 "  status" abide status
	said "  the running group is what it was" 'a running +1\.0'
	not_said "  nothing is sealed" '2\.0'
	check "  the bootloader tries nothing else" [ "$(variable ORDER)" = A ]
}

heals() {
	mount -o remount,size=16m "$work/small"
	expect 0 "with room the same install succeeds" abide install "$work/2.abide"
	check "  the image is there" cmp -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$1"
	expect 0 "  back" abide activate a
}

# A plain file that its file system has no room for: 8 MiB in 2.
truncate -s 8M "$work/small/slot"
use "$work/small/slot"
expect 5 "a slot's file system is full" abide install "$work/2.abide"
said "  it says so, and where" "write '$work/small/slot' at [0-9]*: No space left on device"
said "  and what boots" "group a is untouched and boots next"
unharmed
heals "$work/small/slot"

# A block device that is thinner than it says.
rm "$work/small/slot"
mount -o remount,size=2m "$work/small"
truncate -s 8M "$work/small/slot"
attach "$work/small/slot" || {
	echo "ok - a block device without room # SKIP there are no loop devices here"
	finish
}
use "$loop"
expect 5 "a block device has less room than it says" abide install "$work/2.abide"
said "  it says so, and where" "write '$loop' at [0-9]*: No space left on device"
unharmed
heals "$loop"
finish
