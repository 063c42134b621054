#!/bin/sh
# grub.sh - grub.cfg parses, and never waits for a person.
set -eu

cfg=$(dirname "$0")/../../bootloader-hooks/grub/grub.cfg
failed=0

check() { # what command...
	what=$1
	shift
	if "$@"; then
		echo "ok - $what"
	else
		echo "not ok - $what"
		failed=1
	fi
}

ends_in_reboot() {
	[ "$(sed '/^[[:space:]]*$/d' "$cfg" | tail -n 1)" = reboot ]
}

no_menu() {
	! grep -Eq '^[[:space:]]*(menuentry|submenu|read|normal)([[:space:]]|$)' "$cfg"
}

if command -v grub-script-check >/dev/null; then
	check "grub.cfg parses" grub-script-check "$cfg"
else
	echo "ok - grub.cfg parses # SKIP no grub-script-check"
fi
check "grub.cfg ends in a reboot" ends_in_reboot
check "grub.cfg has no menu and asks nothing" no_menu
exit $failed
