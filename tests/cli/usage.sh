#!/bin/sh
# Help, options and configuration: what a person gets wrong is named, with exit status 2.
# shellcheck disable=SC2016 # sh -c expands them
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

commands='status info plan install confirm activate revert verify log'

# ---- help ----
expect 0 "abide --help" "$ABIDE" --help
for command in $commands; do said "--help has $command" "^  $command "; done
for command in $commands; do
	expect 0 "abide $command --help" "$ABIDE" "$command" --help
	said "it is about $command" "^usage: abide .*$command"
	expect 0 "abide --help $command" "$ABIDE" --help "$command"
done
expect 0 "--version" "$ABIDE" --version
said "the version" "^abide $(cat "$top/updater/VERSION")\$"

# ---- usage ----
expect 2 "no command" "$ABIDE"
expect 2 "an unknown command" "$ABIDE" frobnicate
said "is named" "'frobnicate'"
expect 2 "an unknown option" "$ABIDE" status --frobnicate
said "is named" "'--frobnicate'"
expect 2 "options are not shortened" "$ABIDE" status --js
expect 2 "-c without a file" "$ABIDE" status -c
for command in $commands; do
	case $command in
	install | plan | info | activate)
		expect 2 "$command without its operand" "$ABIDE" "$command"
		said "it says what it wants" "$command wants"
		expect 2 "$command with two operands" "$ABIDE" "$command" one two
		said "the second is named" "'two'"
		;;
	*)
		expect 2 "$command with two operands" "$ABIDE" "$command" one two
		said "one of them is named" "'(one|two)'"
		;;
	esac
	expect 2 "$command with a foreign option" "$ABIDE" "$command" \
		"$(case $command in log) echo --force ;; *) echo --verify ;; esac)"
	said "it does not take it" "$command does not take"
done
expect 2 "a group that is none" "$ABIDE" activate c
said "the two are named" "'a' or 'b'"
expect 2 "usage as JSON" "$ABIDE" --json status too much
said "one error object" '^\{"event":"error","command":"status","code":"usage","exit":2,"message":".*"\}$'

# ---- configuration: file and line ----
device 8M
config=$work/system.conf
cp "$config" "$work/good.conf"
expect 0 "status with -c behind the command" "$ABIDE" status -c "$config"

broken() { # what sed-expression pattern
	sed "$2" "$work/good.conf" >"$config"
	expect 2 "$1" abide status
	said "is named: $1" "$3"
	sed "s,^,# ," "$config" >/dev/null
}
broken "an unknown key" '3i color = red' "system\.conf:3'.*color"
broken "an unknown section" '4i [paint]' "system\.conf:4'.*paint"
broken "a key twice" '2p' "system\.conf:3'.*compatible.*twice"
broken "a line that is none" '2i what is this' "system\.conf:2'"
broken "a number that is none" 's/^retries.*/retries = many/' "system\.conf:[0-9]+'.*'many'"
broken "a number too large" 's/^stall-timeout.*/stall-timeout = 99999/' "system\.conf:[0-9]+'.*99999"
broken "an unknown bootloader" 's/^bootloader.*/bootloader = lilo/' "system\.conf:[0-9]+'.*lilo"
broken "a group that is none" 's/^booted.*/booted = c/' "system\.conf:[0-9]+'.*'c'"
broken "a relative path" 's/^roots.*/roots = trust.pem/' "system\.conf:[0-9]+'.*trust\.pem"
broken "no roots" '/^roots/d' 'roots is missing'
broken "no compatible" '/^compatible/d' 'compatible is missing'
broken "a class with one group" '/rootfs.b/,+1d' 'rootfs\.b'
broken "a slot without a device" '/^device.*rootfs-b/d' 'rootfs\.b.*no device'
cp "$work/good.conf" "$config"
expect 2 "a configuration that is not there" "$ABIDE" -c "$work/none.conf" status
said "is named" 'none\.conf'
expect 2 "a directory" "$ABIDE" -c "$work" status
said "is named" "'$work'"

# ---- things the configuration names that are not there ----
missing() { # status what file pattern command...
	missing_status=$1 missing_what=$2 missing_file=$3 missing_pattern=$4
	shift 4
	mv "$missing_file" "$work/moved"
	expect "$missing_status" "$missing_what" abide "$@"
	said "is named: $missing_what" "$missing_pattern"
	mv "$work/moved" "$missing_file"
}
missing 1 "roots that are not there" "$work/pki/root.pem" 'root\.pem' info "$work/1.abide"
missing 7 "a bootloader's state that is not there" "$work/grubenv" 'grubenv' status
cp "$work/grubenv" "$work/grubenv.good"
printf X | dd of="$work/grubenv" bs=1 seek=3 conv=notrunc status=none
expect 7 "a bootloader's state that is corrupt" abide status
said "is named" grubenv
sed 's/^ORDER=A$/ORDER=C/' "$work/grubenv.good" >"$work/grubenv"
expect 7 "a bootloader's state with an unknown group" abide status
said "is named" "grubenv.*ORDER|ORDER"
cp "$work/grubenv.good" "$work/grubenv"
missing 0 "status without a slot" "$work/rootfs-b" 'problem +group b: .*rootfs-b' status
expect 0 "status is fine again" abide status
not_said "no problem" problem

# ---- what is printed reaches somebody ----
if [ -e /dev/full ]; then
	expect 1 "a full standard output" sh -c '"$0" -c "$1" status >/dev/full' "$ABIDE" "$config"
	said "is told" 'standard output'
fi
expect 0 "status with no descriptors open" sh -c '"$0" -c "$1" status <&- >&- 2>&-' "$ABIDE" "$config"
finish
