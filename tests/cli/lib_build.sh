# lib_build.sh - for sourcing: what tests of the house itself share: a directory of its own, $work, and
# a count.
#
#	ok "what" command...        what it said, if $work/out has it, is shown when it fails
#	refused "message" command...
#	plain_build_only            skips the rest with another build's flags
#	finish
# shellcheck shell=sh
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${ABIDE_BUILD:-$top/build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

ok() { # what command...
	what=$1
	shift
	if "$@"; then
		echo "ok - $what"
	else
		echo "not ok - $what"
		[ ! -s "$work/out" ] || sed 's/^/# /' "$work/out" | tail -n 20
		failed=1
	fi
}

refused() { # message command...
	message=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		ok "refused: $message" false
	else
		ok "refused: $message" grep -q "$message" "$work/out"
	fi
}

plain_build_only() {
	case $build in
	*/build) ;;
	*) echo "ok - built once is enough # SKIP with another build's flags" && exit 0 ;;
	esac
}

finish() {
	exit "$failed"
}
