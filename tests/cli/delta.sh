#!/bin/sh
# Deltas: what they hold, that they install where their base runs and nowhere else, that nothing a
# bad one says is believed, and what --fallback does.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"

delta() { # name old new [option]...
	delta_name=$1 delta_old=$2 delta_new=$3
	shift 3
	host_side delta -o "$work/$delta_name.abide" "$@" "$work/$delta_old.abide" "$work/$delta_new.abide"
}
artifact() { # name
	sha256sum <"$parts/manifest.json" | cut -d' ' -f1
}
size() { # name
	stat -c %s "$work/$1.abide"
}
less() { # name percent: of its full bundle
	[ "$(size "$1")" -lt $(($(size 2) * $2 / 100)) ]
}

device 8M
# Release 2: bytes changed here and there, some inserted, some new.
{
	head -c 300000 "$work/image-1"
	seq 1000
	tail -c +300001 "$work/image-1" | head -c 3600000
	noise 50 30000
	tail -c +3900001 "$work/image-1"
} >"$work/image-2"
truncate -s %4096 "$work/image-2"
for spot in 5000 905000 905100 925300 945000 1200000 2500000; do flip "$work/image-2" $spot; done
bundle 2 2.0 "$work/image-2"
cp "$work/image-1" "$work/image-3"
flip "$work/image-3" 70000
bundle 3 3.0 "$work/image-3"
open_bundle 1
id1=$(artifact)
open_bundle 2
id2=$(artifact)
open_bundle 3
id3=$(artifact)

# ---- making one ----
delta d 1 2
check "a tenth of the full bundle" less d 10
check "the same artifact" grep -q "artifact $id2" "$work/host.log"
check "and its base" grep -q "delta for artifact $id1" "$work/host.log"
open_bundle d
for part in manifest.json manifest.p7s rootfs.index; do
	tar xOf "$work/2.abide" "$part" >"$work/part"
	check "$part is taken over as it is" cmp -s "$work/part" "$parts/$part"
done
delta again 1 2 --threads 2
check "the same bytes with more threads" cmp -s "$work/d.abide" "$work/again.abide"
expect 0 "inspect" "$ABIDE_IMAGE" inspect "$work/d.abide"
said "it names the base" "^delta for +$id1"
said "and what is in the base" '^  base +[0-9]+ chunks, [0-9]+ bytes in 0$'
said "and what is patched" '^  patch +[1-9][0-9]* chunks, [0-9]+ bytes in [0-9]+$'
expect 0 "inspect --json" "$ABIDE_IMAGE" inspect --json "$work/d.abide"
said "it names the base, too" "\"base\": \"$id1\""
mkdir "$work/out.d"
expect 4 "extract a delta" "$ABIDE_IMAGE" extract "$work/d.abide" "$work/out.d" --trust "$work/pki/root.pem"
said "it says what is needed" "is a delta for artifact $id1 .*take the full bundle"
check "and leaves nothing" [ -z "$(ls "$work/out.d")" ]
expect 4 "a delta of a delta" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/1.abide" "$work/d.abide"
said "is refused" "d.abide' is a delta itself"
expect 4 "a delta on a delta" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/d.abide" "$work/2.abide"
said "is refused, too" "d.abide' is a delta itself"
check "and none is made" [ ! -e "$work/x.abide" ]
host_side bundle -o "$work/other.abide" --key "$work/pki/signer.key" --cert "$work/pki/signer.pem" \
	--compatible other-device --version 1 --level 1 --image "rootfs=$work/image-1"
expect 4 "for another device" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/other.abide" "$work/2.abide"
said "says so" "for 'other-device' and .* for 'test-device'"
expect 2 "one bundle only" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/2.abide"
expect 2 "no output" "$ABIDE_IMAGE" delta "$work/1.abide" "$work/2.abide"
expect 2 "a level that is none" "$ABIDE_IMAGE" delta --level 23 -o "$work/x.abide" "$work/1.abide" "$work/2.abide"
expect 1 "no such base" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/none.abide" "$work/2.abide"
head -c 100000 "$work/1.abide" >"$work/cut.abide"
expect 3 "a base cut short" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/cut.abide" "$work/2.abide"
expect 3 "a bundle cut short" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/1.abide" "$work/cut.abide"
cp "$work/1.abide" "$work/bad1.abide"
flip "$work/bad1.abide" $(($(size 1) / 2))
expect 3 "a base with a wrong byte" "$ABIDE_IMAGE" delta -o "$work/x.abide" "$work/bad1.abide" "$work/2.abide"
delta same 2 2
check "of a release to itself: nearly nothing" [ "$(size same)" -lt $(($(stat -c %s "$parts/rootfs.index") * 2 + 20000)) ]
noise 90 3000000 >"$work/image-4"
truncate -s %4096 "$work/image-4"
bundle 4 4.0 "$work/image-4"
delta nothing 1 4
check "of two that share nothing: no more than the full one and 1 %" \
	[ "$(size nothing)" -le $(($(size 4) * 101 / 100)) ]
