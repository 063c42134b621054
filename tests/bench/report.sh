#!/bin/sh
# report.sh - $BENCH/results/*.tsv as tables in RESULTS.md and a plot in results.svg, here for a full
# run, in $BENCH for a quick one.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

here=$top/tests/bench
out=$here
[ "${BENCH_QUICK:-0}" != 1 ] || out=$BENCH

rows() { # part
	grep -v '^#' "$BENCH/results/$1.tsv" 2>/dev/null || true
}

remarks() { # part
	sed -n 's/^# //p' "$BENCH/results/$1.tsv" 2>/dev/null | tr '\n' ' ' | sed 's, $,,'
}

version() { # package
	dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo none
}

MiB() { # file
	stat -c %s "$1" | awk '{ printf "%.1f MB", $1 / 1e6 }'
}

machine() {
	cat <<-END
	| | |
	|---|---|
	| date | $(date -u +%Y-%m-%d) |
	| machine | $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)$(grep -q "^flags.* hypervisor" /proc/cpuinfo && echo ", virtual") |
	| system | Linux $(uname -r), Debian $(cat /etc/debian_version) |
	| RAUC, SWUpdate | Debian's $(version rauc), $(version swupdate) |
	| images | v1, v2: Debian packages, $(cat "$BENCH/changed") changed; ext4 $(MiB "$images/v2.ext4"), squashfs $(MiB "$images/v2.squashfs-zstd") (zstd), $(MiB "$images/v2.squashfs-xz") (xz), erofs $(MiB "$images/v2.erofs"), $(MiB "$images/v2.erofs-lz4") (lz4) |
	| install | $(remarks install) |
	| footprint | $(remarks footprint) |
	| bundle | $(remarks bundle) |
	| bytes | $(remarks bytes) |
	| network | $(remarks network) |
	END
}

# A table of medians for each image and medium; ratios are to the first row, which is the floor.
install_table() { # image medium
	echo
	echo "### $1, slot over $2"
	echo
	echo "| | s | × floor | CPU s | peak RSS MiB | anonymous MiB | device: MB read | MB written |"
	echo "|---|---|---|---|---|---|---|---|"
	rows install | awk -F '\t' -v image="$1" -v medium="$2" -v wait=1 -f "$here/medians.awk" |
		awk -F '\t' 'NR == 1 { floor = $2 }
			{ printf "| %s | %.2f | %.1f | %.2f | %.1f | %.1f | %.0f | %.0f |\n", $1, $2,
				$2 / floor, $3, $4 / 1024, $5 / 1024, $6 / 1e6, $7 / 1e6 }'
}

bundle_table() {
	echo "| | s | CPU s | peak RSS MiB | size MB |"
	echo "|---|---|---|---|---|"
	rows bundle | awk -F '\t' '$2 == "size" { print $1 "\t" $4 }' | sort -u >"$BENCH/sizes"
	rows bundle | awk -F '\t' -v image=ext4 -v medium=disk -f "$here/medians.awk" |
		awk -F '\t' -v sizes="$BENCH/sizes" '
			BEGIN { while ((getline line < sizes) > 0) { split(line, f, "\t"); size[f[1]] = f[2] } }
			{ printf "| %s | %.1f | %.1f | %.0f | %.1f |\n", $1, $2, $3, $4 / 1024, size[$1] / 1e6 }'
}

# CPU seconds, not wall: other work on the machine disturbs them less.
isolation_table() {
	echo "| slot over | | s | CPU s | context switches |"
	echo "|---|---|---|---|---|"
	for medium in tmpfs disk; do
		rows install | awk -F '\t' -v image=ext4 -v medium="$medium" -f "$here/medians.awk" |
			awk -F '\t' -v medium="$medium" '
				$1 == "abide" || $1 == "abide, in one process" {
					printf "| %s | %s | %.2f | %.2f | %d |\n", medium, $1, $2, $3, $8
					cpu[$1] = $3 }
				END { if (cpu["abide"] > 0) printf "| %s | the difference, of abide | | %.1f %% | |\n", medium,
					100 * (1 - cpu["abide, in one process"] / cpu["abide"]) }'
	done
}

