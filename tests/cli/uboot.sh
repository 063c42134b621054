#!/bin/sh
# uboot.sh - a workstation that plays a device with U-Boot: its environment is a file, written by abide,
# by U-Boot's own tools, and by RAUC where it is installed. reboot_device plays boot.cmd.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

command -v fw_setenv >/dev/null || {
	echo "1..0 # skipped: no fw_setenv (libubootenv-tool)"
	exit 77
}

fw_config=$work/fw_env.config
env_file=$work/uboot.env

# Both copies, one after the other, each 16 KiB; as the factory makes them.
fw_env() { # NAME=VALUE...
	printf 'bootcmd=run distro_bootcmd\n' >"$work/default.env"
	[ $# -eq 0 ] || printf '%s\n' "$@" >>"$work/default.env"
	truncate -s 0 "$env_file"
	truncate -s 32768 "$env_file"
	printf '%s 0x0 0x4000\n%s 0x4000 0x4000\n' "$env_file" "$env_file" >"$fw_config"
	# One store for each copy.
	fw_setenv -c "$fw_config" -f "$work/default.env" factory 1 >/dev/null 2>&1
	fw_setenv -c "$fw_config" factory 2
}

variable() { # name
	fw_printenv -c "$fw_config" 2>/dev/null | sed -n "s/^$1=//p"
}

set_variable() { # name value
	fw_setenv -c "$fw_config" -- "$1" "$2"
}

configure_uboot() { # booted-group
	configure "$1"
	sed -i "s/^bootloader = grub/bootloader = uboot/; s,^grubenv = .*,fw-env-config = $fw_config," \
		"$work/system.conf"
}

# What boot.cmd does, and what RAUC's boot scripts do but for the good group: they count it, too.
reboot_device() { # [rauc]
	for group in $(variable BOOT_ORDER); do
		left=$(variable "BOOT_${group}_LEFT")
		[ "$left" = 0 ] && continue
		case ${1-}$left in
		[1-9] | rauc*) set_variable "BOOT_${group}_LEFT" "$(printf %x $((0x$left - 1)))" ;;
		esac
		break
	done
	configure_uboot "$(echo "$group" | tr AB ab)"
}

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
fw_env BOOT_ORDER=A BOOT_A_LEFT=63 BOOT_B_LEFT=0
configure_uboot a

# ---- install, trial, confirm ----
expect 0 "status" abide status
said "a is good" 'a running.* good'
expect 0 "install" abide install "$work/2.abide"
check "b boots next" [ "$(variable BOOT_ORDER)" = "B A" ]
check "on trial" [ "$(variable BOOT_B_LEFT)" = 3 ]
check "a is good" [ "$(variable BOOT_A_LEFT)" = 63 ]
check "U-Boot's other variables are kept" [ "$(variable bootcmd)" = "run distro_bootcmd" ]
before=$(sha256sum <"$env_file")
expect 0 "install again" abide install "$work/2.abide"
check "it writes nothing" [ "$before" = "$(sha256sum <"$env_file")" ]
reboot_device
check "its try is counted" [ "$(variable BOOT_B_LEFT)" = 2 ]
expect 0 "status in the trial" abide status
said "it is a trial" '^state +trial'
expect 0 "confirm" abide confirm
check "b is good" [ "$(variable BOOT_B_LEFT)" = 63 ]
check "a is the fallback" [ "$(variable BOOT_ORDER)" = "B A" ]

# ---- a good group is never counted to death, whatever boot script it has ----
for _ in 1 2 3; do reboot_device; done
check "our boot script does not count it" [ "$(variable BOOT_B_LEFT)" = 63 ]
before=$(sha256sum <"$env_file")
expect 0 "confirm on a good group" abide confirm
check "it writes nothing" [ "$before" = "$(sha256sum <"$env_file")" ]
for _ in 1 2 3 4 5; do reboot_device rauc; done
check "RAUC's boot script does" [ "$(variable BOOT_B_LEFT)" = 5e ]
expect 0 "it is good all the same" abide status
said "idle" '^state +idle'
set_variable BOOT_B_LEFT 3f
expect 0 "confirm at a later boot" abide confirm
check "puts it up again" [ "$(variable BOOT_B_LEFT)" = 63 ]

