#!/bin/sh
# lint/floors.sh finds what it is there to find.
# shellcheck source=tests/cli/lib_build.sh
. "$(dirname "$0")/lib_build.sh"

mkdir -p "$work/tests/lint"
cp "$top/tests/lint/floors.sh" "$work/tests/lint"

# A house of one file with one #include.
finds() { # what file include wanted-message
	rm -rf "$work/updater" "$work/image" "$work/bootloader-hooks"
	mkdir -p "$work/updater/carrier" "$work/image" "$work/bootloader-hooks/grub"
	echo "#include $3" >"$work/$2"
	status=0
	message=$("$work/tests/lint/floors.sh" 2>&1) || status=$?
	case $message in
	*"$4"*) [ "$status" -eq 0 ] || { echo "ok - $1" && return; } ;;
	esac
	echo "not ok - $1: $message"
	failed=1
}
allows() { # what file include
	rm -rf "$work/updater" "$work/image" "$work/bootloader-hooks"
	mkdir -p "$work/updater/carrier" "$work/image" "$work/bootloader-hooks/grub"
	echo "#include $3" >"$work/$2"
	if message=$("$work/tests/lint/floors.sh" 2>&1); then
		echo "ok - $1"
	else
		echo "not ok - $1: $message"
		failed=1
	fi
}

finds "the ground floor includes the first" updater/mem.c '"updater/seal.h"' "floor 0 includes"
finds "a pure decision includes an installer" updater/plan.c '"updater/install.h"' "floor 2 includes"
finds "a hook includes the state" bootloader-hooks/grub/grub.c '"updater/state.h"' "floor 1 includes"
finds "the carrier knows slots" updater/carrier/source.c '"updater/slot.h"' "carrier may not know"
finds "OpenSSL outside its files" updater/seal.c '<openssl/evp.h>' "has its place in"
finds "seccomp outside the sandbox" updater/carrier/source.c '<seccomp.h>' "has its place in"
finds "a file on no floor" updater/novelty.c '"updater/err.h"' "on no floor"
finds "a program includes the tests" updater/seal.c '"tests/scratch.h"' "includes tests/"
allows "a floor below" updater/install.c '"updater/plan.h"'
allows "a floor beside" updater/seal.c '"updater/header.h"'
allows "a module of two files" updater/journal_file.c '"updater/fs.h"'
allows "a library in its file" updater/digest.c '<openssl/evp.h>'
allows "the host's tools include the updater" image/bundle.c '"updater/index.h"'
finish
