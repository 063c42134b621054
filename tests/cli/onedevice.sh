#!/bin/sh
# Two slots, two names, one device: the running group would be written.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
cp "$work/rootfs-a" "$work/rootfs-a.ref"

refused() { # what
	sed -i "s,= $work/rootfs-b\$,= $work/alias," "$work/system.conf"
	expect 2 "$1" abide install "$work/2.abide"
	said "  names both" "alias' is the device of slot 'rootfs\.a'"
	check "  the running group is untouched" cmp "$work/rootfs-a" "$work/rootfs-a.ref"
	rm "$work/alias"
}
ln -s rootfs-a "$work/alias"
refused "a symbolic link to the running group's slot"
ln "$work/rootfs-a" "$work/alias"
refused "a hard link to it"
finish
