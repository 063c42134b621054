# lib_http.sh - for sourcing after lib.sh: a web server, and what it sent.
#
#	$url/NAME          $work/www/NAME
#	$url/whole/NAME    the same, without ranges
#	$url/paced/NAME    the same, at 1 MiB/s after 3 MiB
#	count_anew; sent; requests     bytes of all answers, and how many these were
# shellcheck shell=sh
# shellcheck disable=SC2154 # lib.sh sets them

# shellcheck source=tests/cli/lib_nginx.sh
. "$(dirname "$0")/lib_nginx.sh"

servers() {
	cat <<-END
	log_format bytes '\$status \$body_bytes_sent \$http_range';
	access_log $work/access.log bytes;
	root $work/www;
	server {
		listen 127.0.0.1:$http sndbuf=128k;
		location = / { access_log off; return 204; }
		location /whole/ { alias $work/www/; max_ranges 0; }
		location /paced/ { alias $work/www/; limit_rate_after 3m; limit_rate 1m; }
	}
	END
}
mkdir "$work/www"
serve

count_anew() { : >"$work/access.log"; }
sent() {
	sleep 0.2 # the line is written when the answer is over
	awk '{ n += $2 } END { print n + 0 }' "$work/access.log"
}
requests() { wc -l <"$work/access.log"; }
