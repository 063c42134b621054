#!/bin/sh
# build.sh: one release of a small real root file system, as a squashfs or an ext4 image.
#
# Debian's kernel, an initramfs, busybox, abide with the libraries it is linked to, and a
# service whose health decides. The same inputs give the same bytes: order, owners and times are
# fixed (SOURCE_DATE_EPOCH, else the last commit's time). See README.md here.
set -eu

usage() {
	cat >&2 <<-END
	usage: build.sh -d DEVICE -o IMAGE -v VERSION -a ABIDE -t TRUST.pem [-b BOOT] [-c CACHE] [-n TRIES]
	                [-f FAULT] [-z LEVEL] [-i squashfs|ext4]
	  -d DEVICE what it runs on: what devices/DEVICE holds comes on top of tree
	  -a ABIDE  with its carriers beside it; its processor is the device's
	  -b BOOT   kernel and initramfs as one program of the firmware's go here, not into IMAGE
	  -n TRIES  trial boots this release gives to the next one (default 3)
	  -f FAULT  unhealthy: its service never answers     panic: the kernel panics before confirm
	            hang: init stops before confirm          no-kernel, no-initrd: /boot/vmlinuz, /boot/initrd is missing
	  -z LEVEL  of the compression (default 3); with another one hardly a block is the same
	  -i TYPE   of the file system (default squashfs), as the bootloader can read it
	END
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
device='' image='' boot='' version='' abide='' trust='' cache=build/cache tries=3 fault=none level=3 type=squashfs
while getopts b:d:o:v:a:t:c:n:f:z:i: option; do
	case $option in
	b) boot=$OPTARG ;; d) device=$OPTARG ;; o) image=$OPTARG ;; v) version=$OPTARG ;; a) abide=$OPTARG ;; t) trust=$OPTARG ;;
	c) cache=$OPTARG ;; n) tries=$OPTARG ;; f) fault=$OPTARG ;; z) level=$OPTARG ;; i) type=$OPTARG ;;
	*) usage ;;
	esac
done
for value in "$device" "$image" "$version" "$abide" "$trust"; do [ -n "$value" ] || usage; done
case $fault in none | unhealthy | panic | hang | no-kernel | no-initrd) ;; *) usage ;; esac
case $type in squashfs | ext4) ;; *) usage ;; esac
[ -d "$here/devices/$device" ] || {
	echo "build.sh: device '$device' is not known: there is no '$here/devices/$device'" >&2
	exit 2
}

epoch=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 0)}
unset SOURCE_DATE_EPOCH # mksquashfs takes it or its options, not both
umask 022
machine=$(readelf -h "$abide" | sed -n 's/^ *Machine: *//p')
case $machine in
*X86-64) arch=amd64 triplet=x86_64-linux-gnu ;;
AArch64) arch=arm64 triplet=aarch64-linux-gnu ;;
*)
	echo "build.sh: '$abide' is for '$machine', for which there is no kernel here" >&2
	exit 2
	;;
esac
kernel=$("$here/kernel.sh" "$cache" "$arch")
busybox=$("$here/program.sh" "$cache" "$arch" busybox-static bin/busybox)
# Where the libraries of that processor are: here, or what it was cross-built with.
sysroot=''
[ "$arch" = "$(dpkg --print-architecture)" ] || sysroot=$cache/$triplet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root

