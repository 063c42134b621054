#!/bin/sh
# kernel.sh CACHE: fetches Debian's cloud kernel once, unpacks it without installing it, and prints
# the folder that holds vmlinuz and lib/modules.
set -eu

cache=$1
if [ ! -e "$cache/kernel/vmlinuz" ]; then
	mkdir -p "$cache/download"
	package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
	[ -n "$package" ] || {
		echo "kernel.sh: package 'linux-image-cloud-amd64' is not known here: run apt-get update" >&2
		exit 1
	}
	(cd "$cache/download" && apt-get -qq -o APT::Sandbox::User=root download "$package" >&2)
	rm -rf "$cache/kernel.new"
	dpkg -x "$cache/download/$package"_*.deb "$cache/kernel.new"
	depmod -b "$cache/kernel.new" "$(ls "$cache/kernel.new/lib/modules")"
	mv "$cache/kernel.new"/boot/vmlinuz-* "$cache/kernel.new/vmlinuz"
	mv "$cache/kernel.new" "$cache/kernel"
fi
(cd "$cache/kernel" && pwd)
