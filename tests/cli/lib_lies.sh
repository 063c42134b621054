# lib_lies.sh - for sourcing after lib.sh and lib_bad.sh: two releases, and a server that misbehaves in
# one of the ways of tests/bad_server.h while the second is installed.
#
#	refused_early MODE "what" 'message'   before anything is written
#	refused_late MODE "what" 'message'    after writing began: nothing is sealed, a boots
#	refused_at_end MODE "what" 'message'  when all has come: a boots
#	succeeds MODE "what" ['note']
# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh sets them

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY || true

# Two releases that differ in twelve places, so that several ranges are missing.
image() { # file release
	for part in 1 2 3 4 5 6 7 8 9 10 11 12; do
		noise "$part" 200000
		noise "$((100 * $2 + part))" 60000
	done >"$1"
	truncate -s %4096 "$1"
}

device 8M
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
sed -i 's/^stall-timeout.*/stall-timeout = 2\nmin-rate = 5000/; s/^retries.*/retries = 2/' "$work/system.conf"
remember

# Sets $bad, the URL.
serve() { # mode [location]
	rm -f "$work/port"
	"$build/tests/tools/badserver" "$1" "$work/2.abide" ${2+"$2"} >"$work/port" &
	server=$!
	children="$children $server"
	tries=0
	until [ -s "$work/port" ] || [ $tries -ge 100 ]; do
		sleep 0.1
		tries=$((tries + 1))
	done
	bad=http://127.0.0.1:$(cat "$work/port")/2.abide
}

end_server() {
	kill "$server"
	wait "$server" 2>/dev/null || true
}

not_sealed() {
	! abide status --json | grep -Eq '"b":\{[^{}]*"seal":"sealed"'
}

# In the header, before anything is written; or in the data, when writing has begun.
refused_early() { # mode what pattern [location]
	serve "$1" ${4+"$4"}
	early 8 "$2" "$3"
	end_server
}

# All of the image has come, and was read back: it may be sealed, but is not activated.
refused_at_end() { # mode what pattern
	serve "$1"
	expect 8 "$2" abide install "$bad"
	said "  is told" "^abide: install '$bad': .*($3)"
	said "  and what the groups are now" 'group a is untouched and boots next; group b does not boot'
	check "  a boots, and what is sealed is what was signed" still_boots_a
	restore
	end_server
}

refused_late() { # mode what pattern
	serve "$1"
	expect 8 "$2" abide install "$bad"
	said "  is told" "^abide: install '$bad': .*($3)"
	said "  and what the groups are now" 'group a is untouched and boots next; group b does not boot'
	check "  nothing is sealed" not_sealed
	check "  a boots, and what is sealed is what was signed" still_boots_a
	restore
	end_server
}

succeeds() { # mode what [pattern]
	serve "$1"
	expect 0 "$2" abide install "$bad"
	[ $# -lt 3 ] || said "  it is said" "$3"
	check "  the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
	restore
	end_server
}
