#!/bin/sh
# bootloader = auto: picked by a key, and said; one that cannot be told is an error.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

device 8M
sed -i 's/^bootloader = .*/bootloader = auto/' "$work/system.conf"
expect 0 "status" abide status
said "it says which, and why" '^bootloader  grub, because \[boot\] grubenv is set$'
expect 0 "status --json" abide status --json
said "as well" '"bootloader":"grub","bootloader_why":"\[boot\] grubenv is set"'
image "$work/image-2" 2
bundle 2 2.0 "$work/image-2"
expect 0 "install" abide install "$work/2.abide"
check "into GRUB's environment" [ "$(variable ORDER) $(variable B_TRY)" = "B A 3" ]

before=$(cat "$work/grubenv")
sed -i "s,^grubenv = .*,&\nprogram = $work/hook," "$work/system.conf"
expect 7 "two keys" abide status
said "both are named" 'more than one is there .*grub: \[boot\] grubenv is set; custom: \[boot\] program is set'
expect 7 "nothing is installed" abide install "$work/2.abide"
check "nothing has changed" [ "$before" = "$(cat "$work/grubenv")" ]
sed -i '/^program = /d; s/^bootloader = .*/bootloader = grub/' "$work/system.conf"
expect 0 "named in [system]" abide status
said "without a reason" '^bootloader  grub$'
expect 0 "status --json" abide status --json
said "without a reason, too" '"bootloader":"grub","bootloader_why":null'
finish