# ---- activate, revert ----
expect 0 "activate a" abide activate a
check "a boots next" [ "$(variable BOOT_ORDER)" = "A B" ]
expect 0 "activate b" abide activate b
expect 0 "revert" abide revert
check "b is bad" [ "$(variable BOOT_B_LEFT)" = 0 ]
check "a boots next" [ "$(variable BOOT_ORDER)" = "A B" ]
reboot_device
expect 0 "status in a" abide status
said "b is bad" 'b .*bad'

# ---- a trial that never gets as far as a health check ----
expect 0 "the rejected build, forced" abide install --force "$work/2.abide"
for more in 2 1 0; do
	reboot_device
	check "$more more tries" [ "$(variable BOOT_B_LEFT)" = "$more" ]
done
configure_uboot b
reboot_device
check "a runs again" grep -q '^booted = a' "$work/system.conf"
expect 0 "status" abide status
said "b is bad" 'b .*bad'

# ---- fw_setenv and RAUC by their names ----
set_variable BOOT_A_LEFT 3
expect 0 "status after another tool's mark-good" abide status
said "three tries are a trial" '^state +trial'
expect 0 "confirm" abide confirm
check "a is good" [ "$(variable BOOT_A_LEFT)" = 63 ]

wait_for() { # command...
	second=0
	until "$@"; do
		[ "$second" -lt 20 ] || return 1
		second=$((second + 1))
		sleep 1
	done
}

# RAUC looks for fw_setenv and fw_printenv in PATH, which read /etc/fw_env.config.
rauc_says() { # argument...
	DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus timeout 30 rauc --conf "$work/rauc.conf" "$@" \
		>"$work/rauc.out" 2>&1
}

start_rauc() {
	mkdir -p "$work/bin"
	for tool in fw_setenv fw_printenv; do
		printf '#!/bin/sh\nexec %s -c "%s" "$@"\n' "$(command -v "$tool")" "$fw_config" \
			>"$work/bin/$tool"
		chmod 755 "$work/bin/$tool"
	done
	cat >"$work/rauc.conf" <<-END
	[system]
	compatible=test-device
	bootloader=uboot
	statusfile=$work/rauc.status
	[keyring]
	path=$work/pki/root.pem
	[slot.rootfs.0]
	device=$work/rootfs-a
	type=raw
	bootname=A
	[slot.rootfs.1]
	device=$work/rootfs-b
	type=raw
	bootname=B
	END
	cat >"$work/bus.conf" <<-END
	<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
	 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
	<busconfig><type>custom</type><listen>unix:path=$work/bus</listen><auth>EXTERNAL</auth>
	<policy context="default"><allow own="*"/><allow send_destination="*"/>
	<allow receive_sender="*"/></policy></busconfig>
	END
	dbus-daemon --config-file="$work/bus.conf" --nofork 2>"$work/bus.log" &
	children="$children $!"
	wait_for test -S "$work/bus"
	PATH=$work/bin:$PATH DBUS_SYSTEM_BUS_ADDRESS=unix:path=$work/bus rauc --conf "$work/rauc.conf" \
		--override-boot-slot=A service >"$work/rauc.log" 2>&1 &
	children="$children $!"
	wait_for rauc_says status || {
		cat "$work/rauc.log" "$work/rauc.out" >"$work/err"
		return 1
	}
}

if command -v rauc >/dev/null && command -v dbus-daemon >/dev/null; then
	fw_env BOOT_ORDER="A B" BOOT_A_LEFT=63 BOOT_B_LEFT=63
	check "RAUC's service takes this device for one of its own" start_rauc
	check "rauc status" rauc_says status --output-format=shell
	check "RAUC takes what abide confirmed for good" \
		[ "$(grep -c "RAUC_SLOT_BOOT_STATUS_.='good'" "$work/rauc.out")" = 2 ]
	check "RAUC boots from abide's primary" grep -q "RAUC_BOOT_PRIMARY='rootfs.0'" "$work/rauc.out"
	check "rauc status mark-active other" rauc_says status mark-active other
	expect 0 "abide status after it" abide status
	said "b boots next" '^boots next +group b'
	said "it is a flip for abide, too" '^state +activated'
	check "rauc status mark-bad other" rauc_says status mark-bad other
	expect 0 "abide status after it" abide status
	said "a boots next" '^boots next +group a'
	check "rauc status mark-good" rauc_says status mark-good booted
	expect 0 "abide status after it" abide status
	expect 0 "confirm after it" abide confirm
	check "a is good" [ "$(variable BOOT_A_LEFT)" = 63 ]
