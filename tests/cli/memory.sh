#!/bin/sh
# shellcheck disable=SC2016 # sh -c expands them
# memory: installing 2 GiB takes no more than installing little: under 16 MiB plus the index, for the
# installer and for its carrier, from a file and from standard input.

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
finish
