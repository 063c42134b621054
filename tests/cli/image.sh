#!/bin/sh
# abide-image: keys, bundle, inspect, extract, sign, as a person calls them; openssl and tar agree.
# shellcheck disable=SC2016 # sh -c expands it
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

tool() {
	"$ABIDE_IMAGE" "$@"
}

# Nothing but what is named is in a directory.
only() { # directory name...
	only_dir=$1
	shift
	[ "$(cd "$only_dir" && find . -mindepth 1 | sort | tr '\n' ' ')" = \
		"$(for name in "$@"; do echo "./$name"; done | sort | tr '\n' ' ')" ]
}

differ() {
	! cmp -s "$1" "$2"
}

# ---- help and usage ----
expect 0 "--help" tool --help
for command in keys bundle inspect extract sign; do
	said "--help has $command" "^  $command "
done
for command in keys bundle inspect extract sign; do
	expect 0 "$command --help" tool "$command" --help
	said "it is about $command" "^usage: abide-image $command"
	expect 2 "$command with an unknown option" tool "$command" --frobnicate
	said "it is named" "'--frobnicate'"
	said "it says where to read on" "try 'abide-image $command --help'"
	expect 2 "$command without arguments" tool "$command"
done
expect 0 "--version" tool --version
said "the version" "^abide-image $(cat "$top/updater/VERSION")\$"
expect 2 "no command" tool
expect 2 "an unknown command" tool frobnicate
said "is named" "'frobnicate'"
expect 2 "an option before the command" tool --json inspect
expect 2 "options are not shortened" tool inspect --js x
said "the whole name is said" "'--json'"
expect 1 "output that cannot be written" sh -c '"$0" --help >/dev/full' "$ABIDE_IMAGE"

# ---- keys ----
umask 022
expect 0 "keys" tool keys "$work/keys"
said "they are for development" "THESE KEYS ARE FOR DEVELOPMENT"
check "four files" only "$work/keys" root.key root.pem signer.key signer.pem
check "keys are private" test "$(stat -c %a "$work/keys/root.key" "$work/keys/signer.key")" = \
	"600
600"
openssl x509 -in "$work/keys/signer.pem" -noout -text >"$work/out"
said "RSA-3072 by default" "3072 bit"
said "for code signing" "Code Signing"
cp -r "$work/keys" "$work/kept"
expect 2 "keys over keys" tool keys "$work/keys"
said "they are never overwritten" "never overwritten"
check "they are as they were" diff -r "$work/keys" "$work/kept"
expect 0 "keys --type ecdsa" tool keys --type ecdsa "$work/stranger"
openssl x509 -in "$work/stranger/signer.pem" -noout -text >"$work/out"
said "P-256" "prime256v1"
expect 2 "another type" tool keys --type dsa "$work/none"
said "it is named" "'dsa'"
check "nothing was made" test ! -e "$work/none"
expect 0 "keys --add" tool keys --type ecdsa --add second "$work/keys"
expect 2 "--add of what is there" tool keys --add second "$work/keys"
check "openssl takes the chain" openssl verify -CAfile "$work/keys/root.pem" \
	"$work/keys/signer.pem" "$work/keys/second.pem" >"$work/out"

# ---- bundle ----
mkdir "$work/b"
image "$work/rootfs" 1
noise 9 70000 >"$work/app"

make_bundle() { # file option...
	make_output=$1
	shift
	tool bundle -o "$make_output" --key "$work/keys/signer.key" --cert "$work/keys/signer.pem" \
		--compatible acme-gateway --version 2.1.0 --security-version 7 --hardware rev-b \
		--hardware rev-c --image "rootfs=$work/rootfs" --image "app=$work/app" "$@"
}

export SOURCE_DATE_EPOCH=1700000000
expect 0 "bundle" make_bundle "$work/b/os.abide" --description 'first "release"' \
	--source git:4f1c0d2 --builder ci --sbom sha256:00
said "the artifact is named" "artifact [0-9a-f]{64}"
id=$(sed -n 's/.*artifact \([0-9a-f]*\),.*/\1/p' "$work/out")
check "nothing is left beside it" only "$work/b" os.abide
tar tf "$work/b/os.abide" >"$work/out"
printf '%s\n' manifest.json manifest.p7s rootfs.index app.index rootfs.store app.store \
	rootfs.data app.data >"$work/members"
check "tar lists its members, in order" cmp "$work/out" "$work/members"
mkdir "$work/x"
tar xf "$work/b/os.abide" -C "$work/x"
check "the artifact id is the manifest's SHA-256" \
	test "$(sha256sum <"$work/x/manifest.json")" = "$id  -"
