#!/bin/sh
# What the device has is not fetched: bytes counted at a real web server, for a release with 5 % of
# its bytes changed.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
for tool in nginx mksquashfs mke2fs; do
	command -v "$tool" >/dev/null || {
		echo "ok - reuse # SKIP there is no $tool"
		finish
	}
done
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY || true

# ---- the trees: 40 files of 200 KB, of which 2 differ ----
for release in 1 2; do
	mkdir -p "$work/tree-$release"
	for file in $(seq 40); do
		seed=$file
		if [ "$release" = 2 ] && [ $((file % 20)) = 7 ]; then seed=$((file + 100)); fi
		noise "$seed" 200000 >"$work/tree-$release/file-$file"
		touch -d @1700000000 "$work/tree-$release/file-$file"
	done
	mksquashfs "$work/tree-$release" "$work/squashfs-$release" -noappend -quiet -no-progress \
		-all-root -mkfs-time 1700000000 -all-time 1700000000 >/dev/null
	truncate -s 16M "$work/ext4-$release"
	mke2fs -q -t ext4 -b 4096 -U 5b40b5c9-4f70-4a3c-9d0f-1c8f0d2c7f10 \
		-E hash_seed=5b40b5c9-4f70-4a3c-9d0f-1c8f0d2c7f10,nodiscard \
		-d "$work/tree-$release" "$work/ext4-$release" >/dev/null
done

# ---- the server ----
http=$((20000 + $$ % 20000))
mkdir "$work/www"
start_server() {
	cat >"$work/nginx.conf" <<-END
	worker_processes 1;
	error_log $work/nginx.log;
	pid $work/nginx.pid;
	user root;
	events {}
	http {
		log_format bytes '\$status \$body_bytes_sent \$http_range';
		access_log $work/access.log bytes;
		client_body_temp_path $work/temp;
		proxy_temp_path $work/temp;
		root $work/www;
		server {
			listen 127.0.0.1:$http;
			location = / { access_log off; return 204; }
			location /whole/ { alias $work/www/; max_ranges 0; }
			location /paced/ { alias $work/www/; limit_rate_after 3m; limit_rate 1m; }
		}
	}
	END
	nginx -p "$work" -c "$work/nginx.conf" -g 'daemon off;' 2>>"$work/nginx.err" &
	server=$!
	children="$children $server"
	for _ in $(seq 50); do
		curl -s -o /dev/null "http://127.0.0.1:$http/" && return 0
		kill -0 "$server" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
for _ in 1 2 3 4 5; do
	if start_server; then break; fi
	http=$((http + 7))
done
url=http://127.0.0.1:$http

count_anew() { : >"$work/access.log"; }
sent() {
	sleep 0.2 # the line is written when the answer is over
	awk '{ n += $2 } END { print n + 0 }' "$work/access.log"
}
requests() { wc -l <"$work/access.log"; }

image() { cp "$work/$kind-$2" "$1"; }
fresh() {
	rm -f "$work/rootfs-a" "$work/rootfs-b"
	device 20M
}

# ---- a second release ----
for kind in squashfs ext4; do
	fresh
	bundle 2 2.0 "$work/$kind-2"
	cp "$work/2.abide" "$work/www/"
	size=$(stat -c %s "$work/2.abide")
	running=$(slot_print a)
	expect 0 "$kind: plan" abide plan --json "$url/2.abide"
	planned=$(sed -n 's/.*"fetch":\([0-9]*\).*/\1/p' "$work/out")
	count_anew
	expect 0 "$kind: install" abide install --json "$url/2.abide"
	echo "# $kind: $(sent) of $size bytes in $(requests) requests"
	check "$kind: less than a fifth was sent" [ "$(sent)" -lt $((size / 5)) ]
	check "$kind: in few requests" [ "$(requests)" -lt 20 ]
	check "$kind: what was planned" [ "$(field fetch)" = "$planned" ]
	check "$kind: most came from the running group" [ "$(field running)" -gt $((size / 2)) ]
	check "$kind: the image is right" cmp -s -n "$(stat -c %s "$work/$kind-2")" "$work/$kind-2" "$work/rootfs-b"
	check "$kind: the running group was not written" [ "$(slot_print a)" = "$running" ]
	expect 0 "$kind: verify" abide verify
done

# ---- a server without ranges: one stream ----
fresh
count_anew
expect 0 "without ranges" abide install "$url/whole/2.abide"
said "it says so" 'takes no ranges'
check "in one request" [ "$(requests)" = 1 ]
expect 0 "it is right" abide verify

# ---- killed half-way: what is in the slot is not fetched again ----
noise 300 16000000 >"$work/new"
truncate -s %4096 "$work/new"
rm -f "$work/rootfs-a" "$work/rootfs-b"
device 24M
bundle 3 3.0 "$work/new"
cp "$work/3.abide" "$work/www/"
size=$(stat -c %s "$work/3.abide")
count_anew
"$ABIDE" -c "$work/system.conf" install "$url/paced/3.abide" >"$work/out" 2>"$work/err" &
installer=$!
sleep 5
kill -KILL "$installer"
wait "$installer" 2>/dev/null || true
sleep 1.5 # until the server has noticed
first=$(sent)
count_anew
expect 0 "after a SIGKILL" abide install --json "$url/3.abide"
echo "# $first bytes were sent before the kill, $(sent) after it, of $size"
check "it was killed half-way" [ "$first" -lt "$size" ]
check "less than the whole was sent again" [ "$(field in_place)" -gt 2000000 ]
check "both together are little more than the whole" [ $(($(sent) + first)) -lt $((size + 4000000)) ]
expect 0 "it is right" abide verify
finish
