#!/bin/sh
# busybox.sh CACHE ARCH: prints the path of a statically linked busybox for ARCH: the host's if that is
# what it runs, else from Debian's package, fetched once.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$1 arch=$2
if [ "$arch" = "$(dpkg --print-architecture)" ]; then
	command -v busybox
	exit
fi
folder=$cache/busybox-$arch
if [ ! -e "$folder/bin/busybox" ]; then
	file=$("$here/../debian.sh" "$cache" "$arch" fetch busybox-static)
	rm -rf "$folder.new"
	dpkg-deb -x "$file" "$folder.new"
	mv "$folder.new" "$folder"
fi
(cd "$folder" && echo "$PWD/bin/busybox")
