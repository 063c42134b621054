#!/bin/sh
# readme: the commands of README.md do what it says. Those under "Try it on files" are run as they
# stand there; of the others, the targets exist, and what they install and make is what it names.
# shellcheck disable=SC2016 # sh -c expands them
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# The lines of every sh block under a heading.
blocks() { # heading
	awk -v heading="## $1" '
		/^## / { inside = ($0 == heading) }
		/^```/ { code = inside && $0 == "```sh"; next }
		code { print }
	' "$top/README.md"
}

cd "$top"
blocks "See it, in two commands" | while read -r command; do
	target=$(expr "$command" : 'make \([a-z-]*\)') || target=
	check "README: '$target' is a target" grep -q "^$target:" Makefile
done

mkdir "$work/checkout"
# The build that is tested, in a directory of our own.
blocks "Try it on files" | sed -e '/^make$/d' -e "s,\\\$PWD/build:,$build:," >"$work/try.sh"
check "README: there is something to try" grep -q 'abide -c system.conf install' "$work/try.sh"
expect 0 "README: everything under 'Try it on files' runs" \
	sh -c 'cd "$1" && sh -eu "$2"' - "$work/checkout" "$work/try.sh"
said "README: the plan is to write" 'it would be written'
said "README: the second install does nothing" 'is in group b and activated already'
said "README: b is confirmed" 'group b is confirmed'
said "README: the drift of a is found, exit 9" '^exit 9$'
said "README: the journal's chain is whole" 'the chain is whole'

# What a reader would follow next.
grep -o '](\([^)#]*\))' "$top/README.md" | sed 's/](\(.*\))/\1/' | while read -r link; do
	case $link in http*) continue ;; esac
	check "README: $link is there" [ -e "$top/$link" ]
done
for page in updater/abide.1 updater/abide-system.conf.5 image/abide-image.1; do
	check "README: $page is a manual" grep -q '^\.SH NAME' "$top/$page"
done
finish
