#!/bin/sh
# images.sh - two releases of a root file system from Debian's packages, as images of each type, in
# $BENCH/images: v1.ext4, v2.ext4, v1.squashfs-zstd, ... What is there already is kept.
#
# v2 is what a security release is: some packages newer, one gone, one new; else the same. Sets are
# fixed, versions are what the archive has: the oldest of 'updated' for v1, the newest for v2.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "${BENCH_QUICK:-0}" = 1 ]; then
	same="bash coreutils libpython3.11-stdlib"
	updated="openssl libssl3"
else
	same="bash coreutils dash grep sed tar util-linux systemd udev libc6 libc-bin locales perl-base
		perl-modules-5.36 libperl5.36 python3.11-minimal libpython3.11-minimal
		libpython3.11-stdlib git vim-runtime libicu72 libnode108 libllvm14 iproute2"
	updated="openssl libssl3 curl libcurl4 libgnutls30 openssh-client openssh-server nginx-light
		tzdata ca-certificates libglib2.0-0 bind9-libs"
fi
removed="strace"
added="tcpdump"

# The versions that the archive has, newest first.
versions() { # package
	apt-cache madison "$1" | awk '{ print $3 }'
}

fetch() { # package version
	(cd "$BENCH/debs" && apt-get -q=2 download "$1=$2") >"$BENCH/apt.log" 2>&1 || {
		cat "$BENCH/apt.log" >&2
		exit 1
	}
}

# Each package of the set, unpacked; the order makes no difference.
tree() { # release packages-with-versions
	rm -rf "${BENCH:?}/$1"
	mkdir -p "$BENCH/$1"
	for package in $2; do
		name=${package%%=*} version=${package#*=}
		file=$BENCH/debs/${name}_$(echo "$version" | sed 's/:/%3a/')
		ls "$file"_*.deb >/dev/null 2>&1 || fetch "$name" "$version"
		dpkg-deb --fsys-tarfile "$file"_*.deb | tar -x -C "$BENCH/$1" --keep-directory-symlink
	done
	find "$BENCH/$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	echo "$2" | tr ' ' '\n' >"$BENCH/$1.packages"
}

trees() {
	mkdir -p "$BENCH/debs"
	chmod 755 "$BENCH/debs"
	[ -n "$(versions bash)" ] || apt-get -q=2 update
	v1=''
	v2=''
	for package in $same; do
		version=$(versions "$package" | head -n 1)
		v1="$v1 $package=$version" v2="$v2 $package=$version"
	done
	for package in $updated; do
		v1="$v1 $package=$(versions "$package" | tail -n 1)"
		v2="$v2 $package=$(versions "$package" | head -n 1)"
	done
	v1="$v1 $removed=$(versions $removed | head -n 1)"
	v2="$v2 $added=$(versions $added | head -n 1)"
	tree v1 "${v1# }"
	tree v2 "${v2# }"
}

# The same identifiers and times in both releases, as a build system sets them.
image() { # type tree file
	case $1 in
	ext4)
		truncate -s "${BENCH_SIZE}M" "$3" &&
			E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -F -t ext4 -b 4096 -m 0 \
				-U 5a0c8a4e-5c1d-4f0e-9d1b-6d5f0b1a2c3d \
				-E hash_seed=5a0c8a4e-5c1d-4f0e-9d1b-6d5f0b1a2c3d,lazy_itable_init=0 \
				-d "$2" "$3"
		;;
	squashfs-*)
		mksquashfs "$2" "$3" -quiet -no-progress -comp "${1#squashfs-}" -b 128K -all-root &&
			truncate -s %4096 "$3"
		;;
	erofs) erofs "$2" "$3" ;;
	erofs-lz4) erofs "$2" "$3" -zlz4hc ;;
	esac
}

erofs() { # tree file [option]
	mkfs.erofs --quiet -T "$SOURCE_DATE_EPOCH" -U 5a0c8a4e-5c1d-4f0e-9d1b-6d5f0b1a2c3d \
		--all-root ${3:+"$3"} "$2" "$1"
}

# The bytes of files that the new release has and the old one has not, in percent of all.
changed() {
	for release in v1 v2; do
		(cd "$BENCH/$release" && find . -type f -size +0 -exec sha256sum {} + | sort) \
			>"$BENCH/$release.files"
	done
	awk 'FNR == NR { old[$1]; next } !($1 in old) { print $2 }' "$BENCH/v1.files" \
		"$BENCH/v2.files" | (cd "$BENCH/v2" && xargs stat -c %s) |
		awk -v all="$(find "$BENCH/v2" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')" \
			'{ n += $1 } END { printf "%.1f %% of %.0f MB in files\n", 100 * n / all, all / 1e6 }'
}

mkdir -p "$images"
if ! [ -s "$BENCH/changed" ]; then
	say "unpacking packages"
	trees
	changed >"$BENCH/changed.new"
	mv "$BENCH/changed.new" "$BENCH/changed"
fi
for type in ext4 squashfs-zstd squashfs-xz erofs erofs-lz4; do
	for release in v1 v2; do
		file=$images/$release.$type
		[ -s "$file" ] && continue
		say "making $release.$type"
		rm -f "$file.new"
		image $type "$BENCH/$release" "$file.new" >"$BENCH/image.log" 2>&1 || {
			cat "$BENCH/image.log" >&2
			exit 1
		}
		mv "$file.new" "$file"
	done
done
