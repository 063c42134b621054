#!/bin/sh
# grub_env.sh - what may be wrong with GRUB's environment: message, exit code 7, and what boots stays.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"

refused() { # what pattern
	boot_refused "$work/grubenv" "$1" "$2"
	grubenv 'A B' 1 0 1 0
}

# One of the five lines becomes another, of the same length or not.
spoil() { # sed-expression
	grubenv 'A B' 1 0 1 0
	sed "$1" "$work/grubenv" | head -c 1024 >"$work/spoilt"
	truncate -s 1024 "$work/spoilt"
	cp "$work/spoilt" "$work/grubenv"
}

rm "$work/grubenv"
refused "the environment is missing" "'$work/grubenv'.*No such file or directory"
truncate -s 512 "$work/grubenv"
refused "it is too short" "'$work/grubenv'.*512"
head -c 1024 /dev/zero >"$work/grubenv"
refused "it is blank" "'$work/grubenv'.*GRUB environment"
spoil 1d
refused "it is another file" "'$work/grubenv'.*GRUB environment"
spoil /ORDER/d
refused "no ORDER" "ORDER is ''"
spoil 's/^ORDER=.*/ORDER=A C/'
refused "an unknown group" "ORDER is 'A C'"
spoil 's/^A_OK=.*/A_OK=yes/'
refused "not a number" "A_OK is 'yes'"
spoil 's/^B_TRY=.*/B_TRY=-1/'
refused "a negative number" "B_TRY is '-1'"
spoil 's/^B_TRY=.*/B_TRY=10/'
refused "too many tries" "B_TRY is '10'"
spoil 's/^A_OK=.*/&\n&/'
refused "a variable twice" "A_OK is set twice"
mkdir "$work/moved"
mv "$work/grubenv" "$work/moved/grubenv"
ln -s "$work/nowhere" "$work/grubenv"
boot_refused "$work/moved/grubenv" "it points to nothing" "'$work/grubenv'.*No such file or directory"
mv "$work/moved/grubenv" "$work/grubenv"

# ---- what it says to do helps ----
if command -v grub-editenv >/dev/null; then
	head -c 1024 /dev/zero >"$work/grubenv"
	expect 7 "it is blank: what to do" abide status
	said "  is told" "'$work/grubenv' with grub-editenv: create, then set ORDER=A A_OK=1"
	grub-editenv "$work/grubenv" create
	grub-editenv "$work/grubenv" set ORDER=A A_OK=1
	expect 0 "  and helps" abide status
	grub-editenv "$work/grubenv" set ORDER=Q menu=1
	expect 7 "it is a block: what to do" abide status
	said "  is told" "'$work/grubenv' with grub-editenv: set ORDER=A A_OK=1"
	grub-editenv "$work/grubenv" set ORDER=A A_OK=1
	expect 0 "  and helps" abide status
	check "  what else is in it stays" grep -q menu=1 "$work/grubenv"
else
	ok "what it says to do helps # SKIP no grub-editenv"
fi

# ---- one of two is enough, and is said once ----
grubenv 'A B' 1 0 1 0
cp "$work/grubenv" "$work/grubenv.spare"
head -c 1024 /dev/zero >"$work/grubenv"
expect 0 "one copy is blank: status" abide status
said "  it says so" "'$work/grubenv'"
expect 0 "one copy is blank: confirm" abide confirm
expect 0 "afterwards" abide status
not_said "  it is healed" "'$work/grubenv'"
check "it is in the journal" grep -q environment-healed "$work/state/journal.jsonl"

# ---- a file system that cannot be written ----
mkdir "$work/esp"
if mount -t tmpfs -o size=64k abide-test "$work/esp" 2>/dev/null; then
	mounted=$work/esp
	cp "$work/grubenv" "$work/esp/grubenv"
	sed -i "s,^grubenv = .*,grubenv = $work/esp/grubenv," "$work/system.conf"
	mount -o remount,ro "$work/esp"
	expect 7 "a read-only ESP" abide install "$work/2.abide"
	said "  it says so" "'$work/esp/grubenv'.*Read-only file system"
	check "  nothing is changed" cmp "$work/grubenv" "$work/esp/grubenv"
else
	ok "a read-only ESP # SKIP cannot mount a tmpfs"
fi
finish
