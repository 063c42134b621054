# lib.sh - for sourcing: a workstation that plays a device, on plain files, in a directory of its own.
#
#	. "$(dirname "$0")/lib.sh"
#	device 8M                   $work/system.conf: group a runs, sealed with release 1.0
#	expect 4 "what" abide ...   runs it; its output is in $work/out and $work/err
#	said "what" 'pattern'       that output has it
#	check "what" command...
#	attach FILE                 a loop device over it, $loop; false where there are none
#	finish
#
# Programs: $ABIDE and $ABIDE_IMAGE, else those in $ABIDE_BUILD, else in build/.
# shellcheck shell=sh
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${ABIDE_BUILD:-$top/build}
ABIDE=${ABIDE:-$build/abide}
ABIDE_IMAGE=${ABIDE_IMAGE:-$build/abide-image}
for program in "$ABIDE" "$ABIDE_IMAGE"; do
	[ -x "$program" ] || {
		echo "not ok - '$program' is not built"
		exit 1
	}
done
work=$(mktemp -d)
children=''
loops=''

cleanup() {
	for child in $children; do kill "$child" 2>/dev/null || true; done
	for attached in $loops; do losetup -d "$attached" 2>/dev/null || true; done # if mounted, once it is not
	if [ -n "${mounted-}" ]; then umount "$mounted" || true; fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$work" # the carrier's user reads from sockets and pipes only, nginx's from here

# Counted in a file: checks in a pipe run in a shell of their own.
ok() {
	echo "ok - $1" | tee -a "$work/results"
}

not_ok() {
	echo "not ok - $1" | tee -a "$work/results"
	for output in out err; do
		[ ! -s "$work/$output" ] || sed "s/^/# $output: /" "$work/$output" | tail -n 20
	done
}

check() { # what command...
	check_what=$1
	shift
	if "$@"; then ok "$check_what"; else not_ok "$check_what"; fi
}

finish() {
	failed=$(grep -c '^not ok' "$work/results" || true)
	echo "$(grep -c '^ok' "$work/results" || true) passed, $failed failed"
	[ "$failed" -eq 0 ] || exit 1
	exit 0
}

attach() { # file
	loop=$(losetup --find --show "$1" 2>/dev/null) || return 1
	loops="$loops $loop"
}

# The program, with this device's configuration.
abide() {
	"$ABIDE" -c "$work/system.conf" "$@"
}

expect() { # status what command...
	expect_status=$1
	expect_what=$2
	shift 2
	status=0
	"$@" >"$work/out" 2>"$work/err" || status=$?
	if [ "$status" -eq "$expect_status" ]; then
		ok "$expect_what"
	else
		not_ok "$expect_what (exit status $status, expected $expect_status)"
	fi
}

said() { # what pattern
	check "$1" grep -Eqe "$2" "$work/out" "$work/err"
}

not_said() { # what pattern
	if grep -Eqe "$2" "$work/out" "$work/err"; then not_ok "$1"; else ok "$1"; fi
}

# A bootloader's state that makes no sense: every command says so, exit status 7, and leaves it.
boot_refused() { # file what pattern: bundle 2 is there
	boot_before=$([ ! -e "$1" ] || sha256sum <"$1")
	for command in status confirm "install $work/2.abide" "activate b" revert; do
		# shellcheck disable=SC2086 # words
		expect 7 "$2: $command" abide $command
		said "  it says so" "$3"
	done
	check "$2: nothing is changed" [ "$boot_before" = "$([ ! -e "$1" ] || sha256sum <"$1")" ]
}

# The value of a number or a string in the last JSON line of the output, or nothing.
field() { # name
	tail -n 1 "$work/out" | sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p"
}

# ---- a device ----

# size bytes of noise, the same for the same seed
noise() { # seed size
	head -c "$2" /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "$1")" \
		-iv 00000000000000000000000000000000
}

# An image: mostly noise, with zeros and a repetition; releases differ in a part.
image() { # file release
	{
		noise 1 1500000
		noise "$((100 + $2))" 200000
		head -c 524288 /dev/zero
		noise 2 1500000
		noise 1 400000
		head -c 300000 /dev/zero
	} >"$1"
	truncate -s %4096 "$1"
}

# abide-image; that it fails is not what is tested here.
host_side() {
	"$ABIDE_IMAGE" "$@" >"$work/host.log" 2>&1 || {
		echo "not ok - abide-image $1: $(tail -n 1 "$work/host.log")"
		exit 1
	}
}

pki() {
	[ -d "$work/pki" ] || host_side keys "$work/pki"
}

# With $security_version, else 1.
bundle() { # name version image-file [option]...
	bundle_name=$1
	bundle_version=$2
	bundle_image=$3
	shift 3
	pki
	host_side bundle -o "$work/$bundle_name.abide" --key "$work/pki/signer.key" \
		--cert "$work/pki/signer.pem" --compatible test-device --version "$bundle_version" \
		--security-version "${security_version:-1}" --level 1 --threads 1 "$@" --image "rootfs=$bundle_image"
}

# GRUB's environment block.
grubenv() { # ORDER A_OK A_TRY B_OK B_TRY
	variables=$(printf 'ORDER=%s\nA_OK=%s\nA_TRY=%s\nB_OK=%s\nB_TRY=%s' "$@")
	head -c 1024 /dev/zero | tr '\0' '#' >"$work/grubenv"
	printf '# GRUB Environment Block\n%s\n' "$variables" |
		dd of="$work/grubenv" conv=notrunc status=none
	rm -f "$work/grubenv.spare"
}

variable() { # name
	sed -n "s/^$1=//p" "$work/grubenv"
}

configure() { # booted-group
	cat >"$work/system.conf" <<-END
	[system]
	compatible = test-device
	hardware = rev-b
	bootloader = grub
	state-dir = $work/state
	run-dir = $work/run
	[trust]
	roots = $work/pki/root.pem
	[source]
	stall-timeout = 5
	retries = 1
	[slot rootfs.a]
	device = $work/rootfs-a
	[slot rootfs.b]
	device = $work/rootfs-b
	[boot]
	grubenv = $work/grubenv
	booted = $1
	[health]
	directory = $work/health.d
	timeout = 5
	END
}

# Release 1.0 gets into group a the way any release does: b plays the running group for it.
device() { # slot-size
	mkdir -p "$work/health.d"
	truncate -s "$1" "$work/rootfs-a" "$work/rootfs-b"
	image "$work/image-1" 1
	bundle 1 1.0 "$work/image-1"
	configure b
	grubenv B 0 0 1 0
	abide install "$work/1.abide" >"$work/out" 2>"$work/err" || {
		not_ok "the first install"
		finish
	}
	configure a
	grubenv A 1 0 0 0
	rm -rf "$work/state"
}

# What grub.cfg does: picks the group, counts its try, boots it. /run does not outlive that.
reboot_device() {
	rm -rf "$work/run"
	for group in $(variable ORDER); do
		tries=$(variable "${group}_TRY")
		if [ "$(variable "${group}_OK")" = 1 ]; then
			break
		elif [ "${tries:-0}" -gt 0 ]; then
			sed -i "s/^${group}_TRY=.*/${group}_TRY=$((tries - 1))/" "$work/grubenv"
			break
		fi
	done
	configure "$(echo "$group" | tr AB ab)"
}

# A slot's bytes, and when it was last written.
slot_print() { # group
	sha256sum <"$work/rootfs-$1"
	stat -c %y "$work/rootfs-$1"
}
