#!/bin/sh
# What was fetched and flushed is not fetched again: after lost connections, after SIGKILL, after a power
# cut that took the last writes. Bytes are counted at the web server.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || {
	echo "ok - resume # SKIP there is no nginx"
	finish
}
# shellcheck source=tests/cli/lib_http.sh
. "$(dirname "$0")/lib_http.sh"

device 24M
noise 300 16000000 >"$work/image-2"
truncate -s %4096 "$work/image-2"
bundle 2 2.0 "$work/image-2"
cp "$work/2.abide" "$work/www/"
size=$(stat -c %s "$work/2.abide")
is_right() { cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"; }
# Not what is on its way when it ends: buffers of the server, of the line and of the client.
on_its_way=1200000

# ---- killed half-way ----
count_anew
"$ABIDE" -c "$work/system.conf" install "$url/paced/2.abide" >"$work/out" 2>"$work/err" &
installer=$!
sleep 5
kill -KILL "$installer"
wait "$installer" 2>/dev/null || true
sleep 1.5 # until the server has noticed
first=$(sent)
check "a SIGKILL half-way" [ "$first" -lt "$size" ]
cp "$work/rootfs-b" "$work/rootfs-b.killed"
cp "$work/grubenv" "$work/grubenv.killed"
count_anew
expect 0 "the next install" abide install --json "$url/2.abide"
again=$(sent)
kept=$(field in_place)
echo "# $first bytes were sent before the kill, $again after it, of $size; $kept were in place"
check "  something was in place" [ "$kept" -gt 2000000 ]
check "  what was in place was not sent again" [ "$again" -le $((size - kept + on_its_way)) ]
check "  both together are little more than the whole" [ $((again + first)) -lt $((size + 2 * on_its_way)) ]
check "  the image is right" is_right
expect 0 "  verify" abide verify

# ---- a power cut: some of what was written last is lost ----
cp "$work/rootfs-b.killed" "$work/rootfs-b"
cp "$work/grubenv.killed" "$work/grubenv"
lost_blocks=64
dd if=/dev/zero of="$work/rootfs-b" bs=4096 seek=$((kept / 4096 - lost_blocks)) count=$lost_blocks \
	conv=notrunc status=none
count_anew
expect 0 "an install after a power cut" abide install --json "$url/2.abide"
echo "# $(sent) were sent, $(field in_place) were in place"
check "  what was lost was fetched" [ "$(field in_place)" -lt "$kept" ]
check "  and little more" [ "$(field in_place)" -ge $((kept - lost_blocks * 4096 - 300000)) ]
check "  not more was sent" [ "$(sent)" -le $((size - kept + lost_blocks * 4096 + on_its_way)) ]
check "  the image is right" is_right
expect 0 "  verify" abide verify

# ---- a line that breaks every few MiB ----
line=$((http + 3))
"$build/tests/tools/slowlink" "$line" "$http" 8000000 5 150000 11 &
children="$children $!"
sleep 0.3
sed -i 's/^retries.*/retries = 10/' "$work/system.conf"
rm -f "$work/rootfs-b"
truncate -s 24M "$work/rootfs-b"
grubenv A 1 0 0 0
count_anew
expect 0 "over a line that breaks" abide install --json "http://127.0.0.1:$line/2.abide"
breaks=$(grep -c 'connection lost' "$work/out" || true)
echo "# $breaks times lost, $(sent) bytes sent, $(field fetched) came, of $size"
check "  it broke" [ "$breaks" -ge 2 ]
check "  nothing came twice" [ "$(field fetched)" -le $((size + 20000)) ]
check "  nothing was sent twice but what was on its way" [ "$(sent)" -le $((size + (breaks + 1) * on_its_way)) ]
check "  the image is right" is_right
expect 0 "  verify" abide verify
finish
