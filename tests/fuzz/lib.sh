# For sourcing: a folder for what a fuzzer writes (folder.h), in memory where that can be, gone at
# the end, also after a crash.
TMPDIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM
