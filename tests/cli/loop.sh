#!/bin/sh
# Real block devices: loop devices as slots, and what must not be written over.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
attach "$work/rootfs-a" || {
	ok "loop devices # SKIP there are none here"
	finish
}
loop_a=$loop
attach "$work/rootfs-b"
loop_b=$loop
sed -i "s,= $work/rootfs-a,= $loop_a,; s,= $work/rootfs-b,= $loop_b," "$work/system.conf"
use() { sed -i "/rootfs.b/,+1s,^device = .*,device = $1," "$work/system.conf"; }

expect 0 "status" abide status
said "1.0 runs" 'a running +1\.0'
expect 0 "install" abide install "$work/2.abide"
check "the device has the image's digest by hand" \
	[ "$(head -c "$(stat -c %s "$work/image-2")" "$loop_b" | sha256sum)" = "$(sha256sum <"$work/image-2")" ]
expect 0 "verify" abide verify
expect 0 "install again" abide install --json "$work/2.abide"
check "nothing written" [ "$(field written)" = 0 ]
expect 0 "back" abide activate a

# ---- what is in use, or somebody else's ----
refused() { # status what pattern
	before=$(sha256sum <"$loop_b")
	expect "$1" "$2" abide install "$work/2.abide"
	said "  is told" "$3"
	check "  nothing was written" [ "$before" = "$(sha256sum <"$loop_b")" ]
}
wipe() { dd if=/dev/zero of="$loop_b" bs=1M count=8 conv=fsync status=none; }
wipe
mkfs.ext4 -q "$loop_b" 2>/dev/null
mkdir "$work/mnt"
if mount -o ro "$loop_b" "$work/mnt" 2>/dev/null; then
	mounted=$work/mnt
	refused 6 "a mounted slot" "$loop_b'.*mounted"
	umount "$mounted"
	mounted=''
fi
expect 0 "not mounted any more: a file system is what slots hold" abide install "$work/2.abide"
abide activate a >/dev/null
wipe
mkswap "$loop_b" >/dev/null 2>&1
refused 4 "swap" swap
wipe
printf 'label: gpt\nsize=1MiB\n' | sfdisk -q --no-reread --no-tell-kernel "$loop_b" >/dev/null 2>&1
refused 4 "a partition table" 'partition|gpt'
wipe

# ---- by label ----
use "PARTLABEL=abide-test-$$"
expect 1 "a label that nothing has" abide install "$work/2.abide"
said "  is told" "abide-test-$$"
use "$loop_b"

# ---- too small, by how much ----
truncate -s 1M "$work/small"
attach "$work/small"
use "$loop"
expect 5 "a slot that is too small" abide install "$work/2.abide"
said "  is told" "slot 'rootfs.b' has 1048576 bytes, .* bytes short"
use "$loop_b"
expect 0 "after all that, install" abide install "$work/2.abide"
expect 0 "verify" abide verify
finish
