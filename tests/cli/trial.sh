#!/bin/sh
# Trials: confirmed, failed, used up, reverted, rejected, forced. reboot_device plays GRUB.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
image "$work/image-3" 3
security_version=2 bundle 2 2.0 "$work/image-2"
security_version=3 bundle 3 3.0 "$work/image-3"

health() { # name script
	printf '#!/bin/sh\n%s\n' "$2" >"$work/health.d/$1"
	chmod 755 "$work/health.d/$1"
}

# ---- a good group: confirm does nothing ----
before=$(cat "$work/grubenv")
expect 0 "confirm on a good group" abide confirm
said "nothing to do" 'good already'
check "the bootloader's state is untouched" [ "$before" = "$(cat "$work/grubenv")" ]
check "there is no journal line" [ ! -e "$work/state/journal.jsonl" ]
expect 0 "confirm --json on a good group" abide confirm --json
check "already" [ "$(field outcome)" = already ]

# ---- release 2 proves healthy ----
abide install "$work/2.abide" >/dev/null
reboot_device
check "b is booted" grep -q '^booted = b' "$work/system.conf"
check "its try is counted" [ "$(variable B_TRY)" = 2 ]
expect 0 "status in a trial" abide status
said "it is a trial" '^state +trial'
said "with two more tries" 'b running +2\.0 .*trial, 2 more tries'
expect 6 "install is refused in a trial" abide install "$work/3.abide"
said "it says what to do" 'confirm or revert first'
health 10-first 'echo first'
health 20-second 'exit 0'
health .hidden 'exit 1'
# An init that does not care for its children must not make a check fail.
expect 0 "confirm, started with SIGCHLD ignored" \
	env --ignore-signal=CHLD "$ABIDE" -c "$work/system.conf" confirm
said "two checks passed" '^group b is confirmed: 2 health checks passed$'
check "b is good" [ "$(variable B_OK)" = 1 ]
expect 0 "status" abide status
said "idle" '^state +idle'
said "the floor is still that of the fallback" '^floor +security version 1$'

# ---- release 3 never does ----
abide install "$work/3.abide" >/dev/null
check "it went into a" [ "$(variable ORDER)" = "A B" ]
# shellcheck disable=SC2016 # for the check's shell
health 15-app 'echo "the app says: $((6 * 7))"; exit 3'
for left in 2 1; do
	reboot_device
	expect 10 "confirm fails, $left tries left" abide confirm
	said "the check is named" "^abide: confirm: health check '15-app' failed: exit status 3\$"
	said "its output is shown" '^  \| the app says: 42$'
	said "a reboot tries again" 'a reboot tries this group again'
	check "a is not good" [ "$(variable A_OK)" = 0 ]
done
reboot_device
expect 0 "status on the last try" abide status
said "says so" 'a running +3\.0 .*trial, the last try'
expect 10 "the last try fails" abide confirm --json
said "the result says why" '"outcome":"failed","group":"a","checks":2,"failed":"15-app","why":"exit status 3","output":"the app says: 42\\n","reverted":true'
said "then the error" '^\{"event":"error","command":"confirm","code":"health","exit":10,'
expect 0 "status" abide status
said "reverting" '^state +reverting'
reboot_device
check "b is booted again" grep -q '^booted = b' "$work/system.conf"
expect 0 "confirm has nothing to do" abide confirm
expect 0 "status names the rejected release and why" abide status
said "3.0, and the check" "^rejected +3\.0 [0-9a-f]{8}: health check '15-app' failed: exit status 3\$"
expect 0 "status --json does, too" abide status --json
said "as an object" '"rejected":\[\{"artifact":"[0-9a-f]{64}","version":"3.0","why":"health check .15-app. failed: exit status 3"\}\]'

