#!/bin/sh
# install.sh - full installs of v2 into a slot on a loop device, over a tmpfs and over the disk: bare
# commands as floors, abide, RAUC, SWUpdate; one after the other, $BENCH_ROUNDS times around.
#
# Bundles lie on a tmpfs, so that reading them costs everyone the same. Before each install the slot
# is filled with noise, so that nothing is in place, and all is flushed.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

# ---- the installers ----

fill() {
	dd if="$ram/noise" of="$slot" bs=4M oflag=direct conv=fsync status=none 2>/dev/null || true
	sync
}

# What is installed is installed: looked at after the first of each.
check_slot() { # name
	cmp -n "$(stat -c %s "$image")" "$image" "$slot" || {
		say "$1 did not install"
		exit 1
	}
}

once() { # name command...
	once_name=$1
	shift
	measured "$once_name" "$medium" "$type" -d "$slot" "$@"
	[ "$round" -gt 1 ] || check_slot "$once_name"
}

run_dd() {
	fill
	once "dd oflag=direct" dd if="$image" of="$slot" bs=4M oflag=direct conv=fsync
}

run_zstd_dd() {
	fill
	once "zstd -d, dd oflag=direct" sh -c \
		"zstd -q -d -c '$ram/rootfs.zst' |
		dd of='$slot' bs=4M iflag=fullblock oflag=direct conv=fsync"
}

run_abide() {
	fill
	abide_reset "$scratch"
	once "abide" abide -c "$scratch/system.conf" install "$ram/v2.$type.abide"
	abide_reset "$scratch"
	once "abide, a second time" abide -c "$scratch/system.conf" install "$ram/v2.$type.abide"
}

# Programs of the bench only: one reads nothing back, the other has its carrier in its own process.
run_abide_part() { # name program
	fill
	abide_reset "$scratch"
	once "$1" "$2" -c "$scratch/system.conf" install "$ram/v2.$type.abide"
}

run_swupdate() { # name bundle
	[ "$swupdate" ] || return 0
	fill
	once "$1" swupdate -H board:1.0 -l 1 -k "$BENCH/pki/root.pem" --cert-purpose codeSigning \
		-i "$2"
}

run_rauc() {
	[ "$rauc" ] || return 0
	fill
	once "RAUC, zstd" -p "$rauc" rauc install "$ram/v2.$type.raucb"
}

# ---- the peers, as far as they run here ----

# Debian's RAUC installs through its service, here on a bus of our own.
start_rauc() {
	rauc=
	command -v rauc >/dev/null && command -v dbus-daemon >/dev/null || return 0
	mkdir -p "$scratch/mnt"
	touch "$scratch/other"
	cat >"$scratch/rauc.conf" <<-END
	[system]
	compatible=bench
	bootloader=noop
	mountprefix=$scratch/mnt
	statusfile=$scratch/rauc.status
	[keyring]
	path=$BENCH/pki/root.pem
	check-purpose=codesign
	[slot.rootfs.0]
	device=$scratch/other
	type=raw
	bootname=A
	[slot.rootfs.1]
	device=$slot
	type=raw
	bootname=B
	END
	cat >"$scratch/bus.conf" <<-END
	<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
	 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
	<busconfig>
	<type>custom</type><listen>unix:path=$scratch/bus</listen><auth>EXTERNAL</auth>
	<policy context="default"><allow own="*"/><allow send_destination="*"/>
	<allow receive_sender="*"/></policy>
	</busconfig>
	END
	export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$scratch/bus"
	dbus-daemon --config-file="$scratch/bus.conf" --nofork >"$scratch/bus.log" 2>&1 &
	children="$children $!"
	sleep 0.5
	rauc --conf "$scratch/rauc.conf" --override-boot-slot=A service >"$scratch/rauc.log" 2>&1 &
	rauc=$!
	children="$children $rauc"
	sleep 1
}

stop_rauc() {
	if [ "$rauc" ]; then end_child "$rauc"; fi
	rm -f "$scratch/rauc.status" "$scratch/bus"
}

# ---- one image on one medium ----

setup() {
	image=$images/v2.$type
	size=$(($(stat -c %s "$image") / 1048576 + 17))
	case $medium in
	tmpfs) loop_device "$ram/slot" "$size" ;;
	disk) loop_device "$scratch/slot" "$size" ;;
	esac
	slot=$device
	ln -sf "$slot" "$BENCH/swupdate-slot"
	truncate -s 64M "$scratch/a"
	abide_device "$scratch" "$scratch/a" "$slot"
	cp "$bundles/v2.$type.abide" "$bundles/v2.$type.raucb" "$bundles/v2.$type".*.swu "$ram"
	zstd -q -f -3 "$image" -o "$ram/rootfs.zst"
	head -c "${size}M" /dev/zero | openssl enc -aes-128-ctr -nosalt -K 1 -iv 0 2>/dev/null \
		>"$ram/noise"
	cp "$image" "$ram/image"
	image=$ram/image
	start_rauc
}

teardown() {
	stop_rauc
	losetup -d "$slot"
	devices=
	rm -f "$ram"/* "$scratch/slot"
}

all_of() {
	run_dd
	[ "$type" != ext4 ] || run_zstd_dd
	run_abide
	run_abide_part "abide, no read-back" abide-unread
	[ "$type" != ext4 ] || run_abide_part "abide, in one process" abide-inprocess
	[ "$type" != ext4 ] || run_swupdate "SWUpdate, zstd" "$ram/v2.$type.3.swu"
	run_swupdate "SWUpdate, raw" "$ram/v2.$type.none.swu"
	run_rauc
}

make_scratch
mount_ram
start_results
swupdate=$(command -v swupdate) || swupdate=
for type in ext4 squashfs-zstd; do
	for medium in tmpfs disk; do
		setup
		round=0
		while [ $round -lt "$BENCH_ROUNDS" ]; do
			round=$((round + 1))
			say "install $type over $medium, round $round of $BENCH_ROUNDS"
			all_of
		done
		teardown
	done
done
finish_results
