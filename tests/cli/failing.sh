#!/bin/sh
# failing: a slot whose medium runs out of room in the middle of an install, as a file and as a block
# device, or is bad in one place: the message, the exit code, nothing sealed, the device boots what it did;
# then it heals.
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
losetup -d "$loop"
umount "$work/small"
mounted=''

# A block device that is bad in one place, from 524 to 780 KiB: the file behind it lies on a file system
# that has lost where that part of it is.
bad_medium() { # content
	truncate -s 24M "$work/fs"
	mkfs.ext4 -q -F -b 1024 -O ^extents,^64bit,^has_journal,^metadata_csum "$work/fs"
	mount -o loop "$work/fs" "$work/small" || return 1
	cp "$1" "$work/small/slot"
	umount "$work/small"
	map=$(debugfs -R "stat slot" "$work/fs" 2>/dev/null |
		sed -n 's/.*(IND):\([0-9]*\), (524-779).*/\1/p')
	printf '\377\377\377\177' | dd of="$work/fs" bs=1 seek=$((map * 1024)) conv=notrunc status=none
	mount -o loop "$work/fs" "$work/small" || return 1
	mounted=$work/small
	attach "$work/small/slot"
}

noise 7 8388608 >"$work/old" # no holes
bad_medium "$work/old" || {
	echo "ok - a medium with a bad place # SKIP cannot mount a file in an ext4"
	finish
}
use "$loop"
expect 1 "a block device is bad in one place" abide install "$work/2.abide"
said "  it says so, and where" "write '$loop' at [0-9]*: Input/output error"
said "  and what boots" "group a is untouched and boots next"
unharmed
expect 1 "again: the same" abide install "$work/2.abide"
unharmed
use "$work/rootfs-b"
expect 0 "with another medium the same install succeeds" abide install "$work/2.abide"
expect 0 "  back" abide activate a
losetup -d "$loop"
umount "$work/small"
mounted=''

# The running group's medium is: what cannot be copied from it comes from the bundle.
image "$work/image-3" 3
bundle 3 3.0 "$work/image-3"
rm "$work/rootfs-b"
truncate -s 8M "$work/rootfs-b"
bad_medium "$work/rootfs-a"
sed -i "/rootfs.a/,+1s,^device = .*,device = $loop," "$work/system.conf"
expect 0 "the running group is bad in one place: the install succeeds" abide install "$work/3.abide"
said "  with what could be copied" "[1-9][0-9.]* [KM]iB copied from the running group"
check "  the image is there" cmp -n "$(stat -c %s "$work/image-3")" "$work/image-3" "$work/rootfs-b"
expect 9 "verify cannot prove it" abide verify
said "  it says where" "read '$loop' at [0-9]*: Input/output error"
finish