host_side bundle -o "$work/two.abide" --key "$work/pki/signer.key" --cert "$work/pki/signer.pem" \
	--compatible test-device --version 5 --level 1 --image "rootfs=$work/image-2" \
	--image "app=$work/image-3"
delta added 1 two
check "a class that the base has not" grep -q '  app: ' "$work/host.log"
delta gone two 2
check "a class that is gone" grep -q '  rootfs: ' "$work/host.log"

# ---- installing it ----
remember
expect 0 "plan" abide plan "$work/d.abide"
said "the base is a check" 'ok +base +a delta for artifact [0-9a-f]{12}.*runs in group a'
check "and nothing changed" untouched
expect 0 "info" abide info "$work/d.abide"
said "says what it is for" "^delta for +$id1"
expect 0 "install" abide install --json "$work/d.abide"
check "from the delta" [ "$(field delta)" = true ]
check "little was read" [ "$(field fetched)" -lt $(($(size d) + 10000)) ]
check "the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
check "the running group was not written" cmp -s "$work/rootfs-a" "$work/rootfs-a.ref"
expect 0 "verify" abide verify
expect 0 "a second time" abide install "$work/d.abide"
said "there is nothing to do" 'is in group b and activated already'
said "no byte is written" '^  0 bytes written'
reboot_device
expect 0 "confirmed" abide confirm
expect 0 "the delta, where its artifact runs already" abide install "$work/same.abide"
said "nothing to do" 'runs already, in group b: nothing to do'
configure a
restore
# shellcheck disable=SC2016 # sh -c expands them
expect 0 "from standard input" sh -c '"$1" -c "$2" install - <"$3"' - "$ABIDE" "$work/system.conf" "$work/d.abide"
expect 0 "verify" abide verify
restore

# ---- cut off: what is right stays, the base is in the running group only ----
head -c $(($(size d) - 20000)) "$work/d.abide" >"$bad"
late 3 "a delta cut short" 'truncated|cut|ends|bytes|unexpected'
abide install "$bad" >/dev/null 2>&1 || true
expect 0 "and again, whole" abide install --json "$work/d.abide"
check "what was right was not written again" [ "$(field in_place)" -gt 500000 ]
check "the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
restore

# ---- no base ----
delta d32 3 2
cp "$work/d32.abide" "$bad"
early 4 "a delta for another base" "delta for artifact $id3, but group a runs $(echo "$id1" | cut -c1-12)"
expect 4 "plan says it before" abide plan "$work/d32.abide"
said "as a check" "^  NOT +base +a delta for artifact $id3"
expect 0 "with a fallback" abide install --fallback "$work/2.abide" "$work/d32.abide"
said "it is told why" 'installing from .*2.abide.* instead'
said "and which was used" 'from the fallback'
check "the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
check "the journal has it" grep -q '"event":"fallback".*delta for artifact' "$work/state/journal.jsonl"
restore
expect 0 "where the delta needs none" abide install --json --fallback "$work/2.abide" "$work/d.abide"
check "it is not used" [ "$(field fallback)" = false ]
restore
early 4 "a fallback that is another artifact" "fallback .*it is artifact $id3, not $id2" --fallback "$work/3.abide"
early 1 "a fallback that is not there" "fallback '$work/none.abide'" --fallback "$work/none.abide"
early 4 "a fallback that is a delta without a base" "fallback .*delta for artifact $id3" --fallback "$work/d32.abide"
expect 2 "a fallback from standard input" abide install --fallback - "$work/d.abide"
expect 2 "--fallback without a source" abide install "$work/d.abide" --fallback
expect 0 "the delta is not there" abide install --json --fallback "$work/2.abide" "$work/none.abide"
check "the fallback is used" [ "$(field fallback)" = true ]
restore
printf X >"$bad"
early 3 "what nobody signed for is not passed over" 'truncated|tar|archive|end' --fallback "$work/2.abide"

