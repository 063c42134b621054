#!/bin/sh
# memory over HTTPS: with all the authorities of Debian's, one request for many ranges, and several
# requests at a time where the server takes one range each, stay under 16 MiB plus the index.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_nginx.sh
. "$(dirname "$0")/lib_nginx.sh"

authorities=/etc/ssl/certs/ca-certificates.crt
if ! command -v nginx >/dev/null || [ ! -s $authorities ]; then
	ok "memory over HTTPS # SKIP there is no nginx, or no ca-certificates"
	finish
fi
case $build in
*asan*)
	ok "memory is measured without sanitizers # SKIP"
	finish
	;;
esac

# A release that differs in a hundred places: as many ranges, too far apart to be joined.
device 48M
configure b
grubenv B 0 0 1 0
noise 7 40000000 >"$work/old"
bundle old 1.1 "$work/old"
expect 0 "the release that runs" abide install "$work/old.abide"
configure a
grubenv A 1 0 0 0
cp "$work/old" "$work/new"
for spot in $(seq 200 400 39800); do
	noise "$spot" 100 | dd of="$work/new" bs=1000 seek="$spot" conv=notrunc status=none
done
bundle new 2.0 "$work/new"
index=$(tar -tvf "$work/new.abide" rootfs.index | awk '{ print $3 }')
limit=$((16 * 1024 + 2 * index / 1024))
rm "$work/old" "$work/old.abide"

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/tls.key" -out "$work/tls.pem" -days 30 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat $authorities "$work/tls.pem" >"$work/authorities"
sed -i "/^\\[source\\]/a ca-file = $work/authorities" "$work/system.conf"
servers() {
	cat <<-END
	log_format ranges '\$status \$connection';
	access_log $work/access.log ranges;
	server {
		listen 127.0.0.1:$http;
		location = / { access_log off; return 204; }
	}
	server {
		listen 127.0.0.1:$((http + 1)) ssl;
		ssl_certificate $work/tls.pem;
		ssl_certificate_key $work/tls.key;
		root $work;
		location /one/ { alias $work/; max_ranges 1; }
	}
	END
}
serve

measured() { # what path
	rm -f "$work/rootfs-b"
	truncate -s 48M "$work/rootfs-b"
	grubenv A 1 0 0 0
	: >"$work/access.log"
	expect 0 "$1" "$build/tests/tools/peak" "$work/peak" \
		"$ABIDE" -c "$work/system.conf" install "https://localhost:$((http + 1))$2"
	sleep 0.2 # the log's line is written when the answer is over
	connections=$(cut -d' ' -f2 "$work/access.log" | sort -u | wc -l)
	echo "# peak $(cat "$work/peak") KiB, limit $limit KiB, $(wc -l <"$work/access.log") requests, $connections connections"
	check "  under 16 MiB plus both indexes" [ "$(cat "$work/peak")" -le "$limit" ]
	check "  the slot holds the image" cmp -n 40000000 "$work/new" "$work/rootfs-b"
}
measured "many ranges in a request" /new.abide
measured "several requests at a time" /one/new.abide
check "  over several connections" [ "$connections" -ge 3 ]
finish
