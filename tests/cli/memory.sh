#!/bin/sh
# shellcheck disable=SC2016 # sh -c expands them
# memory: installing 2 GiB takes no more than installing little: under 16 MiB plus the index, for the
# installer and for its carrier, from a file, from standard input, and for a delta.

# In memory where there is plenty of it: the disk would take most of the time.
shared=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)
free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
if [ "${shared:-0}" -gt 8000000 ] && [ "${free:-0}" -gt 12000000 ]; then
	TMPDIR=/dev/shm
	export TMPDIR
fi

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

case $build in
*asan*)
	ok "memory is measured without sanitizers # SKIP"
	finish
	;;
esac

device 2200M
# Eight times the same quarter of a gigabyte: as many chunks as 2 GiB of anything else, in a bundle
# that is made quickly.
noise 7 268435456 >"$work/quarter"
for _ in 1 2 3 4 5 6 7 8; do cat "$work/quarter"; done >"$work/large"
rm "$work/quarter"
bundle large 2.0 "$work/large"
index=$(tar -tvf "$work/large.abide" rootfs.index | awk '{ print $3 }')
limit=$((16 * 1024 + index / 1024))

expect 0 "2 GiB install from a file" "$build/tests/tools/peak" "$work/peak" \
	"$ABIDE" -c "$work/system.conf" install "$work/large.abide"
echo "# peak $(cat "$work/peak") KiB, index $((index / 1024)) KiB, limit $limit KiB"
check "under 16 MiB plus the index" [ "$(cat "$work/peak")" -le "$limit" ]
check "the slot holds the image" cmp -n 2147483648 "$work/large" "$work/rootfs-b"

expect 0 "the flip is taken back" abide activate a
truncate -s 0 "$work/rootfs-b"
truncate -s 2200M "$work/rootfs-b"
expect 0 "2 GiB stream in from standard input" sh -c \
	'exec "$1" "$2" "$3" -c "$4" install - <"$5"' - "$build/tests/tools/peak" "$work/peak" \
	"$ABIDE" "$work/system.conf" "$work/large.abide"
echo "# peak $(cat "$work/peak") KiB, limit $limit KiB"
check "under 16 MiB plus the index, too" [ "$(cat "$work/peak")" -le "$limit" ]

# A delta: many patches, and the base's index beside the new one's. Group b's release is its base.
sed -i 's/^booted = .*/booted = b/' "$work/system.conf"
grubenv B 0 0 1 0
rm -f "$work/rootfs-a"
truncate -s 2200M "$work/rootfs-a"
for spot in $(seq 100000 20000000 2140000000); do
	noise "$spot" 100 | dd of="$work/large" bs=100 seek=$((spot / 100)) conv=notrunc status=none
done
mv "$work/large.abide" "$work/base.abide"
bundle large 3.0 "$work/large"
host_side delta -o "$work/delta.abide" --level 3 "$work/base.abide" "$work/large.abide"
rm "$work/base.abide" "$work/large.abide"
index=$(tar -tvf "$work/delta.abide" rootfs.index | awk '{ print $3 }')
limit=$((16 * 1024 + 2 * index / 1024))
expect 0 "a delta for 2 GiB" "$build/tests/tools/peak" "$work/peak" \
	"$ABIDE" -c "$work/system.conf" install "$work/delta.abide"
echo "# peak $(cat "$work/peak") KiB, delta $(stat -c %s "$work/delta.abide") bytes, limit $limit KiB"
check "under 16 MiB plus both indexes" [ "$(cat "$work/peak")" -le "$limit" ]
check "the slot holds the image" cmp -n 2147483648 "$work/large" "$work/rootfs-a"
finish