# ---- rejected, until forced ----
before=$(slot_print a)
expect 4 "the rejected build is refused" abide install "$work/3.abide"
said "it says how to install it all the same" '--force'
check "not a byte was written" [ "$before" = "$(slot_print a)" ]
expect 4 "plan says so" abide plan "$work/3.abide"
said "which check" 'NOT +rejected'
expect 4 "activate refuses it, too" abide activate a
expect 0 "plan --force" abide plan --force "$work/3.abide"
expect 0 "install --force" abide install --force "$work/3.abide"
expect 0 "deactivate" abide activate b
expect 0 "another release replaces it" abide install "$work/2.abide" # runs: takes flips back
image "$work/image-4" 4
security_version=2 bundle 4 4.0 "$work/image-4"
expect 0 "a mended release" abide install "$work/4.abide"
# After a forced install that was taken back 3.0 had no chance to fail again.
expect 0 "back to b" abide activate b

# ---- tries used up without a word: the kernel never came up ----
abide install "$work/4.abide" >/dev/null
for _ in 1 2 3; do reboot_device; done
reboot_device
check "GRUB went back to b" grep -q '^booted = b' "$work/system.conf"
expect 0 "the next confirm writes down what happened" abide confirm
expect 0 "log" abide log
said "tries used up" 'reverted +a +4\.0 .*every try was used up'
expect 4 "it is rejected" abide install "$work/4.abide"

# ---- revert by hand ----
rm "$work"/health.d/15-app
image "$work/image-5" 5
security_version=5 bundle 5 5.0 "$work/image-5"
abide install "$work/5.abide" >/dev/null
reboot_device
expect 0 "an empty set of checks that fail confirms" abide confirm
expect 0 "revert" abide revert
said "it says what it did" '^group a is marked bad, group b boots next; reboot to run it$'
expect 0 "revert again changes nothing" abide revert
reboot_device
check "b is booted" grep -q '^booted = b' "$work/system.conf"
expect 0 "status" abide status
said "5.0 is rejected by hand" "^rejected +5\.0 .*asked for by 'abide revert'"
expect 6 "revert with nothing to go back to" abide revert
said "it says so" 'nothing to go back to|not confirmed'

# ---- old releases stay out ----
image "$work/image-0" 9
security_version=1 bundle 0 0.9 "$work/image-0"
expect 4 "security_version below the floor" abide install "$work/0.abide"
said "both numbers are told" 'security_version is 1, .*floor is 2'
expect 4 "even with --force" abide install --force "$work/0.abide"

# ---- checks that hang or cannot run ----
abide install --force "$work/5.abide" >/dev/null
reboot_device
sed -i 's/^timeout = .*/timeout = 1/' "$work/system.conf"
health 30-hangs 'echo waiting; exec sleep 60'
expect 10 "a check that does not end" abide confirm
said "is told" "'30-hangs' failed: no end after 1 s"
rm "$work/health.d/30-hangs"
printf '#!/nonexistent\n' >"$work/health.d/30-broken"
chmod 755 "$work/health.d/30-broken"
expect 10 "a check that cannot run" abide confirm
said "is told" "'30-broken' failed"
expect 0 "the journal's chain is whole after all this" abide log --verify

# ---- the shipped init script ----
mkdir "$work/bin"
printf '#!/bin/sh\nexec "%s" -c "%s" "$@"\n' "$ABIDE" "$work/system.conf" >"$work/bin/abide"
printf '#!/bin/sh\necho rebooted >>"%s"\n' "$work/rebooted" >"$work/bin/reboot"
chmod 755 "$work/bin/abide" "$work/bin/reboot"
sed "s,^PATH=,PATH=$work/bin:," "$top/updater/init/abide-confirm" >"$work/bin/abide-confirm"
expect 10 "the init script with a failing check" sh "$work/bin/abide-confirm"
check "reboots" grep -q rebooted "$work/rebooted"
rm "$work/rebooted" "$work/health.d/30-broken"
expect 0 "with passing checks" sh "$work/bin/abide-confirm" start
check "does not reboot" [ ! -e "$work/rebooted" ]
expect 0 "confirmed already" sh "$work/bin/abide-confirm" start
expect 0 "its status" sh "$work/bin/abide-confirm" status
expect 2 "its usage" sh "$work/bin/abide-confirm" frobnicate
finish