openssl_verify() { # directory
	openssl cms -verify -binary -inform DER -in "$1/manifest.p7s" \
		-content "$1/manifest.json" -CAfile "$work/keys/root.pem" -purpose any -out /dev/null
}
expect 0 "openssl cms -verify" openssl_verify "$work/x"
check "the manifest names the image's SHA-256" \
	grep -q "$(sha256sum <"$work/rootfs" | cut -d' ' -f1)" "$work/x/manifest.json"
check "the time is SOURCE_DATE_EPOCH" grep -q 2023-11-14T22:13:20Z "$work/x/manifest.json"

for threads in 1 3; do
	expect 0 "bundle with $threads threads" make_bundle "$work/again.abide" --threads $threads \
		--description 'first "release"' --source git:4f1c0d2 --builder ci --sbom sha256:00
	check "the same bytes" cmp "$work/again.abide" "$work/b/os.abide"
done
expect 0 "another time" make_bundle "$work/again.abide" --created 2026-11-20T09:00:00Z
check "another artifact, over the old file" differ "$work/again.abide" "$work/b/os.abide"
expect 0 "another level" make_bundle "$work/level.abide" --level 1 --description 'first "release"' \
	--source git:4f1c0d2 --builder ci --sbom sha256:00
said "the same artifact" "$id"
mkfifo "$work/fifo"
cat "$work/rootfs" >"$work/fifo" &
expect 0 "an image from a pipe" tool bundle -o "$work/pipe.abide" --key "$work/keys/signer.key" \
	--cert "$work/keys/signer.pem" --compatible c --version 1 --image "rootfs=$work/fifo"

# ---- bundle: what a person gets wrong ----
wrong() { # status what pattern option...
	wrong_status=$1
	wrong_what=$2
	wrong_pattern=$3
	shift 3
	expect "$wrong_status" "$wrong_what" make_bundle "$work/b/no.abide" "$@"
	said "it says: $wrong_pattern" "$wrong_pattern"
	check "no bundle" only "$work/b" os.abide
}
wrong 2 "an image without a class" "'$work/app' is not CLASS=FILE" --image "$work/app"
wrong 2 "a class twice" "'app' is given twice" --image "app=$work/app"
wrong 2 "a bad class" "'A/b'" --image "A/b=$work/app"
wrong 1 "an image that is not there" "none.img'?: No such file" --image "data=$work/none.img"
wrong 2 "an image that is a directory" "is a directory" --image "data=$work/x"
: >"$work/empty"
wrong 2 "an empty image" "is empty" --image "data=$work/empty"
wrong 2 "a level too high" "'23'" --level 23
wrong 2 "no threads" "'0'" --threads 0
wrong 2 "a negative security version" "'-1'" --security-version -1
wrong 2 "a time that is none" "'yesterday'" --created yesterday
wrong 2 "a second operand" "'more'" more
wrong 1 "a key that is not there" "none.key" --key "$work/none.key"
wrong 2 "another's key" "does not belong to" --key "$work/keys/root.key"
openssl pkey -in "$work/keys/signer.key" -aes128 -passout pass:x -out "$work/locked.key"
wrong 2 "an encrypted key" "is encrypted" --key "$work/locked.key"
wrong 2 "a certificate for nothing" "not for code signing" --key "$work/keys/root.key" \
	--cert "$work/keys/root.pem"
SOURCE_DATE_EPOCH=now wrong 2 "SOURCE_DATE_EPOCH that is none" "SOURCE_DATE_EPOCH is 'now'"
for option in --key --cert --compatible --version; do
	expect 2 "$option without a value" tool bundle "$option"
	said "it is named" "$option"
done
expect 2 "no output" tool bundle --key k --cert c --compatible x --version 1 --image a=b
said "it is named" "output is missing"
expect 2 "an output that is a device" make_bundle /dev/null
check "/dev/null is a device still" test -c /dev/null
expect 1 "an output where there is no directory" make_bundle "$work/none/os.abide"

# ---- stopped, and a full disk ----
noise 5 60000000 >"$work/large"
"$ABIDE_IMAGE" bundle -o "$work/b/no.abide" --key "$work/keys/signer.key" \
	--cert "$work/keys/signer.pem" --compatible c --version 1 --level 22 \
	--image "rootfs=$work/large" 2>"$work/err" &
packer=$!
children=$packer
sleep 1
kill -TERM $packer
status=0
wait $packer || status=$?
check "SIGTERM stops it with status 143" test $status -eq 143
check "nothing is left" only "$work/b" os.abide
mkdir "$work/disk"
if mount -t tmpfs -o size=1m none "$work/disk" 2>/dev/null; then
	mounted=$work/disk
	expect 5 "a full disk" make_bundle "$work/disk/os.abide"
	said "it says so" "No space left"
	check "nothing is left there" only "$work/disk"
	umount "$work/disk"
	mounted=''
