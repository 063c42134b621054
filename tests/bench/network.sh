#!/bin/sh
# network.sh - an update from v1 to v2 over a bad line: 1 MiB/s, round trips of 200 ms, and 1 % of the
# connections dropped (slowlink.c: 1 % of the new ones, and 1 % for each MiB that one carries). One
# run each, with the same losses: the line decides, not the machine.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

rate=${BENCH_RATE:-1048576}
type=${BENCH_NETWORK_IMAGE:-ext4}

link() {
	slowlink $((port + 1)) $port "$rate" 100 10000 7 &
	link=$!
	children="$children $link"
	sleep 0.2
}

# A failure is a result too: how far it got, and when it gave up.
over_line() { # name image command...
	line_name=$1 line_type=$2
	shift 2
	link
	count_sent
	say "over the line: $line_name"
	status=0
	# shellcheck disable=SC2016 # expanded by that shell
	measure -o "$scratch/figures" sh -c '"$@" || echo $? >"$0"' "$scratch/status" "$@" \
		>"$scratch/log" 2>&1
	[ ! -e "$scratch/status" ] || status=$(cat "$scratch/status")
	rm -f "$scratch/status"
	end_child "$link"
	count_sent
	printf '%s\tline\t%s\t%s\t%s\t%s\t%s\n' "$line_name" "$line_type" \
		"$(tail -n 1 "$scratch/figures" | cut -f1)" "$sent" "$requests" "$status" \
		>>"$results.new"
	cp "$scratch/log" "$BENCH/results/line-$(echo "$line_name" | tr -c 'a-zA-Z0-9\n' _).log"
}

slots() {
	size=$(($(stat -c %s "$images/v1.$type") / 1048576 + 34))
	rm -f "$ram/a" "$ram/b"
	truncate -s "${size}M" "$ram/a" "$ram/b"
}

make_scratch
mount_ram
mkdir "$scratch/www"
cp "$bundles/v2.$type.abide" "$bundles/v2.$type.3.swu" "$scratch/www/"
serve "$scratch/www"
link=
start_results

if command -v swupdate >/dev/null; then
	slots
	ln -sf "$ram/b" "$BENCH/swupdate-slot"
	over_line "SWUpdate, zstd" "$type" swupdate -H board:1.0 -l 3 -k "$BENCH/pki/root.pem" \
		--cert-purpose codeSigning -d "-u http://127.0.0.1:$((port + 1))/v2.$type.3.swu -r 10"
fi

slots
abide_device "$scratch" "$ram/a" "$ram/b" a
over_line "abide, onto nothing" "$type" \
	abide -c "$scratch/system.conf" install "http://127.0.0.1:$((port + 1))/v2.$type.abide"

slots
abide_device "$scratch" "$ram/a" "$ram/b" b
abide -c "$scratch/system.conf" install "$bundles/v1.$type.abide" >/dev/null 2>&1
abide_device "$scratch" "$ram/a" "$ram/b" a
over_line "abide, v1 runs" "$type" \
	abide -c "$scratch/system.conf" install "http://127.0.0.1:$((port + 1))/v2.$type.abide"
finish_results
