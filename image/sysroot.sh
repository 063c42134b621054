#!/bin/sh
# sysroot.sh TRIPLET DIRECTORY CACHE PACKAGE...: the libraries and headers that abide is built with for
# another machine, TRIPLET as in `TRIPLET-gcc`: Debian's PACKAGEs for it with all they depend on, unpacked
# into DIRECTORY. Nothing is installed on the host. Stays as it is while it was made of the same names.
set -eu

die() {
	echo "sysroot.sh: $*" >&2
	exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
triplet=$1 directory=$2 cache=$3
shift 3
[ "$(cat "$directory/made-of" 2>/dev/null)" != "$*" ] || exit 0

command -v "$triplet-gcc" >/dev/null ||
	die "no compiler '$triplet-gcc': install it (Debian: gcc-$triplet), or say which with CC= and SYSROOT="
arch=$(dpkg-architecture -f -q DEB_HOST_ARCH -t "$triplet" 2>/dev/null) ||
	die "'$triplet' is no architecture of Debian's (or dpkg-dev is missing): give SYSROOT= a folder with its libraries"

new=$directory.new
rm -rf "$new"
mkdir -p "$new/usr/lib"
# Debian's packages still have files in /lib; with this, each library has one place.
ln -s usr/lib "$new/lib"
list=$("$here/debian.sh" "$cache" "$arch" closure "$@")
echo "sysroot.sh: unpacking $(echo "$list" | wc -l) packages for $arch into '$directory'" >&2
for package in $list; do
	dpkg-deb --fsys-tarfile "$package" | tar -xf - -C "$new" --keep-directory-symlink --no-same-owner \
		--exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale'
done
# Links to absolute paths mean the sysroot, not the host.
find "$new" -type l | while read -r link; do
	target=$(readlink "$link")
	case $target in
	/*) ln -sfn "$(realpath -ms --relative-to="$(dirname "$link")" "$new$target")" "$link" ;;
	esac
done
echo "$*" >"$new/made-of"
rm -rf "$directory"
mv "$new" "$directory"
