#!/bin/sh
# bytes.sh - what an update from v1 to v2 fetches, by nginx's log, for each type of image: abide, on a
# device that runs v1 in group a and has nothing in b. Each bundle is whole: no server-side work for
# a pair of versions.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

# v1 gets into group a the way any release does: b plays the running group for it.
device_with_v1() { # image-type
	size=$(($(stat -c %s "$images/v1.$1") / 1048576 + 34))
	rm -f "$ram/a" "$ram/b"
	truncate -s "${size}M" "$ram/a" "$ram/b"
	abide_device "$scratch" "$ram/a" "$ram/b" b
	abide -c "$scratch/system.conf" install "$bundles/v1.$1.abide" >"$scratch/log" 2>&1
	abide_device "$scratch" "$ram/a" "$ram/b" a
}

fetched() { # name image-type url
	count_sent
	measured "$1" tmpfs "$2" abide -c "$scratch/system.conf" install "$3"
	cmp -n "$(stat -c %s "$images/v2.$2")" "$images/v2.$2" "$ram/b"
	count_sent
	printf '%s\tfetched\t%s\t%s\t%s\t%s\n' "$1" "$2" "$sent" "$requests" \
		"$(stat -c %s "$bundles/v2.$2.abide")" >>"$results.new"
}

# Made for this pair of versions, where abide-image can.
static_delta() { # image-type
	abide-image delta --help >/dev/null 2>&1 || return 0
	measured "making a delta" tmpfs "$1" abide-image delta "$bundles/v1.$1.abide" \
		"$bundles/v2.$1.abide" -o "$ram/delta.abide"
	cp "$ram/delta.abide" "$scratch/www/"
	device_with_v1 "$1"
	fetched "abide, static delta" "$1" "http://127.0.0.1:$port/delta.abide"
}

# Over the whole image, in as much memory as it takes: what a delta could be.
xdelta() { # image-type
	command -v xdelta3 >/dev/null || return 0
	measured "xdelta3 -9" tmpfs "$1" xdelta3 -f -9 -S djw -B "$((BENCH_SIZE * 1048576))" -e \
		-s "$images/v1.$1" "$images/v2.$1" "$ram/xdelta"
	measured "xdelta3 -d" tmpfs "$1" xdelta3 -f -d -B "$((BENCH_SIZE * 1048576))" -s "$images/v1.$1" \
		"$ram/xdelta" "$ram/applied"
	rm "$ram/applied"
	printf 'xdelta3 -9\tfetched\t%s\t%s\t1\t%s\n' "$1" "$(stat -c %s "$ram/xdelta")" \
		"$(stat -c %s "$bundles/v2.$1.abide")" >>"$results.new"
}

make_scratch
mount_ram
mkdir "$scratch/www"
for bundle in "$bundles"/v2.*.abide; do ln -s "$bundle" "$scratch/www/"; done
serve "$scratch/www"
start_results
for type in ext4 squashfs-zstd squashfs-xz erofs erofs-lz4; do
	say "bytes from v1 to v2, $type"
	device_with_v1 $type
	fetched "abide" $type "http://127.0.0.1:$port/v2.$type.abide"
	static_delta $type
	case $type in ext4 | squashfs-zstd | erofs) xdelta $type ;; esac
done
finish_results
