#!/bin/sh
# A delta from a real web server: what it takes of it, what plan says before, and where the base is
# missing, or the server loses it half-way, the full bundle beside it.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
command -v nginx >/dev/null || {
	ok "deltas over HTTP # SKIP there is no nginx"
	finish
}
device 24M
restore() {
	cp "$work/rootfs-a.ref" "$work/rootfs-a"
	rm -rf "$work/rootfs-b" "$work/state" "$work/run"
	truncate -s 24M "$work/rootfs-b"
	grubenv A 1 0 0 0
}
right() { cmp -s -n "$(stat -c %s "$work/image-$1")" "$work/image-$1" "$work/rootfs-b"; }

# Two releases of 16 MB; the second has 100 bytes changed at each 100 KB, and 2 MB of its own.
noise 7 16000000 >"$work/image-2"
truncate -s %4096 "$work/image-2"
bundle 2 2.0 "$work/image-2"
configure b
grubenv B 0 0 1 0
expect 0 "the base runs in group a" abide install "$work/2.abide"
configure a
grubenv A 1 0 0 0
cp "$work/rootfs-a" "$work/rootfs-a.ref"
cp "$work/image-2" "$work/image-3"
for spot in $(seq 500 1000 159000); do
	noise "$spot" 100 | dd of="$work/image-3" bs=100 seek="$spot" conv=notrunc status=none
done
noise 9 2000000 | dd of="$work/image-3" bs=1000 seek=5000 conv=notrunc status=none
bundle 3 3.0 "$work/image-3"
host_side delta -o "$work/d.abide" --level 3 "$work/2.abide" "$work/3.abide"
bundle 1 1.1 "$work/image-1"
host_side delta -o "$work/other.abide" --level 3 "$work/1.abide" "$work/3.abide"

# shellcheck source=tests/cli/lib_http.sh
. "$(dirname "$0")/lib_http.sh"
mv "$work/3.abide" "$work/d.abide" "$work/other.abide" "$work/www"
size=$(stat -c %s "$work/www/d.abide")
full=$(stat -c %s "$work/www/3.abide")
echo "# the delta has $size bytes, the full bundle $full"
check "the delta is a fifth of the full bundle, or less" [ "$size" -le $((full / 5)) ]

# ---- the base is there ----
count_anew
expect 0 "plan" abide plan --json "$url/d.abide"
planned=$(tail -n 1 "$work/out" | sed -n 's/.*"stored":\([0-9]*\).*/\1/p')
header=$(sent)
check "plan took the header only" [ "$header" -lt $((size - planned + 65536)) ]
count_anew
expect 0 "install" abide install --json "$url/d.abide"
check "from the delta" [ "$(field delta)" = true ]
check "the image is right" right 3
echo "# $(sent) bytes in $(requests) requests, $planned of them planned for chunks"
check "as much as the delta was sent, and no byte more" [ "$(sent)" -le "$size" ]
check "what plan said, and the header" [ "$(sent)" -ge "$planned" ]
check "what it says was read is what was sent" [ "$(field fetched)" = "$(sent)" ]
check "the running group was not written" cmp -s "$work/rootfs-a" "$work/rootfs-a.ref"
expect 0 "verify" abide verify
count_anew
expect 0 "a second time" abide install --json "$url/d.abide"
check "nothing is written" [ "$(field written)" = 0 ]
check "and no chunk is fetched" [ "$(sent)" -lt $((size - planned + 65536)) ]
restore
expect 0 "from a server without ranges" abide install --json "$url/whole/d.abide"
check "the image is right" right 3

# ---- the base is not there ----
restore
expect 4 "a delta for another base" abide install "$url/other.abide"
said "it says which" 'delta for artifact [0-9a-f]{64}, but group a'
check "nothing was written" [ -z "$(tr -d '\0' <"$work/rootfs-b" | head -c 1)" ]
count_anew
expect 0 "with a full bundle to fall back on" \
	abide install --json --fallback "$url/3.abide" "$url/other.abide"
check "that was used" [ "$(field fallback)" = true ]
check "the image is right" right 3
check "what the running group has was not fetched" [ "$(sent)" -lt $((full / 2)) ]
restore
expect 0 "a delta that the server has not" abide install --json --fallback "$url/3.abide" "$url/none.abide"
check "the full bundle was used" [ "$(field fallback)" = true ]
restore
expect 8 "neither of them" abide install --fallback "$url/none.abide" "$url/other.abide"
said "it says which" "fallback '.*none.abide'.*404"

# ---- the base is spoilt, the full bundle beside it ----
restore
noise 5 20 | dd of="$work/rootfs-a" bs=1 seek=9000000 conv=notrunc status=none
expect 0 "a base that is damaged" abide install --json --fallback "$url/3.abide" "$url/d.abide"
check "the full bundle was used" [ "$(field fallback)" = true ]
check "the image is right" right 3

# ---- the delta is cut off on the server ----
restore
head -c $((size * 2 / 3)) "$work/www/d.abide" >"$work/www/cut.abide"
expect 3 "a delta cut short" abide install "$url/cut.abide"
said "it says so" 'truncated'
expect 0 "then the whole one" abide install --json "$url/d.abide"
check "what was right was kept" [ "$(field in_place)" -gt 1000000 ]
check "the image is right" right 3
finish
