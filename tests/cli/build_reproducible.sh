#!/bin/sh
# The same source gives the same programs, wherever and whenever it is built.
# shellcheck source=tests/cli/lib_build.sh
. "$(dirname "$0")/lib_build.sh"
plain_build_only

for where in here some/where/else; do
	mkdir -p "$work/$where"
	(cd "$top" && tar -cf - Makefile updater bootloader-hooks image) | tar -C "$work/$where" -xf -
	make -s -C "$work/$where" SOURCE_DATE_EPOCH=1700000000 all
done

for program in abide abide-image; do
	here=$work/here/build/$program
	ok "$program is the same byte for byte, built in two places" \
		cmp "$here" "$work/some/where/else/build/$program"
	ok "$program names no path of the machine it was built on" \
		sh -c "! grep -q '$work' '$here'"
done
finish
