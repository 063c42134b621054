#!/bin/sh
# grub.sh - grub.cfg parses, and never waits for a person.
set -eu

cfg=$(dirname "$0")/../../bootloader-hooks/grub/grub.cfg
failed=0

report() { # status what
	if [ "$1" -eq 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		failed=1
	fi
}

if command -v grub-script-check >/dev/null; then
	status=0
	grub-script-check "$cfg" || status=1
	report $status "grub.cfg parses"
else
	echo "ok - grub.cfg parses # SKIP no grub-script-check"
fi

status=0
[ "$(sed '/^[[:space:]]*$/d' "$cfg" | tail -n 1)" = reboot ] || status=1
report $status "grub.cfg ends in a reboot"

status=0
! grep -En '^[[:space:]]*(menuentry|submenu|read|normal)([[:space:]]|$)' "$cfg" || status=1
report $status "grub.cfg has no menu and asks nothing"

exit $failed