# Every program has one place: /bin, /sbin and /usr/sbin are /usr/bin, as on a merged Debian.
mkdir -p "$root"/usr/bin "$root"/usr/lib64 "$root"/usr/lib/abide "$root"/usr/share "$root"/boot/efi "$root"/var/lib/abide
for directory in dev proc sys tmp run root; do mkdir "$root/$directory"; done
ln -s usr/bin "$root/bin"
ln -s usr/bin "$root/sbin"
ln -s bin "$root/usr/sbin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
cp -R "$here/tree/." "$here/devices/$device/." "$root/"
chmod 755 "$root"/usr/bin/* "$root"/usr/lib/abide/health.d/*

install -m 755 "$busybox" "$root/usr/bin/busybox"
for applet in $(busybox --list); do
	[ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

# library NAME: the file, where the loader looks for it.
library() {
	for folder in /lib64 /lib "/lib/$triplet" "/usr/lib/$triplet" /usr/lib; do
		[ ! -e "$sysroot$folder/$1" ] || {
			echo "$folder/$1"
			return
		}
	done
	echo "build.sh: no library '$1' for $triplet in '${sysroot:-/}'" >&2
	exit 1
}

# install_libraries FILE...: what they are linked to, the loader too, and what that is linked to.
install_libraries() {
	for name in $(readelf -d "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u); do
		path=$(library "$name")
		[ ! -e "$root$path" ] || continue
		mkdir -p "$root${path%/*}"
		install -m 755 "$(readlink -f "$sysroot$path")" "$root$path"
		install_libraries "$root$path"
	done
}

strip=$triplet-strip
command -v "$strip" >/dev/null || strip='strip'
install -m 755 -s --strip-program="$strip" "$abide" "$root/usr/bin/abide"
mkdir -p "$root/usr/libexec/abide"
for carrier in abide-carrier abide-carrier-http; do
	install -m 755 -s --strip-program="$strip" "$(dirname "$abide")/$carrier" "$root/usr/libexec/abide"
done
install_libraries "$root/usr/bin/abide" "$root/usr/libexec/abide/"*
# A power cut may leave a FAT that Linux makes read-only: init has it checked first.
if grep -q ' vfat ' "$root/etc/fstab"; then
	fsck=$("$here/program.sh" "$cache" "$arch" dosfstools sbin/fsck.fat)
	install -m 755 -s --strip-program="$strip" "$fsck" "$root/usr/bin/fsck.fat"
	install_libraries "$root/usr/bin/fsck.fat"
fi
install -m 755 "$here/../../updater/init/abide-confirm" "$root/usr/lib/abide/abide-confirm"
install -m 644 "$trust" "$root/etc/abide/trust.pem"
sed -i "s/@TRIES@/$tries/" "$root/etc/abide/system.conf"
echo "$version" >"$root/etc/version"
echo "$fault" >"$root/etc/fault"

if [ -z "$boot" ]; then
	[ "$fault" = no-kernel ] || install -m 644 "$kernel/vmlinuz" "$root/boot/vmlinuz"
	[ "$fault" = no-initrd ] || "$here/initrd.sh" "$kernel" "$busybox" "$root/boot/initrd" "$epoch"
elif [ "$fault" = no-kernel ]; then
	mkdir -p "$(dirname "$boot")"
	echo "release $version has no kernel" >"$boot"
else
	initrd=$work/initrd
	"$here/initrd.sh" "$kernel" "$busybox" "$initrd" "$epoch"
	[ "$fault" != no-initrd ] || initrd=''
	"$here/uki.sh" "$kernel/vmlinuz" "$initrd" "$version" "$boot"
fi

mkdir -p "$(dirname "$image")"
rm -f "$image.new"
case $type in
squashfs)
	# gzip: GRUB 2.06 reads gzip, xz and lzo, not zstd, and of these gzip unpacks fastest. Level 3 packs
	# three times faster than 9, for 3 % more bytes.
	mksquashfs "$root" "$image.new" -comp gzip -Xcompression-level "$level" -noappend -all-root -no-xattrs \
		-root-mode 755 -mkfs-time "$epoch" -all-time "$epoch" -quiet -no-progress
	;;
ext4)
	# U-Boot takes a kernel that is packed by itself, too.
	[ ! -e "$root/boot/vmlinuz" ] || {
		gzip -9n "$root/boot/vmlinuz"
		mv "$root/boot/vmlinuz.gz" "$root/boot/vmlinuz"
	}
	# As large as its content, and a bit, without what a read-only file system does not need.
	find "$root" -exec touch -h -d "@$epoch" {} +
	uuid=5f0c1f4e-7a86-4b0c-9a53-$(printf '%012d' "$level")
	# A level that is not the default stands for a release that is much like no other.
	[ "$level" = 3 ] || head -c 20M /dev/zero | openssl enc -aes-128-ctr -nosalt -pass "pass:$level" -md sha256 \
		-pbkdf2 >"$root/usr/share/other"
	mib=$(($(du -s --apparent-size -B 1M "$root" | cut -f 1) * 11 / 10 + 4))
	E2FSPROGS_FAKE_TIME=$epoch mke2fs -q -F -t ext4 -b 4096 -m 0 -N 2048 -O ^has_journal,^resize_inode \
		-U "$uuid" -E "hash_seed=$uuid,root_owner=0:0,lazy_itable_init=0" -d "$root" "$image.new" "${mib}M"
	;;
esac
mv "$image.new" "$image"
