#!/bin/sh
# The example of a custom bootloader program passes the conformance test.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

cp "$top/bootloader-hooks/custom/bootstate" "$work/bootstate"
printf '#!/bin/sh\nBOOTSTATE_FILE=%s/state exec %s/bootstate "$@"\n' "$work" "$work" >"$work/hook"
chmod 755 "$work/hook"
printf 'primary=b\na=2\nb=good\n' >"$work/state"
expect 0 "the example keeps the contract" "$build/tests/tools/custom_hook" "$work/hook"
check "in all ten points" [ "$(grep -c '^ok - ' "$work/out")" = 10 ]
check "its first state is back" [ "$(tr '\n' ' ' <"$work/state")" = 'primary=b a=2 b=good ' ]
sed 's/^/# /' "$work/out"
finish
