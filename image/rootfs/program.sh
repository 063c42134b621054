#!/bin/sh
# program.sh CACHE ARCH PACKAGE PATH: prints where Debian's PACKAGE has its program PATH for ARCH: the
# host's if that is what it runs, else that of the package, fetched once.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$1 arch=$2 package=$3 path=$4
if [ "$arch" = "$(dpkg --print-architecture)" ]; then
	[ -x "/$path" ] || {
		echo "program.sh: '/$path' is missing; Debian's package is '$package'" >&2
		exit 1
	}
	echo "/$path"
	exit
fi
folder=$cache/$package-$arch
if [ ! -e "$folder/$path" ]; then
	file=$("$here/../debian.sh" "$cache" "$arch" fetch "$package")
	rm -rf "$folder.new"
	dpkg-deb -x "$file" "$folder.new"
	mv "$folder.new" "$folder"
fi
(cd "$folder" && echo "$PWD/$path")
