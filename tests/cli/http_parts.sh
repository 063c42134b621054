#!/bin/sh
# Several ranges in a request: right answers, those of servers that cannot do it, and lies.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"
# shellcheck source=tests/cli/lib_lies.sh
. "$(dirname "$0")/lib_lies.sh"

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

finish
