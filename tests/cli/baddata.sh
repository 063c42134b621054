#!/bin/sh
# Store and data that nobody signs for: what comes of them is either right or refused.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"

# Group b holds nothing, and a nothing of this image, so that every chunk is fetched.
device 8M
{
	noise 11 300000
	seq 7 100000
	head -c 200000 /dev/zero
	noise 12 150000
} >"$work/image-2"
truncate -s %4096 "$work/image-2"
bundle 2 2.0 "$work/image-2"
remember

# ---- every region, a byte changed: refused, or it did not matter ----
size=$(stat -c %s "$work/2.abide")
spot=7
step=$((size / 60))
while [ "$spot" -lt "$size" ]; do
	cp "$work/2.abide" "$bad"
	flip "$bad" "$spot"
	status=0
	abide install "$bad" >"$work/out" 2>"$work/err" || status=$?
	case $status in
	0) check "byte $spot changed: it did not matter" abide verify ;;
	3) check "byte $spot changed: refused, and a boots" still_boots_a ;;
	*) not_ok "byte $spot changed: exit status $status" ;;
	esac
	restore
	spot=$((spot + step))
done
check "most of it mattered" [ "$(grep -c 'changed: refused' "$work/results")" -gt 40 ]

# ---- the store ----
store() { # what pattern offset [late]: standard input goes there
	open_bundle 2
	put "$parts/rootfs.store" "$3"
	pack
	"${4:-early}" 3 "store: $1" "$2"
}
record() { # encoding length
	le32 "$(($1 << 24 | $2))"
}
open_bundle 2
length0=$(od -An -tu4 -j 24 -N 4 "$parts/rootfs.index" | tr -d ' ')
chunks=$(od -An -tu4 -j 12 -N 4 "$parts/rootfs.store" | tr -d ' ')
printf X | store "another magic" "does not begin with 'ABIDESTO'" 0
le32 9 | store "another format" 'format 9' 8
le32 "$((chunks + 1))" | store "more chunks than the index" "the store has $((chunks + 1)) chunks" 12
record 77 10 | store "an unknown encoding" 'unknown encoding 77' 16
record 2 "$((length0 - 1))" | store "raw, but shorter" 'chunk 0 of' 16
record 3 "$length0" | store "zstd, but no shorter" 'chunk 0 of' 16
record 3 0 | store "zstd of nothing" 'chunk 0 of' 16
record 0 1 | store "zero, but with bytes" 'chunk 0 of' 16
record 0 0 | store "zero, but it is not" 'data|digest differs|bytes' 16 late
record 1 0 | store "the same as an earlier one, but it is the first" 'chunk 0|SAME|same|data|bytes' 16
open_bundle 2
printf X >>"$parts/rootfs.store"
pack
early 3 "store: a byte too much" 'bytes long, [0-9]+ expected'
truncate -s -4 "$parts/rootfs.store"
pack
early 3 "store: too short" 'bytes long|rootfs.store'
open_bundle 2
truncate -s -1 "$parts/rootfs.data"
pack
late 3 "data: a byte too few" 'rootfs.data|bytes'
open_bundle 2
printf X >>"$parts/rootfs.data"
pack
late 3 "data: a byte too much" 'rootfs.data|bytes'
open_bundle 2
size=$(stat -c %s "$parts/rootfs.data")
noise 6 "$size" >"$parts/rootfs.data"
pack
late 3 "data: of something else" 'chunk|zstd'

# ---- zstd: a bundle of one chunk, by hand ----
command -v zstd >/dev/null || {
	echo "ok - zstd frames # SKIP there is no zstd"
	finish
}
text() { # length
	yes 'a line of text' | head -c "$1"
}
text 3000 >"$work/text"
digest16() { # file
	# shellcheck disable=SC2059 # octal escapes
	printf "$(openssl dgst -sha256 -binary "$1" | head -c 16 | od -An -v -to1 | tr -d '\n' | sed 's/ /\\/g')"
}
one_chunk() { # file with the stored bytes, encoding
	open_bundle 2
	{
		printf ABIDEIDX
		le32 1
		le32 1
		le32 3000
		le32 0
		le32 3000
		digest16 "$work/text"
	} >"$parts/rootfs.index"
	{
		printf ABIDESTO
		le32 1
		le32 1
		record "$2" "$(stat -c %s "$1")"
	} >"$parts/rootfs.store"
	cp "$1" "$parts/rootfs.data"
	sed -i '/"class": "rootfs"/,$ {
		0,/"size": [0-9]*/ s//"size": 3000/
		0,/"sha256": "[0-9a-f]*"/ s//"sha256": "'"$(sha256sum <"$work/text" | cut -d' ' -f1)"'"/
	}' "$parts/manifest.json"
	bless_index
	sign
	pack
}
frame() { # what pattern: standard input is what is stored
	cat >"$work/frame"
	one_chunk "$work/frame" 3
	late 3 "zstd: $1" "$2"
}
zstd -q -c "$work/text" >"$work/right"
one_chunk "$work/right" 3
expect 0 "zstd: made by hand, and right" abide install "$bad"
restore
one_chunk "$work/text" 2
expect 0 "raw: made by hand, and right" abide install "$bad"
restore
text 3001 | zstd -q -c | frame "decompresses to more" 'decompress'
text 2999 | zstd -q -c | frame "decompresses to less" 'decompresses to 2999 bytes, expected 3000'
yes 'another line' | head -c 3000 | zstd -q -c | frame "decompresses to something else" 'digest differs'
head -c 20000000 /dev/zero | zstd -q -c | frame "decompresses to 20 MB" 'decompress'
text 100 | frame "no frame at all" 'zstd'
head -c 20 "$work/right" | frame "a frame cut short" 'zstd'
{ text 1500 | zstd -q -c && text 1500 | zstd -q -c; } |
	frame "two frames" 'zstd frame has'
{ cat "$work/right" && printf X; } | frame "a byte behind the frame" 'zstd'
{ printf '\120\052\115\030\004\000\000\000abcd' && cat "$work/right"; } | frame "a frame to skip in front" 'zstd'
finish
