# lib_bad.sh - for sourcing after lib.sh: bundles that somebody spoiled, and what must not happen.
#
#	open_bundle NAME            $work/parts/ has its members, $members their order
#	(change a part)
#	sign; pack                  $work/bad.abide
#	early 3 "what" 'message'    refused before a byte of a slot or the bootloader's state changed
#	late 3 "what" 'message'     refused after writing began: the other group does not boot
# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh sets them

parts=$work/parts
bad=$work/bad.abide

# What must not change.
remember() {
	for file in rootfs-a rootfs-b grubenv; do cp "$work/$file" "$work/$file.ref"; done
}

restore() {
	for file in rootfs-a rootfs-b grubenv; do cp "$work/$file.ref" "$work/$file"; done
	rm -f "$work/grubenv.spare"
}

untouched() {
	for file in rootfs-a rootfs-b grubenv; do
		cmp -s "$work/$file" "$work/$file.ref" || return 1
	done
	"$ABIDE" -c "$work/system.conf" status >/dev/null
}

early() { # status what pattern [option]...
	early_status=$1 early_what=$2 early_pattern=$3
	shift 3
	expect "$early_status" "$early_what" abide install "$@" "$bad"
	said "  is told" "^abide: install '$bad': .*($early_pattern)"
	check "  nothing was written" untouched
	untouched || restore
}

still_boots_a() {
	cmp -s "$work/rootfs-a" "$work/rootfs-a.ref" && [ "$(variable A_OK)" = 1 ] &&
		[ "$(variable ORDER | cut -c1)" = A ] && [ "$(variable B_OK)" != 1 ] &&
		[ "$(variable B_TRY)" = 0 ] && abide verify >"$work/verify" &&
		abide status >"$work/status" && grep -q '^boots next  group a$' "$work/status"
}

late() { # status what pattern
	expect "$1" "$2" abide install "$bad"
	said "  is told" "^abide: install '$bad': .*($3)"
	said "  and what the groups are now" 'group a is untouched and boots next; group b does not boot'
	check "  a boots, and what is sealed is what was signed" still_boots_a
	restore
}

open_bundle() { # name
	rm -rf "$parts"
	mkdir "$parts"
	members=$(tar tf "$work/$1.abide")
	tar xf "$work/$1.abide" -C "$parts"
}

pack() { # [member]...: else all, in order
	# shellcheck disable=SC2086 # words
	[ $# -gt 0 ] || set -- $members
	tar cf "$bad" --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=644 \
		--hard-dereference -C "$parts" "$@"
}

# As anybody with a key can, without abide-image.
sign() {
	openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
		-signer "$work/pki/signer.pem" -inkey "$work/pki/signer.key" -md sha256
}

# The manifest says what the index is.
bless_index() {
	index_sha=$(sha256sum <"$parts/rootfs.index" | cut -d' ' -f1)
	index_size=$(stat -c %s "$parts/rootfs.index")
	sed -i '/"index"/,/}/ {
		s/"size": *[0-9]*/"size": '"$index_size"'/
		s/"sha256": *"[0-9a-f]*"/"sha256": "'"$index_sha"'"/
	}' "$parts/manifest.json"
}

le32() { # number: four bytes on standard output
	for shift in 0 8 16 24; do
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\$(printf '%03o' "$(($1 >> shift & 255))")"
	done
}

put() { # file offset: standard input goes there
	dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Another value for one byte.
flip() { # file offset
	flip_old=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf '%03o' "$((flip_old ^ 85))")" | put "$1" "$2"
}
