#!/bin/sh
# install, plan, info, status, verify, activate: from every kind of source, once and twice.
# shellcheck disable=SC2016 # sh -c expands them
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2" --hardware rev-a --hardware rev-b
size=$(stat -c %s "$work/image-2")

# ---- before ----
expect 0 "status of a device from the factory" abide status
said "it is idle" '^state +idle'
said "group a boots next" '^boots next +group a$'
said "group a runs 1.0, sealed and good" 'a running +1\.0 +[0-9a-f]{8} +sealed +good$'
said "group b holds nothing" 'b +- +- +none +-$'
not_said "no problem" problem

expect 0 "info" abide info "$work/2.abide"
said "info names the version" '^version +2\.0$'
said "info names the signer" '^signed by +.'
expect 0 "info --json" abide info --json "$work/2.abide"
said "info --json is one result" '^\{"event":"result","command":"info","artifact":"[0-9a-f]{64}".*\}$'
check "info --json has the image's digest" \
	grep -q "\"sha256\":\"$(sha256sum <"$work/image-2" | cut -d' ' -f1)\"" "$work/out"

everything() {
	slot_print b
	cat "$work/grubenv"
	find "$work/state" "$work/run" -type f 2>/dev/null || true
}

before=$(everything)
expect 0 "plan" abide plan "$work/2.abide"
said "plan would write" 'would be written'
said "plan shows its checks" '^  ok +compatible '
expect 0 "plan --json" abide plan --json "$work/2.abide"
said "plan --json says write" '"action":"write","refused":false'
check "plan has changed nothing" \
	[ "$before" = "$(everything)" ]

# ---- from a path ----
running=$(slot_print a)
expect 0 "install from a path" abide install "$work/2.abide"
said "it says where to" '^release 2\.0 \([0-9a-f]{8}\) is installed in group b and activated'
check "the slot has the image's digest by hand" \
	[ "$(head -c "$size" "$work/rootfs-b" | sha256sum)" = "$(sha256sum <"$work/image-2")" ]
check "the running group was not touched" [ "$running" = "$(slot_print a)" ]
check "b is tried first" [ "$(variable ORDER)" = "B A" ]
check "with three tries" [ "$(variable B_TRY)" = 3 ]
check "a stays good" [ "$(variable A_OK)" = 1 ]
expect 0 "status --json of an activated device" abide status --json
said "it is activated and boots b next" '"state":"activated","booted":"a","target":"b","next":"b"'
said "b is sealed and proven" '"b":\{"good":false,"bad":false,"tries":3,"seal":"sealed","artifact":"[0-9a-f]{64}","proven":true,"version":"2.0"'
artifact=$(sed -n 's/.*"b":{[^{]*"artifact":"\([0-9a-f]*\)".*/\1/p' "$work/out")
abide info --json "$work/2.abide" >"$work/out"
check "info gives the same artifact id" [ "$(field artifact)" = "$artifact" ]
expect 0 "verify" abide verify
said "both slots are as they were signed" 'ok +rootfs\.b +the image is the signed one'
expect 0 "verify one group" abide verify b
not_said "only that one" 'rootfs\.a'

# ---- again ----
before=$(slot_print b; cat "$work/grubenv")
expect 0 "install again" abide install "$work/2.abide"
said "it is activated already" 'activated already'
said "nothing was written" ' 0 bytes written$'
expect 0 "install again --json" abide install --json "$work/2.abide"
check "its count is 0" [ "$(field written)" = 0 ]
check "its action is nothing" [ "$(field action)" = nothing ]
check "the slot was not touched, nor the bootloader" [ "$before" = "$(slot_print b; cat "$work/grubenv")" ]
expect 0 "install what runs" abide install "$work/1.abide"
said "it takes the flip back" 'boots next again'
check "a is first again" [ "$(variable ORDER)" = A ]
expect 0 "install what runs, again" abide install "$work/1.abide"
said "nothing to do" 'runs already, in group a: nothing to do'
seal=$(slot_print b)
expect 0 "install what is sealed but not activated" abide install --json "$work/2.abide"
check "only activates" [ "$(field action)" = activate ]
check "and writes nothing" [ "$(field written)" = 0 ]
check "not even the seal" [ "$seal" = "$(slot_print b)" ]

# ---- by hand ----
expect 0 "activate the running group" abide activate a
said "boots next" '^group a boots next$'
expect 0 "activate it again" abide activate a
said "already" '^group a boots next already$'
expect 0 "activate the other group" abide activate --json b
check "changed" [ "$(field changed)" = true ]
check "b is first" [ "$(variable ORDER)" = "B A" ]

# ---- from standard input ----
image "$work/image-3" 3
bundle 3 3.0 "$work/image-3"
expect 0 "install from standard input" sh -c '"$0" -c "$1/system.conf" install --json - <"$1/3.abide"' \
	"$ABIDE" "$work"
said "progress, one object a line" '^\{"event":"progress","command":"install","phase":"writing","class":"rootfs","done":[0-9]+,"total":[0-9]+\}$'
check "most of it was in place" [ "$(field written)" -lt "$((size / 2))" ]
total=0
for source in zero repeat in_place running moved fetch; do
	total=$((total + $(field "$source")))
done
check "all of it adds up" [ "$total" = "$(stat -c %s "$work/image-3")" ]
check "the slot is 3.0" \
	[ "$(head -c "$(stat -c %s "$work/image-3")" "$work/rootfs-b" | sha256sum)" = "$(sha256sum <"$work/image-3")" ]
expect 0 "from a pipe" sh -c 'cat "$1/2.abide" | "$0" -c "$1/system.conf" install -' "$ABIDE" "$work"

# ---- drift ----
printf X | dd of="$work/rootfs-b" bs=1 seek=1000000 conv=notrunc status=none
expect 9 "verify finds a changed byte" abide verify
said "in that slot" 'DRIFT +rootfs\.b'
expect 9 "verify --json" abide verify --json
said "a finding and an error" '"code":"drift","exit":9'
expect 9 "activate refuses it" sh -c '"$0" -c "$1" activate a && "$0" -c "$1" activate b' "$ABIDE" "$work/system.conf"
expect 0 "install mends it" abide install --json "$work/2.abide"
check "by writing" [ "$(field action)" = write ]
check "little" [ "$(field written)" -lt 1000000 ]
expect 0 "verify is content again" abide verify

# ---- refusals ----
expect 2 "--reboot is refused on a workstation" abide install --reboot "$work/2.abide"
said "because of booted" "sets 'booted'"
expect 2 "activate wants a group" abide activate c
expect 6 "revert has nothing to go back to, or is not now" abide revert
finish
