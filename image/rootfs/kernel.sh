#!/bin/sh
# kernel.sh CACHE ARCH [PACKAGE]: fetches Debian's kernel for ARCH (amd64, arm64) once, unpacks it without
# installing it, and prints the folder that holds vmlinuz and lib/modules. PACKAGE: another kernel than
# that of the virtual devices.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$1 arch=$2 other=${3:-}
# The cloud kernels are smaller, and know virtio only: no SD card, no hardware watchdog.
case $arch in
amd64) meta=linux-image-cloud-amd64 ;;
arm64) meta=linux-image-arm64 ;;
*)
	echo "kernel.sh: no kernel is chosen for '$arch'" >&2
	exit 2
	;;
esac
meta=${other:-$meta}
folder=$cache/kernel-$arch${other:+-$other}
if [ ! -e "$folder/vmlinuz" ]; then
	package=$("$here/../debian.sh" "$cache" "$arch" depends "$meta" | head -n 1)
	file=$("$here/../debian.sh" "$cache" "$arch" fetch "$package")
	rm -rf "$folder.new"
	dpkg-deb -x "$file" "$folder.new"
	depmod -b "$folder.new" "$(ls "$folder.new/lib/modules")"
	mv "$folder.new"/boot/vmlinuz-* "$folder.new/vmlinuz"
	mv "$folder.new" "$folder"
fi
(cd "$folder" && pwd)
