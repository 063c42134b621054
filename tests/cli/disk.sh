#!/bin/sh
# abide-image disk: a factory disk as a person makes one, and what is refused; each with its exit code.
# shellcheck disable=SC2016 # sh -c expands it
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

TMPDIR=$work # the scratch disk's
export TMPDIR

disk() { # arguments after the usual ones replace them
	"$ABIDE_IMAGE" disk -o "$work/disk.img" --layout "$work/layout.ini" \
		--bundle "$work/os.abide" --trust "$work/keys/root.pem" "$@"
}

layout() { # slot size
	cat >"$work/layout.ini" <<-END
		[disk]
		size = 40M
		uuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31
		[grub]
		config = $top/bootloader-hooks/grub/grub.cfg
		[partition esp]
		type = esp
		size = 16M
		[partition rootfs-a]
		type = slot
		class = rootfs
		group = a
		size = $1
		[partition rootfs-b]
		type = slot
		class = rootfs
		group = b
		size = $1
		[partition data]
		type = data
		size = rest
	END
}

"$ABIDE_IMAGE" keys --type ecdsa "$work/keys" >/dev/null 2>&1
"$ABIDE_IMAGE" keys --type ecdsa "$work/stranger" >/dev/null 2>&1
head -c 1044480 /dev/urandom >"$work/rootfs"
"$ABIDE_IMAGE" bundle -o "$work/os.abide" --key "$work/keys/signer.key" \
	--cert "$work/keys/signer.pem" --compatible test --version 1.0 \
	--image "rootfs=$work/rootfs" >/dev/null

# ---- usage ----
expect 0 "disk --help" disk --help
expect 2 "disk without arguments" "$ABIDE_IMAGE" disk
said "what is needed is named" "--layout"
expect 2 "an operand" disk something
expect 2 "a layout that is not there" disk --layout "$work/none.ini"
printf '[disk]\nsize = 40M\ncolour = red\n' >"$work/bad.ini"
expect 2 "a layout with an unknown key" disk --layout "$work/bad.ini"
said "file and line are named" "bad.ini:3: .*colour"
check "no disk is left behind" test ! -e "$work/disk.img"

# ---- a disk ----
layout 4M
expect 0 "a disk" disk
said "how much was written" "41943040 bytes, release 1.0 in group a, [1-9][0-9]* bytes written"
expect 0 "sfdisk reads its partition table" sfdisk --json "$work/disk.img"
said "with the partitions' names" '"name": ?"rootfs-b"'
expect 0 "sfdisk finds nothing wrong with it" sfdisk --verify "$work/disk.img"
said "indeed" "No errors detected"
dd if="$work/disk.img" of="$work/data.img" bs=1M skip=25 count=14 status=none
expect 0 "e2fsck finds nothing wrong with the data partition" e2fsck -fn "$work/data.img"
head -c "$(stat -c %s "$work/rootfs")" /dev/zero >"$work/zeros"
check "group a holds the image" cmp -n 1044480 "$work/rootfs" "$work/disk.img" 0 17825792
check "group b holds nothing" cmp -n 1044480 "$work/zeros" "$work/disk.img" 0 22020096
expect 0 "again" disk
said "writes nothing" " 0 bytes written"
expect 0 "another" disk -o "$work/other.img"
check "is the same" cmp "$work/disk.img" "$work/other.img"

# ---- refused; nothing is written ----
expect 3 "a bundle by a stranger" disk -o "$work/new.img" --trust "$work/stranger/root.pem"
check "makes no disk" test ! -e "$work/new.img"
cp "$work/os.abide" "$work/changed.abide"
printf x | dd of="$work/changed.abide" bs=1 seek=900000 conv=notrunc status=none
expect 3 "a bundle with other bytes" disk -o "$work/new.img" --bundle "$work/changed.abide"
check "makes no disk either" test ! -e "$work/new.img"
truncate -s 41M "$work/larger"
expect 4 "a larger file, which may be something else" disk -o "$work/larger"
layout 1M
expect 5 "slots that are too small" disk -o "$work/new.img"
said "by how much" "too small by [0-9]+"
layout 4M
if [ "$(id -u)" -eq 0 ] && attach "$work/other.img"; then
	expect 0 "the same disk on a block device" disk -o "$loop"
	said "writes nothing" " 0 bytes written"
	losetup -d "$loop"
fi
check "no scratch files are left" sh -c '! ls -d "$0"/abide-disk.* 2>/dev/null' "$work"
finish
