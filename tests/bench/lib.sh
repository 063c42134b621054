# lib.sh - for sourcing by the parts of the bench: where things are, devices to install into, and
# one line of figures for each run.
#
#	measured NAME MEDIUM IMAGE [-d DEVICE] [-p PID] command...     adds it to $BENCH/results/PART.tsv
#
# $BENCH is the directory of images, bundles and results: build/bench, or build/bench-quick with
# BENCH_QUICK=1. BENCH_ROUNDS is 5. Everything that runs or is mounted ends with the script.
# shellcheck shell=sh
# shellcheck disable=SC2034 # variables for the parts
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=${ABIDE_BUILD:-$top/build}
if [ "${BENCH_QUICK:-0}" = 1 ]; then
	BENCH=${BENCH:-$top/build/bench-quick}
	BENCH_SIZE=${BENCH_SIZE:-64}
else
	BENCH=${BENCH:-$top/build/bench}
	BENCH_SIZE=${BENCH_SIZE:-512}
fi
BENCH_ROUNDS=${BENCH_ROUNDS:-5}
PATH=$build:$build/tests/bench:$build/tests/tools:$PATH:/usr/sbin:/sbin
part=$(basename "$0" .sh)
images=$BENCH/images
bundles=$BENCH/bundles
children=
devices=
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY || true
export PATH SOURCE_DATE_EPOCH=1700000000

end_child() { # pid
	kill "$1" 2>/dev/null || return 0
	wait "$1" 2>/dev/null || true
}

cleanup() {
	for child in $children; do end_child "$child"; done
	for device in $devices; do losetup -d "$device" || true; done
	if [ -n "${mounted-}" ]; then umount "$ram" || umount -l "$ram"; fi
	if [ -n "${scratch-}" ]; then rm -rf "$scratch"; fi
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

say() {
	echo "bench: $*" >&2
}

# A directory of this run's own.
make_scratch() {
	mkdir -p "$BENCH/results"
	scratch=$BENCH/$part.$$
	mkdir -p "$scratch"
	chmod 755 "$scratch"
}

mount_ram() {
	ram=$scratch/ram
	mkdir -p "$ram"
	mount -t tmpfs -o size="$((BENCH_SIZE * 8))m" bench "$ram"
	mounted=1
}

# A loop device over a new file of that many MiB, past the page cache where it lies on a disk. Sets
# $device.
loop_device() { # file MiB
	dd if=/dev/zero of="$1" bs=1M count="$2" status=none
	device=$(losetup -f --show "$1")
	losetup --direct-io=on "$device" 2>/dev/null || true # a tmpfs before Linux 6.6 has none
	devices="$devices $device"
}

measured() { # name medium image [option]... command...
	measured_name=$1
	measured_key=$(printf '%s\t%s\t%s' "$1" "$2" "$3")
	shift 3
	measure -o "$scratch/figures" "$@" >"$scratch/log" 2>&1 || {
		say "$measured_name failed: $*"
		tail -n 20 "$scratch/log" >&2
		exit 1
	}
	printf '%s\t%s\n' "$measured_key" "$(tail -n 1 "$scratch/figures")" >>"$results.new"
}

# The results replace those of the last run when all of the part is there.
start_results() {
	results=$BENCH/results/$part.tsv
	commit=$(git -C "$top" -c safe.directory='*' log -1 --format=%h 2>/dev/null) || commit=unknown
	printf '# abide %s, from %s, load %s\n' "$commit" "$(date -u +%H:%M)" \
		"$(cut -d' ' -f1-3 /proc/loadavg)" >"$results.new"
}

finish_results() {
	printf '# to %s, load %s\n' "$(date -u +%H:%M)" "$(cut -d' ' -f1-3 /proc/loadavg)" >>"$results.new"
	mv "$results.new" "$results"
}

# ---- a device of abide's ----

# GRUB's environment: group a runs, is good, and nothing was tried.
abide_reset() { # directory
	{
		printf '# GRUB Environment Block\nORDER=%s\n%s_OK=1\n' "${2:-A}" "${2:-A}"
		head -c 1024 /dev/zero | tr '\0' '#'
	} | head -c 1024 >"$1/grubenv"
	rm -rf "$1/grubenv.spare" "$1/state" "$1/run"
}

abide_device() { # directory slot-a slot-b [running-group]
	mkdir -p "$1/health.d"
	cat >"$1/system.conf" <<-END
	[system]
	compatible = bench
	bootloader = grub
	state-dir = $1/state
	run-dir = $1/run
	[trust]
	roots = $BENCH/pki/root.pem
	[slot rootfs.a]
	device = $2
	[slot rootfs.b]
	device = $3
	[boot]
	grubenv = $1/grubenv
	booted = ${4:-a}
	[health]
	directory = $1/health.d
	END
	abide_reset "$1" "$(echo "${4:-a}" | tr ab AB)"
}

# ---- a web server that writes down what it sent ----

# http://127.0.0.1:$port/ is $1; $scratch/sent has the bytes of each answer.
serve() { # directory
	port=$((20000 + $$ % 20000))
	cat >"$scratch/nginx.conf" <<-END
	worker_processes 1;
	error_log $scratch/nginx.log;
	pid $scratch/nginx.pid;
	daemon off;
	user root;
	events {}
	http {
		log_format sent '\$bytes_sent \$status "\$http_range" \$uri';
		access_log $scratch/sent sent;
		client_body_temp_path $scratch/temp;
		proxy_temp_path $scratch/temp;
		fastcgi_temp_path $scratch/temp;
		uwsgi_temp_path $scratch/temp;
		scgi_temp_path $scratch/temp;
		sendfile on;
		server {
			listen 127.0.0.1:$port sndbuf=128k;
			root $1;
		}
	}
	END
	nginx -c "$scratch/nginx.conf" &
	children="$children $!"
	tries=0
	until curl -sI "http://127.0.0.1:$port/" >/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 50 ] || {
			say "nginx does not answer"
			exit 1
		}
		sleep 0.1
	done
}

# Bytes and requests since the last call; sets $sent and $requests.
count_sent() {
	sleep 0.3 # the log's line comes after the answer
	sent=$(awk '{ bytes += $1 } END { print bytes + 0 }' "$scratch/sent")
	requests=$(wc -l <"$scratch/sent")
	: >"$scratch/sent"
}
