#!/bin/sh
# efi.sh - a device without a bootloader, on directories that play the ESP and efivarfs: the whole story, and
# what may be wrong with variables: message, exit code 7, and nothing that boots is changed.
# shellcheck disable=SC2154 # lib.sh sets them
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# An entry names the partition, so there has to be one: ext4 plays FAT, which this machine may not have.
[ "$(id -u)" -eq 0 ] || {
	echo "ok - efi # SKIP needs root, for a partition"
	exit 77
}
truncate -s 40M "$work/disk"
printf 'label: gpt\nstart=2048,uuid=01020304-0506-0708-090A-0B0C0D0E0F10\n' | sfdisk -q "$work/disk" >/dev/null
loop=$(losetup --find --show "$work/disk" 2>/dev/null) || loop=''
part=$work/partition # a node of its own: nobody may make one where there is no udev
leave() {
	cleanup
	[ -z "$loop" ] || partx -d "$loop" 2>/dev/null || true
	[ -z "$loop" ] || losetup -d "$loop"
}
trap leave EXIT
has_partition() {
	[ "$loop" ] && partx -a "$loop" 2>/dev/null || return 1
	tries=0
	until [ -e "/sys/class/block/${loop#/dev/}p1/dev" ] || [ $tries -eq 20 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	number=$(cat "/sys/class/block/${loop#/dev/}p1/dev") &&
		mknod "$part" b "${number%:*}" "${number#*:}" && mkfs.ext4 -q "$part" &&
		mkdir "$work/esp" && mount "$part" "$work/esp"
}
has_partition || {
	echo "ok - efi # SKIP no loop device with partitions here"
	exit 77
}
mounted=$work/esp
esp=$work/esp
vars=$work/efivars
guid=8be4df61-93ca-11d2-aa0d-00e098032b8c
own=AbideState-5f2a7c1e-8b3d-4e96-a1f0-3c7d9e52b684

efi() { # booted-group
	configure "$1"
	sed -i -e 's/^bootloader = .*/bootloader = efi/' -e "s,^grubenv = .*,esp = $esp\nefivars = $vars," "$work/system.conf"
}

variable_is() { # name hex
	[ "$(tail -c +5 "$vars/$1-$guid" | od -An -tx1 | tr -d ' \n')" = "$2" ]
}

put_variable() { # name bytes-for-printf
	# shellcheck disable=SC2059 # the format is the bytes
	printf "\\007\\000\\000\\000$2" >"$vars/$1-$guid"
}

# As a firmware: takes BootNext, or the first of BootOrder. Another boot of the kernel's, too.
firmware() {
	if [ -e "$vars/BootNext-$guid" ]; then
		tail -c +5 "$vars/BootNext-$guid" >"$work/number"
		rm "$vars/BootNext-$guid"
	else
		tail -c +5 "$vars/BootOrder-$guid" | head -c 2 >"$work/number"
	fi
	{
		printf '\007\000\000\000'
		cat "$work/number"
	} >"$vars/BootCurrent-$guid"
	printf 'another boot    ' | dd of="$vars/$own" bs=1 seek=8 conv=notrunc status=none
}

mkdir -p "$esp/abide" "$vars"
for group in a b; do
	echo "abide.group=$group ro" >"$esp/abide/$group.cmdline"
	echo MZ >"$esp/abide/boot-$group.efi"
done
put_variable BootOrder '\001\000'
put_variable BootCurrent '\001\000'
device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
efi a

# ---- from the factory to a confirmed update ----
expect 0 "status of a device without entries" abide status
said "says so" "the firmware has no entry of abide's"
expect 0 "confirm" abide confirm
check "made the entry of group a and put it first" variable_is BootOrder 00010100
check "and asks for it by another number" variable_is BootNext 0101
firmware
expect 0 "confirm, at the next boot" abide confirm
check "takes the second number back" test ! -e "$vars/Boot0101-$guid"
expect 0 "an install" abide install "$work/2.abide"
check "asks for group b, once" variable_is BootNext 0201
check "and leaves the order alone" variable_is BootOrder 00010100
firmware
efi b
expect 0 "status in b" abide status
said "its only try" '^  b running .* trial, the last try$'
expect 0 "confirm" abide confirm
check "put it first" variable_is BootOrder 020100010100
expect 0 "a revert" abide revert
check "leaves group a" variable_is BootOrder 00010100
firmware
efi a
expect 0 "status in a" abide status --json
said "b is bad" '"b":\{"good":false,"bad":true'

# ---- what may be wrong ----
refused() { # what pattern
	(cd "$vars" && cksum ./*) >"$work/before"
	expect 7 "$1" abide install --force "$work/2.abide"
	said "  is told" "^abide: .*($2)"
	(cd "$vars" && cksum ./*) >"$work/after"
	check "  and nothing was changed" cmp -s "$work/before" "$work/after"
}

put_variable BootOrder '\000\001\001'
refused "a BootOrder of three bytes" "BootOrder has 3 bytes"
put_variable BootOrder '\000\001\001\000'
mv "$vars/BootCurrent-$guid" "$work/current"
refused "no BootCurrent" "has no BootCurrent: efivarfs is not mounted there"
mv "$work/current" "$vars/BootCurrent-$guid"
put_variable BootCurrent '\002\001'
refused "an entry that starts the other group" "an entry starts the wrong group"
put_variable BootCurrent '\000\001'
mv "$vars" "$work/elsewhere"
expect 7 "no efivarfs" abide install --force "$work/2.abide"
said "  is told" "is efivarfs mounted there"
mv "$work/elsewhere" "$vars"
mv "$esp/abide/b.cmdline" "$work/cmdline"
expect 7 "no command line for the other group" abide install --force "$work/2.abide"
said "  is told" "b.cmdline': No such file"
check "  and a boots" variable_is BootOrder 00010100
mv "$work/cmdline" "$esp/abide/b.cmdline"
mv "$esp/abide" "$work/abide"
refused "no ESP" "abide/boot-[ab].efi' \(is the ESP mounted on '$esp'\?\): No such file"
mv "$work/abide" "$esp/abide"
mount --bind "$vars" "$vars" && mount -o remount,bind,ro "$vars"
refused "efivarfs is read-only" "mounted read-only \(mount -o remount,rw\)"
umount "$vars"
# Where root may not take the flag off either.
if chattr +i "$vars/$own" 2>/dev/null; then
	refused_abide() { setpriv --bounding-set -linux_immutable --inh-caps -linux_immutable "$ABIDE" -c "$work/system.conf" "$@"; }
	(cd "$vars" && cksum ./*) >"$work/before"
	expect 7 "a variable that is immutable, and stays so" refused_abide install --force "$work/2.abide"
	said "  is told" "$own' is immutable, and stays so"
	(cd "$vars" && cksum ./*) >"$work/after"
	chattr -i "$vars/$own"
	check "  and group a boots" variable_is BootOrder 00010100
else
	ok "a variable that is immutable # SKIP no immutable flag here"
fi

# BootNext was taken, and something else was booted.
printf '\007\000\000\000\001\003\000\000another boot    ' >"$vars/$own"
expect 0 "status on a firmware that lies" abide status
said "says so" "booted another: updates are refused"
cp "$vars/BootOrder-$guid" "$work/order"
expect 7 "an install" abide install --force "$work/2.abide"
said "  is refused" "does not boot what BootNext says"
check "  and a boots" cmp -s "$vars/BootOrder-$guid" "$work/order"
check "  and nothing is asked for" test ! -e "$vars/BootNext-$guid"
finish
