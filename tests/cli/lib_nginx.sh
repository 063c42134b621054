# lib_nginx.sh - for sourcing after lib.sh: nginx on a free port of loopback.
#
#	servers() { cat <<-END ... END; }   what is in nginx's http block, for port $http
#	serve                               starts it: $url, $server (its process)
#	start_server                        starts it again, after it was killed
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # lib.sh sets them, tests read them

PATH=$PATH:/usr/sbin:/sbin
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY || true

start_server() {
	cat >"$work/nginx.conf" <<-END
	worker_processes 1;
	error_log $work/nginx.log;
	pid $work/nginx.pid;
	user root;
	events {}
	http {
		client_body_temp_path $work/temp;
		proxy_temp_path $work/temp;
		fastcgi_temp_path $work/temp;
		uwsgi_temp_path $work/temp;
		scgi_temp_path $work/temp;
		$(servers)
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

serve() {
	http=$((20000 + $$ % 20000))
	for _ in 1 2 3 4 5; do
		if start_server; then break; fi
		http=$((http + 7))
	done
	url=http://127.0.0.1:$http
}
