#!/bin/sh
# A device whose bootloader is a program of the user's: the example, and programs that go wrong.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"

# The example, on a file of its own; `load` plays the loading of a kernel.
cat >"$work/hook" <<-END
	#!/bin/sh
	BOOTSTATE_FILE=$work/bootstate
	BOOTSTATE_LOAD=$work/load
	export BOOTSTATE_FILE BOOTSTATE_LOAD
	exec $work/example "\$@"
END
cp "$top/bootloader-hooks/custom/bootstate" "$work/example"
# shellcheck disable=SC2016 # for its own shell
printf '#!/bin/sh\n[ ! -e "%s/broken-$1" ]\n' "$work" >"$work/load"
chmod 755 "$work/hook" "$work/example" "$work/load"

configure_custom() { # booted-group
	configure "$1"
	sed -i "s,^bootloader = .*,bootloader = custom,; s,^grubenv = .*,program = $work/hook," \
		"$work/system.conf"
}

reboot_custom() {
	booted=$("$work/hook" pick 2>>"$work/pick.log") || booted=$("$work/hook" pick)
	configure_custom "$booted"
}

state_is() { # what primary a b
	check "$1" [ "$(cat "$work/bootstate")" = "$(printf 'primary=%s\na=%s\nb=%s' "$2" "$3" "$4")" ]
}

# ---- before there is a state ----
configure_custom a
expect 7 "a state that is missing" abide status
said "what the program says is shown" "get-state': exit status 1: '$work/bootstate' is missing"
echo '{"primary":"a","a":{"good":true,"bad":false,"tries":0},"b":{"good":false,"bad":false,"tries":0}}' |
	"$work/hook" commit
state_is "the program makes one" a good none

# ---- update, confirm ----
expect 0 "install" abide install "$work/2.abide"
state_is "b is tried next" b good 3
reboot_custom
check "b is booted" [ "$booted" = b ]
state_is "its try is counted" b good 2
expect 0 "confirm" abide confirm
state_is "b is good" b good good
expect 0 "status" abide status
said "idle" '^state +idle'

# ---- a trial that does not load ----
expect 0 "activate a" abide activate a
image "$work/image-3" 3
bundle 3 3.0 "$work/image-3"
expect 0 "an install replaces it" abide install "$work/3.abide"
state_is "a is tried next" a 3 good
touch "$work/broken-a"
for _ in 1 2 3; do "$work/hook" pick >/dev/null 2>&1 || true; done
state_is "its tries are used up" a bad good
reboot_custom
check "b is booted again" [ "$booted" = b ]
expect 0 "confirm writes down what happened" abide confirm
expect 4 "the build is rejected" abide install "$work/3.abide"
rm "$work/broken-a"

# ---- programs that go wrong: told, and nothing changes ----
before=$(cat "$work/bootstate")
wrong() { # what pattern script
	printf '#!/bin/sh\n%s\n' "$3" >"$work/wrong"
	chmod 755 "$work/wrong"
	sed -i "s,^program = .*,program = $work/wrong," "$work/system.conf"
	expect 7 "$1: status" abide status
	said "is told" "$2"
	expect 7 "$1: install" abide install --force "$work/3.abide"
	expect 7 "$1: confirm" abide confirm
}
wrong "rubbish" 'get-state. .*: not JSON' 'echo rubbish'
wrong "failure" 'exit status 3: no such partition' 'echo no such partition >&2; exit 3'
wrong "silence" 'wrote nothing' 'exit 0'
wrong "a flood" 'more than 4096 bytes' 'head -c 100000 /dev/zero'
sed -i 's,^program = .*,&\nprogram-timeout = 1,' "$work/system.conf"
wrong "hanging" 'no end after 1 s, killed' 'exec sleep 1000'
rm "$work/wrong"
expect 7 "a program that is missing" abide status
said "is told" "bootloader program '$work/wrong': find what \[boot\] program .*No such file"
printf '#!/bin/sh\n' >"$work/wrong"
chmod 644 "$work/wrong"
expect 7 "a program that is not executable" abide status
said "is told" "'$work/wrong': is not executable"
if [ "$(id -u)" = 0 ]; then
	chmod 777 "$work/wrong"
	expect 7 "a program that anybody may change" abide status
	said "is told" 'may be written by others: chmod go-w it'
	chmod 755 "$work/wrong"
	chown 1 "$work/wrong"
	expect 7 "a program that is somebody else's" abide status
	said "is told" 'belongs to user 1: chown root it'
	chown 0 "$work/wrong"
fi
# shellcheck disable=SC2016 # for the program's shell
printf '#!/bin/sh\n[ "$1" = commit ] || exec "%s" get-state\n' "$work/hook" >"$work/wrong"
expect 7 "a program that says it did what it did not" abide install --force "$work/3.abide"
said "is told" 'commit. ended with 0, but get-state says otherwise: expected .*found'
check "nothing has changed" [ "$before" = "$(cat "$work/bootstate")" ]

sed -i '/^program = /d' "$work/system.conf"
expect 2 "a configuration without a program" abide status
said "is told" 'program'
finish
