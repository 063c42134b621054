#!/bin/sh
# Bundles that are wrong: each is refused with its exit status, named, and without harm.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"

device 8M
image "$work/image-2" 2
image "$work/image-3" 3
bundle 2 2.0 "$work/image-2"
bundle 3 3.0 "$work/image-3" --hardware rev-b
abide install "$work/2.abide" >/dev/null # so that b has something to lose
abide activate a >/dev/null
remember

# ---- by hand, but right ----
open_bundle 3
sign
pack
expect 0 "a bundle signed with the openssl command is accepted" abide install "$bad"
restore

# ---- not a bundle ----
bad_file() { # what pattern: standard input is the file
	cat >"$bad"
	early 3 "$1" "$2"
}
bad_file "an empty file" 'not a bundle' </dev/null
echo 'hello' | bad_file "a line of text" 'not a bundle'
noise 5 100000 | bad_file "noise" 'not a bundle'
head -c 20000 /dev/zero | bad_file "zeros" 'manifest.json. is missing'
gzip -c "$work/3.abide" | bad_file "a compressed bundle" 'not a bundle'
mv "$bad" "$work/gone"
early 1 "a file that is not there" 'No such file'
mkdir "$bad"
early 1 "a directory" 'directory'
rmdir "$bad"

# ---- truncated: at each boundary, in each header, in each member ----
open_bundle 3
pack
mv "$bad" "$work/whole"
at=0
for member in $members; do
	size=$(stat -c %s "$parts/$member")
	for cut in "$at" "$((at + 100))" "$((at + 512))" "$((at + 512 + size / 2))"; do
		head -c "$cut" "$work/whole" >"$bad"
		case $member in
		*.data) late 3 "cut off at $cut, near $member" 'truncated|not a bundle' ;;
		*) early 3 "cut off at $cut, near $member" 'truncated|not a bundle' ;;
		esac
	done
	at=$((at + 512 + (size + 511) / 512 * 512))
done

# ---- members ----
pack manifest.p7s rootfs.index rootfs.store rootfs.data
early 3 "no manifest" manifest.json
pack manifest.json rootfs.index rootfs.store rootfs.data
early 3 "no signature" manifest.p7s
pack manifest.json manifest.p7s rootfs.store rootfs.data
early 3 "no index" 'rootfs.index|CLASS.index'
pack manifest.json manifest.p7s rootfs.index rootfs.data
early 3 "no store" store
pack manifest.json manifest.p7s rootfs.index rootfs.store
late 3 "no data" data
pack manifest.json manifest.json manifest.p7s rootfs.index rootfs.store rootfs.data
early 3 "the manifest twice" 'manifest.json. is there twice'
pack manifest.json manifest.p7s rootfs.index rootfs.index rootfs.store rootfs.data
early 3 "the index twice" "rootfs.index. is there twice"
pack manifest.p7s manifest.json rootfs.index rootfs.store rootfs.data
early 3 "out of order" manifest.json
pack manifest.json manifest.p7s rootfs.index rootfs.data rootfs.store
early 3 "data before the store" 'rootfs.data'
echo hello >"$parts/README"
pack README manifest.json manifest.p7s rootfs.index rootfs.store rootfs.data
early 3 "an unknown member in front" README
pack manifest.json manifest.p7s rootfs.index rootfs.store rootfs.data README
late 3 "an unknown member behind" README
pack manifest.json manifest.p7s README rootfs.index rootfs.store rootfs.data
early 3 "an unknown member between" README
cp "$parts/rootfs.index" "$parts/boot.index"
pack manifest.json manifest.p7s boot.index rootfs.index rootfs.store rootfs.data
early 3 "an index of another class" 'boot.index'
mv "$parts/manifest.json" "$parts/real"
ln -s /etc/passwd "$parts/manifest.json"
pack
early 3 "a symbolic link" 'regular'
rm "$parts/manifest.json"
mkdir "$parts/manifest.json"
pack
early 3 "a directory as a member" 'regular|manifest.json'

# ---- the manifest ----
manifest() { # what pattern sed-expression
	open_bundle 3
	LC_ALL=C sed -i "$3" "$parts/manifest.json"
	sign
	pack
	early 3 "manifest: $1" "$2"
}
manifest "unknown key" 'color' 's/"format"/"color": "red", "format"/'
manifest "duplicate key" 'duplicate|twice' 's/"format"/"version": "9", "format"/'
manifest "no version" 'version' '/"version"/d'
manifest "not UTF-8" 'UTF-8' 's/"version": "3.0"/"version": "3\xff0"/'
manifest "a control character" 'version' 's/"version": "3.0"/"version": "3\\u001b0"/'
manifest "a name too long" 'version' "s/\"version\": \"3.0\"/\"version\": \"$(printf '%065d' 3)\"/"
manifest "a negative number" 'security_version' 's/"security_version": 1/"security_version": -1/'
manifest "a fraction" 'security_version' 's/"security_version": 1/"security_version": 1.5/'
manifest "an exponent" 'security_version' 's/"security_version": 1/"security_version": 1e3/'
manifest "a number past 2^53" 'security_version' \
	's/"security_version": 1/"security_version": 9007199254740993/'
manifest "a number past 2^64" 'security_version|number|integer' \
	's/"security_version": 1/"security_version": 99999999999999999999999/'
