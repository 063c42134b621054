#!/bin/sh
# Over HTTP and HTTPS, from a real web server on loopback that also misbehaves.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=tests/cli/lib_nginx.sh
. "$(dirname "$0")/lib_nginx.sh"

command -v nginx >/dev/null || {
	echo "ok - http # SKIP there is no nginx"
	finish
}

device 8M
# Nothing of it is on the device: it has to come from the server.
{
	noise 21 4000000
	head -c 307200 /dev/zero
} >"$work/image-2"
truncate -s %4096 "$work/image-2"
bundle 2 2.0 "$work/image-2"
mkdir -p "$work/www/slow" "$work/www/paced" "$work/www/whole"
for directory in . slow paced whole; do cp "$work/2.abide" "$work/www/$directory"; done
head -c 100000 "$work/2.abide" >"$work/www/short.abide"
cp "$work/2.abide" "$work/www/long.abide"
noise 1 5000 >>"$work/www/long.abide"

# ---- a server, with a certificate for its own name ----
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/tls.key" -out "$work/tls.pem" -days 30 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
servers() {
	cat <<-END
	access_log off;
	server {
		listen 127.0.0.1:$http;
		root $work/www;
		location /slow/ { limit_rate 200; }
		location /paced/ { limit_rate_after 300k; limit_rate 1m; }
		location /whole/ { max_ranges 0; limit_rate_after 300k; limit_rate 1m; }
		location = /moved { return 302 /2.abide; }
		location = /up { return 302 https://localhost:$((http + 1))/2.abide; }
		location = /loop { return 302 /loop; }
		location = /file { return 302 file:///etc/passwd; }
		location = /500 { return 500; }
		location = /403 { return 403; }
		location = /close { return 444; }
	}
	server {
		listen 127.0.0.1:$((http + 1)) ssl;
		ssl_certificate $work/tls.pem;
		ssl_certificate_key $work/tls.key;
		root $work/www;
		location = /down { return 302 http://127.0.0.1:$http/2.abide; }
		location = /moved { return 302 /2.abide; }
	}
	END
}

# Master and worker, without a goodbye.
kill_server() {
	worker=$(cat "/proc/$server/task/$server/children")
	# shellcheck disable=SC2086 # words
	kill -KILL "$server" $worker
	wait "$server" 2>/dev/null || true
}

serve

remember() { cp "$work/rootfs-b" "$work/rootfs-b.ref"; }
unchanged() { cmp -s "$work/rootfs-b" "$work/rootfs-b.ref" && [ "$(variable ORDER)" = A ]; }
empty_b() {
	rm -f "$work/rootfs-b"
	truncate -s 8M "$work/rootfs-b"
	grubenv A 1 0 0 0
}
remember

# ---- what works ----
expect 0 "info" abide info "$url/2.abide"
said "it is 2.0" '^version +2\.0$'
expect 0 "plan" abide plan "$url/2.abide"
expect 0 "install" abide install --json "$url/2.abide"
check "about as much was read as there is" [ "$(field fetched)" -le "$(stat -c %s "$work/2.abide")" ]
expect 0 "verify" abide verify b
expect 0 "install again" abide install --json "$url/2.abide"
check "nothing is written" [ "$(field written)" = 0 ]
empty_b
expect 0 "redirected" abide install "$url/moved"
empty_b

# ---- what does not, before anything is written ----
fails() { # status what url pattern
	expect "$1" "$2" abide install "$3"
	said "  is told" "$4"
	check "  nothing was written" unchanged
}
fails 8 "nobody listens" "http://127.0.0.1:1/x.abide" 'refused|connect'
fails 8 "a name that is none" "http://nowhere.invalid/x.abide" "resolve|nowhere\.invalid"
fails 8 "not found" "$url/nothing.abide" '404'
fails 8 "an error of the server" "$url/500" '500'
fails 8 "forbidden" "$url/403" '403'
fails 8 "a redirect loop" "$url/loop" 'redirect'
fails 8 "a redirect to a file" "$url/file" 'redirect|protocol|file'
fails 8 "the connection is closed at once" "$url/close" 'reply|empty|closed|server'
sed -i 's/^stall-timeout.*/stall-timeout = 2\nmin-rate = 5000/' "$work/system.conf"
fails 8 "a drip" "$url/slow/2.abide" '5000|slow|rate'
fails 1 "another protocol is no URL but a path" "ftp://127.0.0.1/2.abide" "'ftp://127.0.0.1/2.abide': No such file"
sed -i 's/^stall-timeout.*/stall-timeout = 10/; /^min-rate/d' "$work/system.conf"

# ---- a body that is too short or too long ----
expect 3 "a file that was cut off" abide install "$url/short.abide"
said "  is told" 'truncated'
check "  a boots" [ "$(variable ORDER)" = A ]
empty_b
expect 3 "a file with something behind it" abide install "$url/long.abide"
said "  is told" 'after the end'
check "  a boots" [ "$(variable ORDER)" = A ]
empty_b

# ---- TLS ----
remember
fails 8 "a certificate that nobody vouches for" "https://localhost:$((http + 1))/2.abide" 'certificate'
# Others' authorities, and the one that is needed, first and last.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/other.key" -out "$work/other.pem" -days 30 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
sed -i "/^\\[source\\]/a ca-file = $work/roots.pem" "$work/system.conf"
cp "$work/other.pem" "$work/roots.pem"
fails 8 "a certificate that another authority vouches for" "https://localhost:$((http + 1))/2.abide" 'certificate'
echo nothing >"$work/roots.pem"
fails 8 "a file without a certificate" "https://localhost:$((http + 1))/2.abide" 'no usable CA certificates'
head -c 700 "$work/other.pem" | cat "$work/tls.pem" - >"$work/roots.pem"
fails 8 "one that is cut off" "https://localhost:$((http + 1))/2.abide" 'no usable CA certificates'
cat "$work/other.pem" "$work/tls.pem" >"$work/roots.pem"
expect 0 "the last of two authorities" abide info "https://localhost:$((http + 1))/2.abide"
cat "$work/tls.pem" "$work/other.pem" >"$work/roots.pem"
expect 0 "the first of two" abide info "https://localhost:$((http + 1))/2.abide"
fails 8 "a certificate for another name" "https://127.0.0.1:$((http + 1))/2.abide" 'certificate|127\.0\.0\.1'
fails 8 "a redirect from https down to http" "https://localhost:$((http + 1))/down" 'redirected from https down'
expect 0 "https" abide install "https://localhost:$((http + 1))/2.abide"
empty_b
expect 0 "a redirect within https" abide install "https://localhost:$((http + 1))/moved"
empty_b
expect 0 "a redirect from http up to https, of another name" abide install "$url/up"
empty_b

# ---- the connection breaks half-way ----
sed -i 's/^retries.*/retries = 20/' "$work/system.conf"
break_transfer() { # directory
	abide install "$url/$1/2.abide" >"$work/out" 2>"$work/err" &
	installer=$!
	sleep 1.5
	kill_server
	start_server || not_ok "the server does not come back"
	status=0
	wait "$installer" || status=$?
}
break_transfer paced
check "broken off, with ranges: it goes on (exit status $status)" [ "$status" -eq 0 ]
said "  it says so" 'resum|going on|again|lost'
expect 0 "  and is right" abide verify b
empty_b
break_transfer whole
check "broken off, without ranges: exit status 8 (it was $status)" [ "$status" -eq 8 ]
said "  it says why" 'range'
check "  a boots" [ "$(variable ORDER)" = A ]
expect 0 "  the next install goes on" abide install "$url/2.abide"
expect 0 "  and is right" abide verify b

# ---- a device that takes no URLs ----
mkdir "$work/files-only"
cp "$ABIDE" "$(dirname "$ABIDE")/abide-carrier" "$work/files-only"
expect 1 "without the carrier for URLs" \
	"$work/files-only/abide" -c "$work/system.conf" info "$url/2.abide"
said "  it says what is missing" "there is no 'abide-carrier-http' beside '.*files-only'"
expect 0 "  a file needs none" "$work/files-only/abide" -c "$work/system.conf" info "$work/www/2.abide"
finish
