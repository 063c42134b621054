#!/bin/sh
# uboot_disk.sh - a factory disk for U-Boot: the boot script, the environment as U-Boot's own tools read
# it, U-Boot itself; and what does not fit.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

for tool in fw_printenv mkimage mcopy; do
	command -v $tool >/dev/null || {
		echo "1..0 # skipped: no $tool"
		exit 77
	}
done

image "$work/image-1" 1
bundle 1 1.0 "$work/image-1"
printf 'bootcmd=run distro_bootcmd\nBOOT_ORDER=B\n' >"$work/initial-env"
noise 7 40000 >"$work/program"
echo 'abide_cmdline=quiet' >"$work/site.cmd"
printf '/dev/mmcblk0 0x80000 0x4000\n/dev/mmcblk0 0x90000 0x4000\n' >"$work/fw_env.config"

layout() { # line...
	cat >"$work/layout.ini" <<-END
	[disk]
	size = 32M
	uuid = 1d7c3a90-5e2b-4f86-9b04-7a6c8e1f2d35
	[uboot]
	script = $top/bootloader-hooks/uboot/boot.cmd
	site = site.cmd
	environment = fw_env.config
	defaults = initial-env
	$(printf '%s\n' "$@")
	[partition boot]
	type = boot
	size = 4M
	[partition rootfs-a]
	type = slot
	class = rootfs
	group = a
	size = 8M
	[partition rootfs-b]
	type = slot
	class = rootfs
	group = b
	size = 8M
	[partition uboot-env]
	type = raw
	size = 1M
	END
}

make_disk() {
	"$ABIDE_IMAGE" disk -o "$work/disk" --layout "$work/layout.ini" --bundle "$work/1.abide" \
		--trust "$work/pki/root.pem"
}

# As on the device, but for the device.
variable() { # name
	sed "s,^/dev/[^ ]*,$work/disk," "$work/fw_env.config" >"$work/here.config"
	fw_printenv -c "$work/here.config" 2>/dev/null | sed -n "s/^$1=//p"
}

is_script() {
	mkimage -l "$work/script" >/dev/null
}

layout 'program = program' 'program-offset = 0x8400'
expect 0 "a factory disk" make_disk
check "group a is first" [ "$(variable BOOT_ORDER)" = A ]
check "group a is good" [ "$(variable BOOT_A_LEFT)" = 63 ]
check "group b is nothing" [ "$(variable BOOT_B_LEFT)" = 0 ]
check "U-Boot's defaults are in it" [ "$(variable bootcmd)" = "run distro_bootcmd" ]
dd if="$work/disk" bs=16384 skip=32 count=1 of="$work/copy-1" status=none
dd if="$work/disk" bs=16384 skip=36 count=1 of="$work/copy-2" status=none
check "both copies are there" cmp -s "$work/copy-1" "$work/copy-2"
check "U-Boot is at its place" cmp -s -n 40000 -i $((0x8400)):0 "$work/disk" "$work/program"
for script in boot.cmd:boot.scr site.cmd:abide-site.scr; do
	mcopy -n -i "$work/disk@@1M" "::/${script#*:}" "$work/script"
	check "${script#*:} is a script" is_script
done
expect 0 "again" make_disk
said "it writes nothing" ' 0 bytes written'

# abide takes it for the device's own.
cat >"$work/system.conf" <<END
[system]
compatible = test-device
bootloader = uboot
state-dir = $work/state
run-dir = $work/run
[trust]
roots = $work/pki/root.pem
[slot rootfs.a]
device = $work/rootfs-a
[slot rootfs.b]
device = $work/rootfs-b
[boot]
fw-env-config = $work/here.config
booted = a
END
dd if="$work/disk" of="$work/rootfs-a" bs=1M skip=5 count=8 status=none
dd if="$work/disk" of="$work/rootfs-b" bs=1M skip=13 count=8 status=none
expect 0 "abide status on it" abide status
said "release 1.0 runs and is good" 'a running +1\.0 .* good'

refused() { # what pattern
	rm -f "$work/disk"
	expect 2 "$1" make_disk
	said "$1: it says so" "$2"
}

layout 'program = program' 'program-offset = 0x4000'
refused "U-Boot on the partition table" 'are not between 0x4400 and 0x100000'
layout 'program = program' 'program-offset = 1000K'
refused "U-Boot on the first partition" '40000 bytes at 0xfa000 are not between'
layout 'program = program' 'program-offset = 0x7c000'
refused "U-Boot on the environment" 'would lie on copy 1 of the environment at 0x80000'
layout 'program = nothing' 'program-offset = 0x8400'
rm -f "$work/disk"
expect 1 "no such U-Boot" make_disk
said "no such U-Boot: it says so" "nothing': No such file"
layout
printf '/dev/mmcblk0 0xfe000 0x4000\n/dev/mmcblk0 0x90000 0x4000\n' >"$work/fw_env.config"
refused "the environment on the first partition" 'are not between 0x4400 and 0x100000'
printf '/dev/disk/by-partlabel/data 0 0x4000\n/dev/disk/by-partlabel/data 0x4000 0x4000\n' \
	>"$work/fw_env.config"
refused "the environment in no partition" "no partition 'data' of type raw"
echo '/dev/mmcblk0 0x80000 0x4000' >"$work/fw_env.config"
refused "one copy" 'names one copy of the U-Boot environment'
printf '/dev/disk/by-partlabel/uboot-env 0 0x4000\n/dev/disk/by-partlabel/uboot-env 0x4000 0x4000\n' \
	>"$work/fw_env.config"
rm -f "$work/disk"
expect 0 "the environment in a partition" make_disk

finish