# ---- a base that is not what it was ----
for spot in 2700000 905050; do
	flip "$work/rootfs-a" $spot
	cp "$work/rootfs-a" "$work/rootfs-a.spoilt"
	expect 9 "the base is damaged at $spot" abide install "$work/d.abide"
	said "it says so" "base.*(not what its seal says|has not, or not any more)"
	said "and what is needed" 'a full bundle is needed'
	expect 0 "with a fallback" abide install --json --fallback "$work/2.abide" "$work/d.abide"
	check "it goes on with that" [ "$(field fallback)" = true ]
	check "and what is right stays" [ "$(field in_place)" -gt 100000 ]
	check "the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
	check "the base was not written" cmp -s "$work/rootfs-a" "$work/rootfs-a.spoilt"
	restore
done

# ---- store and data are not signed ----
spot=7
step=$(($(size d) / 40))
while [ "$spot" -lt "$(size d)" ]; do
	cp "$work/d.abide" "$bad"
	flip "$bad" "$spot"
	status=0
	abide install "$bad" >"$work/out" 2>"$work/err" || status=$?
	case $status in
	0) check "byte $spot changed: it did not matter" abide verify ;;
	3 | 4 | 9) check "byte $spot changed: refused, and a boots" still_boots_a ;;
	*) not_ok "byte $spot changed: exit status $status" ;;
	esac
	restore
	spot=$((spot + step))
done
record() { # number encoding length: of the store
	le32 "$(($2 << 24 | $3))" | put "$parts/rootfs.store" $((48 + 4 * $1))
}
first_patch() { # sets $first and $length
	first=0
	while [ "$(od -An -tu1 -j $((51 + 4 * first)) -N 1 "$parts/rootfs.store" | tr -d ' ')" != 5 ]; do
		first=$((first + 1))
	done
	length=$(($(od -An -tu4 -j $((48 + 4 * first)) -N 4 "$parts/rootfs.store" | tr -d ' ') & 16777215))
}
spoil() { # when status what message: standard input goes into the first patch at $4
	cat >"$work/bytes"
	put "$parts/rootfs.data" "$4" <"$work/bytes"
	pack
	late "$1" "patch: $2" "$3"
	open_bundle d
}
open_bundle d
first_patch
check "the first chunk that is stored begins a patch" [ "$length" -gt 0 ]
head -c 32 /dev/zero | put "$parts/rootfs.store" 16
pack
early 3 "no base is named" 'names no base'
open_bundle d
flip "$parts/rootfs.store" 20
pack
early 4 "another base is named" 'delta for artifact [0-9a-f]{64}, but group a'
open_bundle d
record "$first" 5 0
pack
early 3 "a patch that nothing begins" "chunk $first of"
open_bundle d
record "$first" 5 16777215
pack
early 3 "a patch longer than its chunks" 'patch has|chunk [0-9]+ of'
open_bundle d
record "$first" 4 1
pack
early 3 "a chunk of the base with bytes" "chunk $first of"
open_bundle d
record "$first" 9 0
pack
early 3 "an unknown encoding" 'unknown encoding 9'
open_bundle d
printf '\377\377' | spoil 3 "65535 runs" '65535 runs of the base' 0
printf '\001\001' | spoil 3 "257 runs" '257 runs of the base' 0
printf '\000\000' | spoil 3 "no base at all" 'zstd|patch|digest' 0
le32 100000 | spoil 3 "a run outside of the base" 'chunks from 100000 on of its base, which has' 2
le32 4294967295 | spoil 3 "a run past all numbers" 'are no run' 2
printf '\000\000' | spoil 3 "a run of nothing" 'are no run' 6
printf '\377\377' | spoil 3 "a run past the end of the base" 'chunks from [0-9]+ on of its base, which has' 6
open_bundle d
le32 0 | put "$parts/rootfs.data" 2
printf '\226\000' | spoil 3 "a run of more than fits" 'bytes of its base in one patch, at most' 6
finish
