#!/bin/sh
# build.sh: one release of a small real root file system, as a squashfs image.
#
# Debian's cloud kernel, an initramfs, busybox, abide with the libraries it is linked to, and a
# service whose health decides. The same inputs give the same bytes: order, owners and times are
# fixed (SOURCE_DATE_EPOCH, else the last commit's time). See README.md here.
set -eu

usage() {
	cat >&2 <<-END
	usage: build.sh -d DEVICE -o IMAGE -v VERSION -a ABIDE -t TRUST.pem [-c CACHE] [-n TRIES] [-f FAULT] [-z LEVEL]
	  -d DEVICE what it runs on: what devices/DEVICE holds comes on top of tree
	  -n TRIES  trial boots this release gives to the next one (default 3)
	  -f FAULT  unhealthy: its service never answers     panic: the kernel panics before confirm
	            hang: init stops before confirm          no-kernel: /boot/vmlinuz is missing
	  -z LEVEL  of the compression (default 3); with another one hardly a block is the same
	END
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
device='' image='' version='' abide='' trust='' cache=build/cache tries=3 fault=none level=3
while getopts d:o:v:a:t:c:n:f:z: option; do
	case $option in
	d) device=$OPTARG ;; o) image=$OPTARG ;; v) version=$OPTARG ;; a) abide=$OPTARG ;; t) trust=$OPTARG ;;
	c) cache=$OPTARG ;; n) tries=$OPTARG ;; f) fault=$OPTARG ;; z) level=$OPTARG ;;
	*) usage ;;
	esac
done
for value in "$device" "$image" "$version" "$abide" "$trust"; do [ -n "$value" ] || usage; done
case $fault in none | unhealthy | panic | hang | no-kernel) ;; *) usage ;; esac
[ -d "$here/devices/$device" ] || {
	echo "build.sh: device '$device' is not known: there is no '$here/devices/$device'" >&2
	exit 2
}

epoch=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}
unset SOURCE_DATE_EPOCH # mksquashfs takes it or its options, not both
umask 022
kernel=$("$here/kernel.sh" "$cache")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root

# Every program has one place: /bin, /sbin and /usr/sbin are /usr/bin, as on a merged Debian.
mkdir -p "$root"/usr/bin "$root"/usr/lib64 "$root"/usr/lib/abide "$root"/boot/efi "$root"/var/lib/abide
for directory in dev proc sys tmp run root; do mkdir "$root/$directory"; done
ln -s usr/bin "$root/bin"
ln -s usr/bin "$root/sbin"
ln -s bin "$root/usr/sbin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
cp -R "$here/tree/." "$here/devices/$device/." "$root/"
chmod 755 "$root"/usr/bin/* "$root"/usr/lib/abide/health.d/*

busybox=$(command -v busybox)
install -m 755 "$busybox" "$root/usr/bin/busybox"
for applet in $("$busybox" --list); do
	[ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

# abide, and what it is linked to with the loader itself, at the paths they have here.
carrier=$(dirname "$abide")/abide-carrier
install -m 755 -s "$abide" "$root/usr/bin/abide"
install -D -m 755 -s "$carrier" "$root/usr/libexec/abide/abide-carrier"
ldd "$abide" "$carrier" |
	sed -n -e 's/^.* => \(\/[^ ]*\) .*$/\1/p' \
		-e 's/^[[:space:]]*\(\/[^ ]*\) (.*$/\1/p' | sort -u |
	while read -r library; do
		mkdir -p "$root${library%/*}"
		install -m 755 "$(readlink -f "$library")" "$root$library"
	done
install -m 755 "$here/../../updater/init/abide-confirm" "$root/usr/lib/abide/abide-confirm"
install -m 644 "$trust" "$root/etc/abide/trust.pem"
sed -i "s/@TRIES@/$tries/" "$root/etc/abide/system.conf"
echo "$version" >"$root/etc/version"
echo "$fault" >"$root/etc/fault"

[ "$fault" = no-kernel ] || install -m 644 "$kernel/vmlinuz" "$root/boot/vmlinuz"
"$here/initrd.sh" "$kernel" "$root/boot/initrd" "$epoch"

mkdir -p "$(dirname "$image")"
rm -f "$image.new"
# gzip: GRUB 2.06 reads gzip, xz and lzo, not zstd, and of these gzip unpacks fastest. Level 3 packs
# three times faster than 9, for 3 % more bytes.
mksquashfs "$root" "$image.new" -comp gzip -Xcompression-level "$level" -noappend -all-root -no-xattrs -root-mode 755 \
	-mkfs-time "$epoch" -all-time "$epoch" -quiet -no-progress
mv "$image.new" "$image"
