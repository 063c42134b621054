#!/bin/sh
# floors.sh - does every file include only what it may? (updater/README.md, "Floors")
#
# 1. A file includes no project header of a floor above its own.
# 2. A third-party header has one .c to live in, or a few that are named here.
# 3. The carrier knows nothing of slots, keys or boot.
set -eu
cd "$(dirname "$0")/../.."

# module -> floor. Everything in carrier/ and bootloader-hooks/ is floor 1.
floors='
err 0 log 0 mem 0 crc32 0 fs 0 blockdev 0 digest 0 group 0 worker 0 process 0
signature 1 chain 1 manifest 1 field 1 index 1 header 1 seal 1 slot 1 health 1 journal 1 config 1 lock 1 since_boot 1
carrier 1 bootloader 1 hooks 1 model 1 order 1 probe 1
state 2 policy 2 plan 2 writer 2 base 2
device 3 readback 3 fill 3 record 3 artifact 3 seeds 3 install 3 confirm 3
abide 4
'
# header prefix -> the files that may include it, as one extended regular expression
thirdparty='
archive.h ^(updater/carrier/container|image/[a-z_]*)\.c$
archive_entry.h ^(updater/carrier/container|image/[a-z_]*)\.c$
openssl/ ^(updater/(digest|signature|chain|carrier/http_trust)|image/(pki|signer))\.c$
blkid/ ^(updater/slot|bootloader-hooks/efi/partition)\.c$
jansson.h ^(updater/(field|journal|ui_json)|bootloader-hooks/custom/json|image/[a-z_]*)\.c$
ini.h ^(updater/config|image/[a-z_]*)\.c$
curl/ ^updater/carrier/http_(transfer\.c|pool\.c|pool_state\.h)$
zstd ^(updater/carrier/decode|image/[a-z_]*)\.c$
seccomp.h ^updater/carrier/sandbox_filter\.c$
libuboot.h ^bootloader-hooks/uboot/store\.c$
libfdisk/ ^image/[a-z_]*\.c$
'
# What the carrier may include beside the ground floor and itself.
carrier_may='^updater/(err|log|mem|fs|blockdev|digest|group|index|manifest|carrier)\.h$|^updater/carrier/'

bad=$(grep -HEo '^#include [<"][^>"]*[>"]' updater/*.[ch] updater/*/*.[ch] bootloader-hooks/*.[ch] \
	bootloader-hooks/*/*.[ch] image/*.[ch] 2>/dev/null |
	awk -v floors="$floors" -v third="$thirdparty" -v carrier="$carrier_may" '
	BEGIN {
		n = split(floors, w); for (i = 1; i < n; i += 2) floor[w[i]] = w[i + 1]
		n = split(third, w); for (i = 1; i < n; i += 2) allowed[w[i]] = w[i + 1]
	}
	function module(path) { sub(/.*\//, "", path); sub(/\.[ch]$/, "", path); return path }
	function floor_of(path,   m) {
		m = module(path)
		if (path ~ /^updater\/carrier\// || path ~ /^bootloader-hooks\//) return 1
		if (path ~ /^image\//) return 5
		if (m ~ /^(cmd$|cmd_|ui)/) return 4
		# a module of several files is named after the first: config_slots.c is config
		while (!(m in floor) && sub(/_[^_]*$/, "", m)) ;
		return (m in floor) ? floor[m] : -1
	}
	{
		split($0, part, ":"); file = part[1]; what = $2; gsub(/[<>"]/, "", what)
		own = floor_of(file)
		if (own < 0) { print file ": on no floor: add it to tests/lint/floors.sh"; next }
		if (what ~ /^(updater|bootloader-hooks|image)\//) {
			if (floor_of(what) > own)
				print file ": floor " own " includes " what ", floor " floor_of(what)
			if (file ~ /^updater\/carrier\// && what !~ carrier)
				print file ": the carrier may not know " what
			next
		}
		if (what ~ /^tests\//) print file ": a program includes " what
		for (prefix in allowed)
			if (index(what, prefix) == 1 && file !~ allowed[prefix])
				print file ": " what " has its place in " allowed[prefix]
	}' | sort -u)
[ -z "$bad" ] || { echo "$bad" >&2; exit 1; }

# A third-party header in image/ has one file there, too.
for header in archive.h archive_entry.h ini.h jansson.h zstd libfdisk/; do
	count=$(grep -lE "^#include <$header" image/*.c 2>/dev/null | wc -l)
	[ "$count" -le 1 ] || { echo "image/: $header is included by $count files" >&2; exit 1; }
done
