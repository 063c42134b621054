#!/bin/sh
# run.sh [PART]... - all of the bench, or some parts of it: images bundle footprint install bytes network
# report.
# The results of parts that are left out stay as they were.
set -eu

here=$(dirname "$0")
[ "$(id -u)" -eq 0 ] || {
	echo "bench: loop devices, mounts and packages need root" >&2
	exit 1
}
[ $# -gt 0 ] || set -- images bundle footprint install bytes network report
for part; do
	"$here/$part.sh"
done
