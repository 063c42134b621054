#!/bin/sh
# systemd-boot.sh - a device with systemd-boot on a directory that plays the ESP: the whole story, and what
# may be wrong with the ESP: message, exit code 7, and nothing that boots is changed.
# shellcheck disable=SC2154 # lib.sh sets them
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

esp=$work/esp
entries=$esp/loader/entries

entry() { # group generation suffix
	{
		printf 'sort-key abide\nversion %s\n' "$2"
		cat "$esp/abide/$1.conf"
	} >"$entries/abide-$1-$2$3.conf"
}

systemd_boot() { # booted-group
	configure "$1"
	sed -i -e 's/^bootloader = .*/bootloader = systemd-boot/' -e "s,^grubenv = .*,esp = $esp," "$work/system.conf"
}

listed() { # name...: these entries and no others
	[ "$(cd "$entries" && echo *)" = "$*" ]
}

mkdir -p "$entries" "$esp/abide"
for group in a b; do
	printf 'title %s\nefi /abide/boot-%s.efi\noptions abide.group=%s\n' $group $group $group >"$esp/abide/$group.conf"
	echo MZ >"$esp/abide/boot-$group.efi"
done
printf 'default abide-*\ntimeout 0\n' >"$esp/loader/loader.conf"
device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
systemd_boot a
entry a 1 ''

# ---- an update ----
expect 0 "status" abide status
said "group a is good" '^  a running .* good$'
expect 0 "an install" abide install "$work/2.abide"
check "made an entry with tries, of the next generation" listed abide-a-1.conf abide-b-2+3.conf
expect 0 "status" abide status
said "it boots next" '^boots next  group b$'
mv "$entries/abide-b-2+3.conf" "$entries/abide-b-2+2-1.conf" # as systemd-boot does
systemd_boot b
expect 0 "confirm in b" abide confirm
check "took the counter off" listed abide-a-1.conf abide-b-2.conf
expect 0 "a revert" abide revert
check "marked the entry" listed abide-a-1.conf abide-b-2-reverted+0.conf
systemd_boot a
expect 0 "status in a" abide status --json
said "b is bad" '"b":\{"good":false,"bad":true'
said "and its build rejected" '"rejected":\[\{'

# ---- what may be wrong ----
refused() { # what pattern
	(cd "$esp" && find . -type f -exec cksum {} + | sort) >"$work/before"
	expect 7 "$1" abide install --force "$work/2.abide"
	said "  is told" "^abide: .*($2)"
	(cd "$esp" && find . -type f -exec cksum {} + | sort) >"$work/after"
	check "  and nothing was changed" cmp -s "$work/before" "$work/after"
}

rm -f "$entries"/*
entry a 1 ''
entry b 2 +x
refused "an entry with an unknown suffix" "abide-b-2\\+x.conf' has a name that abide does not write"
rm "$entries/abide-b-2+x.conf"
printf 'default abide-b-*\n' >"$esp/loader/loader.conf"
refused "a default that boots past the counting" "boots past the counting"
printf 'timeout 0\n' >"$esp/loader/loader.conf"
echo 'efi /other.efi' >"$entries/other.conf"
refused "somebody else's entries without a default" "entries of others"
rm "$entries/other.conf"
mv "$esp/abide/b.conf" "$work/b.conf"
expect 7 "no template for the other group" abide install --force "$work/2.abide"
said "  is told" "abide/b.conf': No such file"
check "  and a boots" listed abide-a-1.conf
mv "$work/b.conf" "$esp/abide/b.conf"
mv "$esp" "$work/elsewhere"
mkdir "$esp"
refused "no ESP mounted" "is the partition that systemd-boot reads mounted there"
rmdir "$esp"
mv "$work/elsewhere" "$esp"

if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=8k tmpfs "$entries" 2>/dev/null; then
	mounted=$entries
	entry a 1 ''
	echo full >"$entries/full"
	expect 7 "a full ESP" abide install --force "$work/2.abide"
	said "  is told" "No space left on device"
	check "  and a boots" listed abide-a-1.conf full
	mount -o remount,ro "$entries"
	expect 7 "a read-only ESP" abide install --force "$work/2.abide"
	said "  is told" "Read-only file system"
	check "  and a boots" listed abide-a-1.conf full
	umount "$entries"
	mounted=''
else
	ok "a full and a read-only ESP # SKIP needs root, to mount"
fi

# FAT itself: in the virtual device, where this machine's kernel has none.
if [ "$(id -u)" -eq 0 ] && grep -qw vfat /proc/filesystems; then
	truncate -s 40M "$work/fat"
	mformat -i "$work/fat" -T 81920 -F ::
	mkdir "$work/mnt"
	mount -o loop,sync "$work/fat" "$work/mnt"
	mounted=$work/mnt
	cp -r "$esp/." "$work/mnt"
	sed -i "s,^esp = .*,esp = $work/mnt," "$work/system.conf"
	expect 0 "an install with the entries on FAT" abide install --force "$work/2.abide"
	check "made the entry" test -s "$work/mnt/loader/entries/abide-b-2+3.conf"
	umount "$work/mnt"
	mounted=''
else
	ok "entries on FAT # SKIP no vfat in this kernel, or not root; the virtual device has it"
fi
finish