manifest "a number as text" 'security_version' 's/"security_version": 1/"security_version": "1"/'
manifest "another format" 'format' 's/"format": 1/"format": 2/'
manifest "a digest too short" 'sha256' 's/"sha256": "../"sha256": "/'
manifest "a digest in capitals" 'sha256' 's/\("sha256": ".*\)[a-f]/\1F/'
manifest "a class that is none" 'class' 's/"class": "rootfs"/"class": "..\/etc"/'
manifest "an image of no bytes" 'size' '/"class"/,$ s/"size": [0-9]*/"size": 0/'
manifest "a day that is none" 'created' 's/"created": "[^"]*"/"created": "2026-02-30T00:00:00Z"/'
manifest "no images" 'images' '/"images"/,/^  \]/ c "images": []'
manifest "not JSON" 'manifest' '$ s/}/]/'
manifest "something behind it" 'manifest' '$ s/}/} {}/'
manifest "the sha256 of another index" "rootfs.index. is not the one" \
	'/"index"/,/}/ s/"sha256": "[0-9a-f]*"/"sha256": "'"$(printf '%064d' 0)"'"/'
manifest "an index of another length" 'rootfs.index' \
	'/"index"/,/}/ s/"size": [0-9]*/"size": 100/'
open_bundle 3
head -c 70000 /dev/zero | tr '\0' ' ' >>"$parts/manifest.json"
sign
pack
early 3 "manifest: longer than 64 KiB" 'manifest.json. has [0-9]+ bytes'
: >"$parts/manifest.json"
sign
pack
early 3 "manifest: empty" 'manifest.json'
printf '{}' >"$parts/manifest.json"
sign
pack
early 3 "manifest: an empty object" 'manifest: '

# ---- the index: signed, but wrong ----
index() { # what pattern offset: standard input goes there
	open_bundle 3
	put "$parts/rootfs.index" "$3"
	bless_index
	sign
	pack
	early 3 "index: $1" "$2"
}
open_bundle 3
length0=$(od -An -tu4 -j 24 -N 4 "$parts/rootfs.index" | tr -d ' ')
chunks=$(od -An -tu4 -j 12 -N 4 "$parts/rootfs.index" | tr -d ' ')
printf X | index "another magic" "does not begin with 'ABIDEIDX'" 0
le32 7 | index "another format" 'format 7' 8
le32 "$((chunks + 1))" | index "one chunk more than it has" 'cut short' 12
le32 "$((chunks - 1))" | index "one chunk less than it has" 'follow the last' 12
le32 4294967295 | index "an absurd number of chunks" 'at most' 12
le32 0 | index "no chunks" 'no chunks' 12
le32 12345 | index "another image's length" 'manifest says' 16
le32 "$((length0 + 1))" | index "lengths that add up to more" 'ends past|add up' 24
le32 "$((length0 - 1))" | index "lengths that add up to less" 'add up' 24
le32 0 | index "a chunk of nothing" 'is empty' 24
le32 4294967295 | index "a chunk that overflows" 'at most' 24
open_bundle 3
printf X >>"$parts/rootfs.index"
bless_index
sign
pack
early 3 "index: a byte behind it" 'follow the last'
printf X >"$parts/rootfs.index"
bless_index
sign
pack
early 3 "index: one byte" 'a size of 1, an index has'
open_bundle 3
flip "$parts/rootfs.index" 30
pack
early 3 "index: a byte changed after signing" "rootfs.index. is not the one"
open_bundle 3
le32 99 | put "$parts/rootfs.index" 28 # the first chunk's digest: signed, and wrong all the same
bless_index
sign
pack
late 3 "index: signs for another chunk" 'digest differs'

# ---- policy ----
sed -i 's/^hardware = .*/hardware = rev-z/' "$work/system.conf"
cp "$work/3.abide" "$bad"
early 4 "other hardware" "hardware 'rev-b', this device is 'rev-z'"
early 4 "other hardware, by force" "hardware 'rev-b', this device is 'rev-z'" --force
sed -i 's/^hardware = .*/hardware = rev-b/' "$work/system.conf"
sed -i 's/^compatible = .*/compatible = other-device/' "$work/system.conf"
early 4 "another compatible" "for 'test-device', this device is 'other-device'"
early 4 "another compatible, by force" "for 'test-device', this device is 'other-device'" --force
sed -i 's/^compatible = .*/compatible = test-device/' "$work/system.conf"
security_version=0 bundle old 0.1 "$work/image-3"
security_version=''
cp "$work/old.abide" "$bad"
early 4 "security_version below the floor" 'security_version is 0, .* floor is 1'
early 4 "security_version below the floor, by force" 'security_version is 0, .* floor is 1' --force
noise 3 8380000 >"$work/image-big"
truncate -s %4096 "$work/image-big"
bundle big 3.0 "$work/image-big"
cp "$work/big.abide" "$bad"
early 5 "an image larger than the slot" "slot 'rootfs.b' has 8388608 bytes, .* bytes short"
bundle two 3.0 "$work/image-3" --image "app=$work/image-1"
cp "$work/two.abide" "$bad"
early 4 "an image without a slot" "an image 'app'"
cp "$work/system.conf" "$work/saved.conf"
truncate -s 8M "$work/app-a" "$work/app-b"
printf '[slot app.a]\ndevice = %s/app-a\n[slot app.b]\ndevice = %s/app-b\n' "$work" "$work" \
	>>"$work/system.conf"
cp "$work/3.abide" "$bad"
expect 4 "a slot without an image" abide install "$bad"
said "  is told" "no image for slot 'app\.b'"
cp "$work/saved.conf" "$work/system.conf"
mv "$work/rootfs-b" "$work/moved"
expect 1 "a slot without a device" abide install "$bad"
said "  is told" "slot 'rootfs.b'.*rootfs-b.*No such file"
mv "$work/moved" "$work/rootfs-b"
check "  nothing was written" untouched
finish