else
	echo "ok - RAUC by the same names # SKIP no rauc, no dbus-daemon"
fi

# ---- bad input: exit code 7, and what boots stays ----
fw_env BOOT_ORDER="A B" BOOT_A_LEFT=63 BOOT_B_LEFT=63
cp "$env_file" "$work/good.env"

refused() { # what pattern
	boot_refused "$env_file" "$1" "$2"
	cp "$work/good.env" "$env_file"
}

broken() { # copy...: a byte of it
	for copy; do
		printf X | dd of="$env_file" bs=1 seek=$((copy * 16384 + 12000)) conv=notrunc status=none
	done
}

broken 0 1
refused "both copies broken" 'no valid U-Boot environment: .* its checksum is wrong: half written'
truncate -s 0 "$env_file"
truncate -s 32768 "$env_file"
refused "both copies blank" 'it is blank: never saved, or erased'
truncate -s 16000 "$env_file"
refused "the file is too short" 'go past the end of the device'
rm "$env_file"
refused "the file is missing" "'$env_file': No such file or directory"
set_variable BOOT_ORDER ''
refused "no BOOT_ORDER" 'BOOT_ORDER is not set: not an environment of abide'
set_variable BOOT_ORDER 'A C'
refused "an unknown group" "BOOT_ORDER is 'A C', expected"
set_variable BOOT_A_LEFT ''
refused "no BOOT_A_LEFT" "BOOT_ORDER is 'A B', but BOOT_A_LEFT is not set"
set_variable BOOT_A_LEFT many
refused "not a number" "BOOT_A_LEFT is 'many', expected a hexadecimal number"
set_variable BOOT_B_LEFT -1
refused "a negative number" "BOOT_B_LEFT is '-1', expected"
sed 's/0x4000$/0x2000/' "$fw_config" >"$work/small" && mv "$work/small" "$fw_config"
refused "the wrong size" 'its checksum is wrong for the size 0x2000 of .*, and right for 0x4000'
sed -n 1p "$fw_config" >"$work/one" && mv "$work/one" "$fw_config"
refused "one copy only" 'names one copy of the U-Boot environment'
echo "$env_file here 0x4000" >"$fw_config"
refused "a line that makes no sense" "'$fw_config:1': offset 'here' is not a number"
: >"$fw_config"
refused "an empty fw_env.config" "'$fw_config' names no copy"
rm "$fw_config"
refused "no fw_env.config" "'$fw_config': No such file or directory"
printf '%s 0 0x4000\n%s 0x4000 0x4000\n' /nowhere/env /nowhere/env >"$fw_config"
refused "fw_env.config points to nothing" "'/nowhere/env': No such file or directory"
printf '%s 0 0x4000\n' /dev/ubi9:none /dev/ubi9:other >"$fw_config"
refused "a UBI volume that is not there" "there is no UBI volume 'none' on '/dev/ubi9'; is it attached"
printf '%s 0 0x4000\n' /dev/ubi:none /dev/ubi:other >"$fw_config"
refused "a UBI volume without a device" "'/dev/ubi:none' names no UBI volume: expected /dev/ubiN:NAME"

# ---- one copy is enough, and is said once ----
fw_env BOOT_ORDER="A B" BOOT_A_LEFT=63 BOOT_B_LEFT=63
broken 1
expect 0 "one copy broken: status" abide status
said "the copy is named" 'U-Boot environment, copy 2: .*checksum'
expect 0 "one copy broken: confirm" abide confirm
said "it is said" 'copy 2'
expect 0 "afterwards" abide status
not_said "it is healed" 'copy 2'
check "it is in the journal" grep -q environment-healed "$work/state/journal.jsonl"

finish
