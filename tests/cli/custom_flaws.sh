#!/bin/sh
# The conformance test for custom bootloader programs finds each flaw.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

TOOL=$build/tests/tools/custom_hook
STATE='{"primary":"a","a":{"good":true,"bad":false,"tries":0},"b":{"good":false,"bad":true,"tries":0}}'

program() { # name script
	printf '#!/bin/sh\nset -eu\nfile=%s/%s.state\n%s\n' "$work" "$1" "$2" >"$work/$1"
	chmod 755 "$work/$1"
	echo "$STATE" >"$work/$1.state"
}

finds() { # flaw pattern
	expect 1 "$1" "$TOOL" "$work/$1"
	said "finds it" "^not ok - $2"
}

# shellcheck disable=SC2016 # for the programs' shell
{
	get='get-state) cat "$file" ;;'
	none='*) exit 2 ;;'
	program forgets "case \$1 in $get commit) sed s/3/2/ >\"\$file.new\"; mv \"\$file.new\" \"\$file\" ;; $none esac"
	program lies "case \$1 in $get commit) cat >/dev/null ;; $none esac"
	program tears "case \$1 in $get commit) x=\$(cat); printf '%s' '{' >\"\$file\"; sleep 0.05; echo \"\$x\" >\"\$file\" ;; $none esac"
	program trusts "case \$1 in $get commit) cat >\"\$file.new\"; mv \"\$file.new\" \"\$file\" ;; $none esac"
	# In two changes, each of them whole: the primary first.
	program steps 'case $1 in '"$get"' commit)
		x=$(cat)
		sed "s/\"primary\":\"[ab]\"/$(echo "$x" | grep -o "\"primary\":\"[ab]\"")/" "$file" >"$file.new"
		mv "$file.new" "$file"
		sleep 0.1
		echo "$x" >"$file.new"
		mv "$file.new" "$file" ;; '"$none"' esac'
	# Left behind by a commit that was killed.
	program locks 'case $1 in '"$get"' commit) mkdir "$file.lock"; x=$(cat); sleep 0.02
		echo "$x" >"$file.new"; mv "$file.new" "$file"; rmdir "$file.lock" ;; '"$none"' esac'
}
finds forgets 'each of [0-9]+ states .*get-state says otherwise'
finds lies 'each of [0-9]+ states '
finds tears 'get-state beside a commit '
finds steps 'get-state beside a commit .*a mix'
finds trusts 'rubbish is refused'
finds locks 'a commit that is killed .*File exists'
program nothing 'exit 1'
finds nothing 'get-state says a state'
expect 2 "usage" "$TOOL" not/absolute
finish
