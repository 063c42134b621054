#!/bin/sh
# What the device has is not fetched: bytes counted at a real web server, for a release with 5 % of
# its bytes changed.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
for tool in nginx mksquashfs mke2fs; do
	command -v "$tool" >/dev/null || {
		echo "ok - reuse # SKIP there is no $tool"
		finish
	}
done
# ---- the trees: 40 files of 200 KB, of which 2 differ ----
for release in 1 2; do
	mkdir -p "$work/tree-$release"
	for file in $(seq 40); do
		seed=$file
		if [ "$release" = 2 ] && [ $((file % 20)) = 7 ]; then seed=$((file + 100)); fi
		noise "$seed" 200000 >"$work/tree-$release/file-$file"
		touch -d @1700000000 "$work/tree-$release/file-$file"
	done
	mksquashfs "$work/tree-$release" "$work/squashfs-$release" -noappend -quiet -no-progress \
		-all-root -mkfs-time 1700000000 -all-time 1700000000 >/dev/null
	truncate -s 16M "$work/ext4-$release"
	mke2fs -q -t ext4 -b 4096 -U 5b40b5c9-4f70-4a3c-9d0f-1c8f0d2c7f10 \
		-E hash_seed=5b40b5c9-4f70-4a3c-9d0f-1c8f0d2c7f10,nodiscard \
		-d "$work/tree-$release" "$work/ext4-$release" >/dev/null
done

# shellcheck source=tests/cli/lib_http.sh
. "$(dirname "$0")/lib_http.sh"

image() { cp "$work/$kind-$2" "$1"; }
fresh() {
	rm -f "$work/rootfs-a" "$work/rootfs-b"
	device 20M
}

planned() { # name
	echo "$plan" | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

# ---- a second release ----
for kind in squashfs ext4; do
	fresh
	bundle 2 2.0 "$work/$kind-2"
	cp "$work/2.abide" "$work/www/"
	size=$(stat -c %s "$work/2.abide")
	running=$(slot_print a)
	expect 0 "$kind: plan" abide plan --json "$url/2.abide"
	plan=$(tail -n 1 "$work/out")
	expect 0 "$kind: plan for people" abide plan "$url/2.abide"
	said "$kind: it names the bytes" ' to fetch .* to copy from the running group, .* to write'
	count_anew
	expect 0 "$kind: install" abide install --json "$url/2.abide"
	echo "# $kind: $(sent) of $size bytes in $(requests) requests"
	# The header, and gaps that are not worth a range of their own: up to 2 KiB each.
	header=$(tar -tvf "$work/2.abide" rootfs.index rootfs.store | awk '{ n += $3 } END { print n }')
	check "$kind: as many bytes as planned, and the header" \
		[ "$(sent)" -ge $(($(planned stored) + header)) ]
	check "$kind: and little more" [ "$(sent)" -le $(($(planned stored) + header + 65536)) ]
	check "$kind: less than a fifth was sent" [ "$(sent)" -lt $((size / 5)) ]
	check "$kind: in few requests" [ "$(requests)" -lt 20 ]
	for bytes in fetch running moved in_place repeat zero; do
		check "$kind: $bytes as planned" [ "$(field $bytes)" = "$(planned $bytes)" ]
	done
	# The device may zero by itself what is zero.
	check "$kind: no more was written than planned" [ "$(field written)" -le "$(planned write)" ]
	check "$kind: nor less" [ "$(field written)" -ge $(($(planned write) - $(planned zero))) ]
	check "$kind: what it says was read is what was sent" [ "$(field fetched)" = "$(sent)" ]
	check "$kind: most came from the running group" [ "$(field running)" -gt $((size / 2)) ]
	check "$kind: the image is right" cmp -s -n "$(stat -c %s "$work/$kind-2")" "$work/$kind-2" "$work/rootfs-b"
	check "$kind: the running group was not written" [ "$(slot_print a)" = "$running" ]
	expect 0 "$kind: verify" abide verify
done

# ---- a server without ranges: one stream ----
fresh
count_anew
expect 0 "without ranges" abide install "$url/whole/2.abide"
said "it says so" 'takes no ranges'
check "in one request" [ "$(requests)" = 1 ]
expect 0 "it is right" abide verify
finish
