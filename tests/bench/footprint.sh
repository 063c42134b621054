#!/bin/sh
# footprint.sh - what the programs are on a device: size without symbols, the shared libraries they
# bring, and what a look at the device's state and at a bundle takes.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

# A line: name, bytes of the program, libraries beside libc's, their bytes.
program() { # name file
	strip -o "$scratch/stripped" "$2" 2>/dev/null || cp "$2" "$scratch/stripped"
	ldd "$2" | sed -n 's,.* => \(/[^ ]*\) .*,\1,p' |
		grep -v -E '/(libc|libm|libdl|libpthread|librt|libresolv)\.so' >"$scratch/libraries"
	bytes=0
	while read -r library; do
		bytes=$((bytes + $(stat -L -c %s "$library")))
	done <"$scratch/libraries"
	printf '%s\tprogram\t-\t%s\t%s\t%s\n' "$1" "$(stat -c %s "$scratch/stripped")" \
		"$(wc -l <"$scratch/libraries")" "$bytes" >>"$results.new"
}

make_scratch
start_results
program "abide" "$build/abide"
program "abide-carrier" "$build/abide-carrier"
program "abide-carrier-http" "$build/abide-carrier-http"
for peer in rauc swupdate; do
	if command -v $peer >/dev/null; then program $peer "$(command -v $peer)"; fi
done

# A device with a sealed group, and nothing to wait for.
truncate -s 32M "$scratch/a" "$scratch/b"
abide_device "$scratch" "$scratch/a" "$scratch/b"
head -c 16M /dev/urandom >"$scratch/image"
abide-image bundle -o "$scratch/small.abide" --key "$BENCH/pki/signer.key" \
	--cert "$BENCH/pki/signer.pem" --compatible bench --version 1 \
	--image "rootfs=$scratch/image" >/dev/null
abide -c "$scratch/system.conf" install "$scratch/small.abide" >/dev/null
# RAUC takes no certificate for code signing unless it is told to.
cat >"$scratch/rauc.conf" <<-END
[system]
compatible=bench
bootloader=noop
[keyring]
path=$BENCH/pki/root.pem
check-purpose=codesign
END
round=0
while [ $round -lt $((4 * BENCH_ROUNDS)) ]; do
	round=$((round + 1))
	measured "true" look - true
	measured "openssl version" look - openssl version
	measured "abide status" look - abide -c "$scratch/system.conf" status
	measured "abide info" look - abide -c "$scratch/system.conf" info "$bundles/v2.ext4.abide"
	[ ! -f "$bundles/v2.ext4.raucb" ] || measured "rauc info" look - \
		rauc --conf="$scratch/rauc.conf" info "$bundles/v2.ext4.raucb"
done
finish_results
