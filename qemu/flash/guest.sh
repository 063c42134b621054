#!/bin/sh
# guest.sh - U-Boot's environment on flash: on NAND with a bad block, and in two UBI volumes. Runs in the
# guest of test_flash.sh, where U-Boot's part is played by its own tools.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

fw_config=$work/fw_env.config
size=16384 # 0x4000
size_line="0x4000 0x20000 4"

configure_uboot() { # booted-group
	configure "$1"
	sed -i "s/^bootloader = grub/bootloader = uboot/; s,^grubenv = .*,fw-env-config = $fw_config," \
		"$work/system.conf"
}

variable() { # name
	fw_printenv -c "$fw_config" 2>/dev/null | sed -n "s/^$1=//p"
}

# The device anew, and its environment as README.md of the hook says: both copies.
device_with() { # line-of-fw_env.config...
	rm -rf "$work/state" "$work/run"
	cp -R /device/. "$work/"
	configure_uboot a
	printf '%s\n' "$@" >"$fw_config"
	expect 7 "$medium: blank" abide status
	said "$medium: it says so" "$says_blank"
	printf '%s\n' 'bootcmd=run distro_bootcmd' BOOT_ORDER=A BOOT_A_LEFT=63 BOOT_B_LEFT=0 >"$work/default.env"
	fw_setenv -c "$fw_config" -f "$work/default.env" factory 1 >/dev/null 2>&1
	fw_setenv -c "$fw_config" factory 2
	expect 0 "$medium: status" abide status
	said "$medium: a is good" 'a running.* good'
}

update() {
	expect 0 "$medium: install" abide install "$work/2.abide"
	check "$medium: b boots next" [ "$(variable BOOT_ORDER)" = "B A" ]
	check "$medium: on trial" [ "$(variable BOOT_B_LEFT)" = 3 ]
	check "$medium: U-Boot's other variables are kept" [ "$(variable bootcmd)" = "run distro_bootcmd" ]
	check "$medium: both copies say it" [ "$(both_copies)" = "BOOT_ORDER=B A BOOT_ORDER=B A" ]
	fw_setenv -c "$fw_config" BOOT_B_LEFT 2
	configure_uboot b
	expect 0 "$medium: confirm" abide confirm
	check "$medium: b is good" [ "$(variable BOOT_B_LEFT)" = 63 ]
}

# What each copy says is first in the order.
both_copies() {
	for copy in 1 2; do
		read_copy $copy | tr '\0' '\n' | grep '^BOOT_ORDER='
	done | tr '\n' ' ' | sed 's/ $//'
}

# A copy is damaged: what the other one says counts, and the next commit makes both right.
healed() { # what
	expect 0 "$medium: $1: status" abide status
	said "$medium: $1: b boots next" '^boots next +group b'
	expect 0 "$medium: $1: activate a" abide activate a
	check "$medium: $1: both copies say it" [ "$(both_copies)" = "BOOT_ORDER=A B BOOT_ORDER=A B" ]
	check "$medium: $1: U-Boot's tools, too" [ "$(variable BOOT_ORDER)" = "A B" ]
	check "$medium: $1: nothing else is lost" [ "$(variable bootcmd)" = "run distro_bootcmd" ]
	expect 0 "$medium: $1: and b again" abide activate b
}

# ---- NAND: two copies on one chip, with room for bad blocks; the first block is bad ----
medium=NAND
says_blank='No data available'

# In the first good block of the copy's four: the first copy's first one is not.
read_copy() { # copy
	dd if=/dev/mtd0 bs=131072 skip=$((1 + ($1 - 1) * 3)) count=1 2>/dev/null | head -c $size
}

device_with "/dev/mtd0 0x0 $size_line" "/dev/mtd0 0x80000 $size_line"
update
flash_erase -q /dev/mtd0 0x20000 1
healed "copy 1 erased"
# A page that was written while the power went: what it holds fails its ECC.
dd if=/dev/urandom of=/dev/mtd0 bs=2048 seek=256 count=1 conv=notrunc 2>/dev/null
healed "copy 2 half written"

# ---- UBI: each copy in a volume of its own ----
medium=UBI
says_blank='no valid U-Boot environment: .*it is blank'

read_copy() { # copy
	head -c $size "/dev/ubi0_$(($1 - 1))"
}

# An update of a volume that ends before it is complete, as with a power cut.
cut_off() { # copy
	head -c 5000 /dev/urandom | ubiupdatevol -s $size "/dev/ubi0_$(($1 - 1))" - >/dev/null 2>&1 || true
	check "UBI: copy $1 cannot be read" sh -c "! head -c 1 /dev/ubi0_$(($1 - 1)) >/dev/null 2>&1"
}

ubimkvol /dev/ubi0 -N uboot-env -s 128KiB >/dev/null
ubimkvol /dev/ubi0 -N uboot-env-r -s 128KiB >/dev/null
device_with "/dev/ubi0:uboot-env 0x0 0x4000" "/dev/ubi0:uboot-env-r 0x0 0x4000"
update
for copy in 1 2; do
	cut_off $copy
	expect 0 "UBI: copy $copy cut off: status" abide status
	said "UBI: copy $copy cut off: it is told" "copy $copy: .*a write to this UBI volume was cut off"
	healed "copy $copy cut off"
done
cut_off 1
expect 0 "UBI: confirm" abide confirm
expect 0 "UBI: afterwards" abide status
not_said "UBI: it is healed" "copy 1"
check "UBI: it is in the journal" grep -q environment-healed "$work/state/journal.jsonl"
cut_off 1
cut_off 2
expect 7 "UBI: both cut off" abide status
said "UBI: it says so" 'no valid U-Boot environment: .*cut off.*cut off'
expect 7 "UBI: both cut off: activate" abide activate a
check "UBI: it changes nothing" sh -c '! cat /dev/ubi0_0 >/dev/null 2>&1 && ! cat /dev/ubi0_1 >/dev/null 2>&1'
printf '%s 0x0 0x4000\n' /dev/ubi0_0 /dev/ubi0_1 >"$fw_config"
expect 7 "UBI: by their numbers" abide status
said "UBI: the same" 'cut off.*cut off'
printf '%s 0x0 0x4000\n' /dev/ubi0:uboot-env /dev/ubi0:none >"$fw_config"
expect 7 "UBI: a volume that is not there" abide status
said "UBI: it is named" "there is no UBI volume 'none' on '/dev/ubi0'"
finish
