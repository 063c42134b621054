#!/bin/sh
# deps.sh GROUP... - the Debian packages that each part of the work needs.
#
# As root: installs what is missing. Otherwise: says what is missing and how to install it.
# With -l before the groups: only lists their packages, one a line.
# Groups: build test lint valgrind qemu arm bench
set -eu

packages() {
	case $1 in
	build) echo "gcc libc6-dev make pkg-config git libarchive-dev libssl-dev libcurl4-openssl-dev" \
		"libjansson-dev libinih-dev libblkid-dev libzstd-dev libseccomp-dev libfdisk-dev libubootenv-dev" ;;
	test) echo "libcmocka-dev clang llvm libclang-rt-14-dev nginx-light openssl curl" \
		"ca-certificates e2fsprogs squashfs-tools fdisk mount mtools jq zstd" \
		"grub-common grub-emu qemu-system-arm u-boot-qemu u-boot-tools libubootenv-tool rauc dbus-daemon" ;;
	lint) echo "clang clang-format clang-tidy cppcheck shellcheck libcmocka-dev" ;;
	valgrind) echo "valgrind libc6-dbg" ;;
	qemu) echo "qemu-system-x86 ovmf mtools dosfstools fdisk e2fsprogs squashfs-tools busybox-static kmod cpio" \
		"grub-efi-amd64-bin grub-common systemd-boot-efi clang lld binutils xz-utils zstd file nginx-light openssl curl mtd-utils libubootenv-tool" ;;
	arm) echo "gcc-aarch64-linux-gnu dpkg-dev tar qemu-system-arm u-boot-qemu u-boot-tools bison flex" \
		"bc libssl-dev device-tree-compiler" ;;
	bench) echo "rauc swupdate dbus-daemon zstd squashfs-tools erofs-utils e2fsprogs xdelta3 nginx-light" \
		"iproute2 openssl cpio mount curl" ;;
	*)
		echo "deps.sh: no group '$1'; there are: build test lint valgrind qemu arm bench" >&2
		exit 2
		;;
	esac
}

missing() {
	for package; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
			printf '%s ' "$package"
	done
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

list=
[ "${1:-}" != -l ] || {
	list=1
	shift
}
wanted=
for group; do
	wanted="$wanted $(packages "$group")"
done
# shellcheck disable=SC2086 # words
[ ! "$list" ] || {
	printf '%s\n' $wanted
	exit
}
# shellcheck disable=SC2086 # words
# shellcheck disable=SC2046
needed=$(missing $(printf '%s\n' $wanted | sort -u))
[ "$needed" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps.sh: missing (Debian's names): $needed" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "deps.sh: missing packages; install them with:" >&2
	echo "    sudo apt-get install --no-install-recommends $needed" >&2
	exit 1
fi

# A web server's package starts it: on port 80, where somebody else may listen. Not for a test.
policy=/usr/sbin/policy-rc.d
if ! [ -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
echo "deps.sh: installing $needed"
# Lists that are missing or old show as a package that is not found or not fetched: then update.
# shellcheck disable=SC2086 # words
apt install --no-install-recommends $needed || {
	apt update
	apt install --no-install-recommends $needed
}
