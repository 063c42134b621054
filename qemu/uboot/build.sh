#!/bin/sh
# build.sh CACHE: builds U-Boot for the device arm64-uboot from Debian's source package, with `config`
# beside this file, and prints the path of its u-boot.bin. Once: the next time it is in CACHE.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$1
cross=aarch64-linux-gnu-
# Of the same source package as what would be built.
version=$(dpkg-query -W -f '${Version}' u-boot-qemu) || {
	echo "build.sh: package 'u-boot-qemu' is missing: run tests/deps.sh arm" >&2
	exit 1
}
key=$(cat "$here/config" "$0" | sha256sum | cut -c 1-12)
mkdir -p "$cache"
exec 9>"$cache/u-boot.lock" # one at a time: the next one finds it made
flock 9
folder=$cache/u-boot_${version}_$key
if [ ! -e "$folder/u-boot.bin" ]; then
	source=$("$here/../../image/debian.sh" "$cache" arm64 source u-boot)
	mkdir -p "$folder"
	out=$(cd "$folder" && pwd)/build
	log=$folder/log
	echo "build.sh: building U-Boot $version (log: '$log')" >&2
	rm -rf "$out"
	# SYS_EARLY_PCI_INIT: the SD card's controller is on PCI, and the environment is read before PCI
	# would be looked at otherwise. The build's time goes into the program: let it be the release's.
	epoch=$(dpkg-parsechangelog -l "$source/debian/changelog" -S Timestamp)
	{
		make -C "$source" O="$out" CROSS_COMPILE=$cross qemu_arm64_defconfig &&
			"$source/scripts/kconfig/merge_config.sh" -m -O "$out" "$out/.config" "$here/config" &&
			make -C "$source" O="$out" CROSS_COMPILE=$cross olddefconfig &&
			make -s -C "$source" O="$out" CROSS_COMPILE=$cross -j "$(nproc)" SOURCE_DATE_EPOCH="$epoch" \
				KCPPFLAGS=-DCONFIG_SYS_EARLY_PCI_INIT u-boot.bin
	} >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		echo "build.sh: U-Boot does not build: all of it is in '$log'" >&2
		exit 1
	}
	# What was asked for and is not known, or cannot be, would be left out without a word.
	grep -v '^# [^C]' "$here/config" | grep . | while read -r line; do
		case $line in
		CONFIG_*) grep -qxF "$line" "$out/.config" ;;
		"# CONFIG_"*) ! grep -q "^$(echo "$line" | cut -d ' ' -f 2)=" "$out/.config" ;;
		esac || {
			echo "build.sh: U-Boot's configuration does not take '$line'" >&2
			exit 1
		}
	done
	mv "$out/u-boot.bin" "$folder/u-boot.bin"
	rm -rf "$out"
fi
echo "$folder/u-boot.bin"
