#!/bin/sh
# A server that lies, of each kind there is: what is said, with which exit status, and that nothing is
# sealed and the running group boots. And what a server may do: there the update succeeds.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"

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

# ---- one range ----
refused_late range-wrong "another range than asked for" 'another range'
refused_late range-late "a range that ends elsewhere" 'another range'
refused_late range-short "a length that is not the range's" 'another range'
refused_late range-endless "a range without its end" 'another range'
refused_late range-whole "the whole file instead of a range" 'does not take ranges'
refused_late range-changed "another file in between" 'changed on the server'
refused_late range-encoded "a compressed range" 'Content-Encoding'
refused_late range-parts "parts where one range was asked for" 'several parts|multipart'
refused_late range-gone "416 for a range that is there" '416 Range Not Satisfiable'

# ---- several ranges ----
succeeds parts "several ranges as parts"
not_said "  and nothing is said" 'one by one'
succeeds parts-cut "parts that are cut off" 'connection lost at .*resuming'
one_by_one='asked for one by one'
succeeds range "only the first of several ranges" "$one_by_one"
succeeds parts-whole "the whole file for several ranges" "$one_by_one"
succeeds parts-refused "416 for several ranges" "$one_by_one"
succeeds parts-swapped "parts in another order" "$one_by_one"
succeeds parts-joined "parts that are joined" "$one_by_one"
succeeds parts-fewer "a part less" "$one_by_one"
succeeds parts-more "a part more" "$one_by_one"
succeeds parts-wrong "a part that begins elsewhere" "$one_by_one"
succeeds parts-empty "no parts at all" "$one_by_one"
refused_late parts-total "a part of a longer file" 'multipart answer is malformed'
refused_late parts-malformed "another boundary" 'multipart answer is malformed'
refused_late parts-endless "a part without an end" 'multipart answer is malformed'
refused_late parts-encoded "a compressed part" 'multipart answer is malformed'
refused_late parts-changed "parts of another file" 'changed on the server'

# ---- bodies ----
refused_early encoded "a compressed file" 'Content-Encoding'
refused_early garbage "not HTTP" 'HTTP/0\.9|HTTP'
refused_early drip "a slow drip" 'too slow: .* expected at least 5000 a second'
refused_early hang "no answer" 'no answer within 2 seconds'
refused_late short "a body that is too short" 'the server does not take ranges'
refused_at_end longer "a body that does not end" 'more than the [0-9]* bytes it announced'
refused_at_end chunked-cut "chunks without the last one" 'does not take ranges'
refused_late hang-body "silence half-way" 'does not take ranges'
refused_late reset-refused "cut off, and no ranges" 'does not take ranges'
succeeds reset-once "cut off once" 'connection lost at .*resuming'
succeeds hang-once "silence, once" 'connection lost at .*resuming'
succeeds range-refused "416 to every range: the whole is read"
succeeds chunked "no length"

# ---- redirects ----
refused_early redirect "a redirect to itself" 'more than 5 redirects' /again
refused_early redirect "a redirect to another protocol" 'neither http nor https' ftp://127.0.0.1/x
refused_early redirect "a redirect to a file" 'neither http nor https' file:///etc/passwd
serve parts
other=http://localhost:${bad##*:}
kept=$server
serve redirect "$other"
expect 0 "a redirect to another host" abide install "$bad"
check "  the image is right" cmp -s -n "$(stat -c %s "$work/image-2")" "$work/image-2" "$work/rootfs-b"
end_server
server=$kept
end_server
finish
