# lib_http.sh - for sourcing after lib.sh: nginx on a free port, and what it sent.
#
#	$url/NAME          $work/www/NAME
#	$url/whole/NAME    the same, without ranges
#	$url/paced/NAME    the same, at 1 MiB/s after 3 MiB
#	count_anew; sent; requests     bytes of all answers, and how many these were
# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh sets them

PATH=$PATH:/usr/sbin:/sbin
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY || true

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
			listen 127.0.0.1:$http sndbuf=128k;
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
