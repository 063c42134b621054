#!/bin/sh
# A server that lies about one range, the whole file, or where it is: what is said, with which exit
# status, and that nothing is sealed and the running group boots. And what a server may do: there the
# update succeeds.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"
# shellcheck source=tests/cli/lib_lies.sh
. "$(dirname "$0")/lib_lies.sh"

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