program_table() {
	echo "| | KB without symbols | libraries beside libc | their KB |"
	echo "|---|---|---|---|"
	rows footprint | awk -F '\t' '$2 == "program" {
		printf "| %s | %.0f | %d | %.0f |\n", $1, $4 / 1000, $5, $6 / 1000 }'
	echo
	echo "| | ms | CPU ms | peak RSS MiB |"
	echo "|---|---|---|---|"
	rows footprint | awk -F '\t' -v image=- -v medium=look -f "$here/medians.awk" |
		awk -F '\t' '{ printf "| %s | %.1f | %.1f | %.1f |\n", $1, 1000 * $2, 1000 * $3, $4 / 1024 }'
}

bytes_table() {
	echo "| image | | MB fetched | of the full bundle | requests |"
	echo "|---|---|---|---|---|"
	rows bytes | awk -F '\t' '$2 == "fetched" { printf "| %s | %s | %.2f | %.1f %% | %s |\n", $3,
		$1, $4 / 1e6, 100 * $4 / $6, $1 ~ /^xdelta/ ? "–" : $5 }'
}

# Time and memory of what was counted above: by image, one run each.
delta_table() {
	echo "| image | | s | CPU s | peak RSS MiB |"
	echo "|---|---|---|---|---|"
	rows bytes | awk -F '\t' '$2 == "tmpfs" && $1 ~ /delta/ { printf "| %s | %s | %.1f | %.1f | %.0f |\n", $3,
		$1, $4, $5, $6 / 1024 }'
}

network_table() {
	echo "| | s | MB sent | connections and requests | |"
	echo "|---|---|---|---|---|"
	rows network | awk -F '\t' '$2 == "line" { printf "| %s | %.1f | %.1f | %d | %s |\n", $1, $4,
		$5 / 1e6, $6, $7 == 0 ? "installed" : "gave up, exit status " $7 }'
}

page() {
	cat <<-END
	# What \`make bench\` measured last

	Written by [report.sh](report.sh); what it means and how it is done is in [README.md](README.md).

	![time of a full install](results.svg)

	$(machine)

	Load is the average of 1, 5 and 15 minutes: what is beyond one or two is other work on the same cores.

	## A full install

	Of v2 into a slot that holds noise. Medians of $(rows install |
		awk -F '\t' '{ n[$1 $2 $3]++ } END { for (i in n) if (n[i] > m) m = n[i]; print m }') rounds, one after the other. All of abide's rows but "no read-back" read the
	whole slot back from the medium; RAUC and SWUpdate do not read back. SWUpdate's time holds a wait of 1 s (a
	\`clock_nanosleep\`, whatever the size), which is taken off in the row "less its wait". Peak RSS counts pages that
	processes share once for each; mapped files are in it, in "anonymous" they are not.
	$(for image in ext4 squashfs-zstd; do
		for medium in tmpfs disk; do install_table $image $medium; done
	done)

	## What isolation costs

	The carrier is a process without rights. "In one process" is an abide of the bench whose carrier is a thread
	([inprocess.c](inprocess.c)). Each fetched byte is copied once from the carrier's memory into the installer's own, in
	both; what lies between them is the process with its libraries and its sandbox, and the messages.

	$(isolation_table)

	## On the device

	$(program_table)

	## Making a bundle

	Of v2 as ext4, signed; rounds: $(rows bundle | awk -F '\t' '$2 == "disk" { n[$1]++ } END { for (i in n) print n[i] }' | sort -n | head -n 1). abide's default level is 15. SWUpdate has no program for it: zstd -T0, openssl
	and cpio, as its manual has it.

	$(bundle_table)

	## Bytes from v1 to v2

	By the log of the web server. The device runs v1 in one group, the other is empty. \`xdelta3\` is no update: it has the
	whole old image and $(rows bytes | awk -F '\t' '$1 == "xdelta3 -9" && $2 == "tmpfs" { if ($6 > m) m = $6 } END { printf "%.0f MiB", m / 1024 }') of memory.

	$(bytes_table)

	What making and applying took; abide's processes count twice what they share. \`abide-image\` has the old image mapped,
	which counts as its memory.

	$(delta_table)

	## Over a bad line

	1 MiB/s, round trips of 200 ms, 1 % of the connections dropped ([slowlink.c](../tools/slowlink.c)); ext4, one run each.
	RAUC 1.8 streams through a network block device, which this kernel may not have: it is left out.

	$(network_table)
	END
}

page | sed 's/^	*//' >"$out/RESULTS.md.new"
mv "$out/RESULTS.md.new" "$out/RESULTS.md"
rows install | awk -F '\t' -f "$here/plot.awk" >"$out/results.svg.new"
mv "$out/results.svg.new" "$out/results.svg"
cat "$out/RESULTS.md"