else
	ok "a full disk # SKIP cannot mount here"
fi

# ---- inspect ----
expect 0 "inspect" tool inspect "$work/b/os.abide"
said "NOT VERIFIED" "^NOT VERIFIED"
said "the artifact" "^artifact +$id"
said "the hardware" "^hardware +rev-c"
said "the description" 'first "release"'
said "who says to have signed" "claims to be by +CN=abide development signer"
said "the images" "^image rootfs: "
expect 0 "inspect --json" tool inspect --json "$work/b/os.abide"
said "not verified" '"verified": false'
said "the artifact" "\"artifact\": \"$id\""
if command -v python3 >/dev/null; then
	check "it is JSON" python3 -c 'import json, sys; json.load(sys.stdin)' <"$work/out"
fi
expect 1 "inspect what is not there" tool inspect "$work/none.abide"
expect 3 "inspect what is no bundle" tool inspect "$work/rootfs"
said "it is named" "rootfs"

# ---- extract ----
mkdir "$work/e"
expect 0 "extract" tool extract "$work/b/os.abide" "$work/e" --trust "$work/keys/root.pem"
check "the images" only "$work/e" rootfs.img app.img
check "rootfs as it was" cmp "$work/rootfs" "$work/e/rootfs.img"
check "app as it was" cmp "$work/app" "$work/e/app.img"
rm "$work/e/"*
expect 2 "extract without a root" tool extract "$work/b/os.abide" "$work/e"
expect 3 "extract a stranger's" tool extract --trust "$work/stranger/root.pem" \
	"$work/b/os.abide" "$work/e"
said "it is named" "os.abide"
expect 3 "with more signers than it has" tool extract --trust "$work/keys/root.pem" \
	--threshold 2 "$work/b/os.abide" "$work/e"
head -c 1000000 "$work/b/os.abide" >"$work/short.abide"
expect 3 "a truncated one" tool extract --trust "$work/keys/root.pem" "$work/short.abide" "$work/e"
cp "$work/b/os.abide" "$work/bad.abide"
printf X | dd of="$work/bad.abide" bs=1 seek=1500000 conv=notrunc status=none
expect 3 "a damaged one" tool extract --trust "$work/keys/root.pem" "$work/bad.abide" "$work/e"
said "the chunk is named" "chunk [0-9]+"
check "nothing was written, five times" only "$work/e"

# ---- sign ----
sign() { # signer option...
	sign_by=$1
	shift
	tool sign --key "$work/keys/$sign_by.key" --cert "$work/keys/$sign_by.pem" "$@"
}
expect 0 "sign" sign second "$work/b/os.abide" -o "$work/two.abide"
said "the same artifact" "$id"
expect 0 "two signers where two are wanted" tool extract --trust "$work/keys/root.pem" \
	--threshold 2 "$work/two.abide" "$work/e"
rm -r "$work/x"
mkdir "$work/x"
tar xf "$work/two.abide" -C "$work/x"
expect 0 "openssl verifies both" openssl_verify "$work/x"
cp "$work/b/os.abide" "$work/kept.abide"
expect 6 "the same signer again" sign signer "$work/b/os.abide"
check "the bundle is as it was" cmp "$work/b/os.abide" "$work/kept.abide"
expect 0 "sign --replace, in place" sign second --replace "$work/b/os.abide"
expect 0 "signed by the other" tool inspect "$work/b/os.abide"
said "the other" "by +CN=abide development second"
not_said "alone" "by +CN=abide development signer"
expect 0 "back" sign signer --replace "$work/b/os.abide"
check "the very same bundle again" cmp "$work/b/os.abide" "$work/kept.abide"
expect 2 "sign with another's key" tool sign --key "$work/keys/root.key" \
	--cert "$work/keys/signer.pem" "$work/b/os.abide"
expect 3 "sign what is truncated" sign second "$work/short.abide"

# ---- signed with openssl, packed with tar ----
openssl cms -sign -binary -outform DER -in "$work/x/manifest.json" -out "$work/x/manifest.p7s" \
	-md sha256 -signer "$work/keys/second.pem" -inkey "$work/keys/second.key"
tar --format=ustar --owner=0 --group=0 -cf "$work/openssl.abide" -C "$work/x" -T "$work/members"
expect 0 "a bundle signed with openssl cms" tool extract --trust "$work/keys/root.pem" \
	"$work/openssl.abide" "$work/e"
check "rootfs as it was" cmp "$work/rootfs" "$work/e/rootfs.img"
expect 0 "gets a second signer" sign signer "$work/openssl.abide"
expect 0 "both count" tool extract --trust "$work/keys/root.pem" --threshold 2 \
	"$work/openssl.abide" "$work/e"
finish
