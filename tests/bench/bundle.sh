#!/bin/sh
# bundle.sh - time and size of making a signed bundle of v2, by abide-image, `rauc bundle` and the
# commands SWUpdate's manual names; and all bundles that the other parts install.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${BENCH_BUNDLE_ROUNDS:-5}
key=$BENCH/pki/signer.key
cert=$BENCH/pki/signer.pem

abide_bundle() { # image-type release level
	abide-image bundle -o "$bundles/$2.$1.abide" --key "$key" --cert "$cert" \
		--compatible bench --version "${2#v}" --security-version 1 --level "$3" \
		--image "rootfs=$images/$2.$1"
}

# The payload as a squashfs, which RAUC makes itself.
rauc_bundle() { # image-type
	rm -rf "$scratch/rauc" "$bundles/v2.$1.raucb"
	mkdir "$scratch/rauc"
	ln "$images/v2.$1" "$scratch/rauc/rootfs.img"
	cat >"$scratch/rauc/manifest.raucm" <<-END
	[update]
	compatible=bench
	version=2
	[bundle]
	format=plain
	[image.rootfs]
	filename=rootfs.img
	END
	rauc --cert "$cert" --key "$key" --mksquashfs-args="-comp zstd" bundle "$scratch/rauc" \
		"$bundles/v2.$1.raucb"
}

# Compressed by zstd at level 3 or 'none'. The slot's name is what install.sh makes.
swupdate_bundle() { # image-type level
	rm -rf "$scratch/swu"
	mkdir "$scratch/swu"
	if [ "$2" = none ]; then
		ln "$images/v2.$1" "$scratch/swu/rootfs"
		compressed=
	else
		zstd -q -T0 "-$2" "$images/v2.$1" -o "$scratch/swu/rootfs"
		compressed='compressed = "zstd";'
	fi
	cat >"$scratch/swu/sw-description" <<-END
	software = {
		version = "2.0";
		hardware-compatibility: ["1.0"];
		images: ({
			filename = "rootfs";
			device = "$BENCH/swupdate-slot";
			type = "raw";
			$compressed
			sha256 = "$(openssl dgst -sha256 -r "$scratch/swu/rootfs" | cut -d' ' -f1)";
			installed-directly = true;
		});
	}
	END
	openssl cms -sign -in "$scratch/swu/sw-description" -out "$scratch/swu/sw-description.sig" \
		-signer "$cert" -inkey "$key" -outform DER -nosmimecap -binary
	(cd "$scratch/swu" && printf '%s\n' sw-description sw-description.sig rootfs |
		cpio -o -H crc --quiet) >"$bundles/v2.$1.$2.swu"
}

# Called again by itself, for measure: one function, one process.
if [ "${1-}" = call ]; then
	scratch=$BENCH_SCRATCH
	shift
	trap - EXIT
	"$@"
	exit
fi

size() {
	stat -c %s "$1"
}

# The size takes the place of the bytes written, which no device has counted here.
made() { # name image file function [argument]...
	made_name=$1 made_image=$2 made_file=$3
	shift 3
	BENCH_SCRATCH=$scratch measured "$made_name" disk "$made_image" "$0" call "$@"
	printf '%s\tsize\t%s\t%s\n' "$made_name" "$made_image" "$(size "$made_file")" >>"$results.new"
}

make_scratch
mkdir -p "$bundles"
[ -d "$BENCH/pki" ] || abide-image keys "$BENCH/pki" >/dev/null
start_results
round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	say "bundles, round $round of $rounds"
	made "abide, level 3" ext4 "$bundles/v2.ext4.abide" abide_bundle ext4 v2 3
	made "abide, level 15" ext4 "$bundles/v2.ext4.abide" abide_bundle ext4 v2 15
	made "SWUpdate, zstd -3" ext4 "$bundles/v2.ext4.3.swu" swupdate_bundle ext4 3
	made "RAUC, zstd squashfs" ext4 "$bundles/v2.ext4.raucb" rauc_bundle ext4
done
swupdate_bundle ext4 none
rauc_bundle squashfs-zstd >/dev/null 2>&1
swupdate_bundle squashfs-zstd none
for type in ext4 squashfs-zstd squashfs-xz erofs erofs-lz4; do
	say "abide bundles of $type"
	abide_bundle "$type" v1 1
	[ "$type" = ext4 ] || abide_bundle "$type" v2 15
done
finish_results
