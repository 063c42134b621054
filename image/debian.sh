#!/bin/sh
# debian.sh: packages of any architecture, and their sources, from the mirrors that this Debian uses,
# while its own apt and dpkg learn nothing of it.
#
#	debian.sh CACHE ARCH fetch PACKAGE...     prints the packages' files
#	debian.sh CACHE ARCH closure PACKAGE...   and those of all that they depend on
#	debian.sh CACHE ARCH depends PACKAGE      prints the names of what it depends on directly
#	debian.sh CACHE ARCH source PACKAGE       prints the folder of its unpacked source
#
# All of it is in CACHE/debian-ARCH: apt has a state of its own there, with the host's Debian sources,
# for ARCH, and not one package installed. Signatures are checked with the host's keys, as always.
# What was fetched is kept, and fetched again only when the mirrors have a newer one.
set -eu

die() {
	echo "debian.sh: $*" >&2
	exit 1
}

[ $# -ge 4 ] || {
	sed -n 's/^#	/usage: /p' "$0" >&2
	exit 2
}
arch=$2 verb=$3
mkdir -p "$1/debian-$arch"
state=$(cd "$1/debian-$arch" && pwd)
shift 3
# Two that run at the same time share the state.
exec 9>"$state/lock"
flock 9

# What the host's own architecture has, its own lists know.
native=$(dpkg --print-architecture)
conf=$state/apt.conf
case "$verb $arch" in
"fetch $native" | "depends $native") conf=/dev/null ;;
esac

apt() {
	apt-get -qq -o APT::Sandbox::User=root -c "$conf" "$@" </dev/null >&2
}

# The files among the host's apt sources that name a mirror of Debian's.
debian_sources() {
	apt-get indextargets --format "\$(ORIGIN) \$(SOURCESENTRY)" 'Created-By: Packages' 2>/dev/null |
		sed -n 's/^Debian \(.*\):[0-9]*$/\1/p' | sort -u
}

# Their entries for packages and for sources, whatever architecture they are kept to on the host.
any_arch() {
	case $1 in
	*.sources) sed -e 's/^Types:.*/Types: deb deb-src/' -e '/^Architectures:/d' "$1" ;;
	*) sed -n -e 's/^\(deb .*\[.*\)arch=[^] ]* */\1/' -e 's/\[ *\]//' -e 's/^deb \(.*\)/&\ndeb-src \1/p' "$1" ;;
	esac
}

# The host's configuration stays in force, a proxy for example; but for its hooks.
configure() {
	cat <<-END
		APT::Architecture "$arch";
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::State "$state";
		Dir::State::status "$state/status";
		Dir::Cache "$state";
		Dir::Cache::pkgcache "packages.bin";
		Dir::Cache::srcpkgcache "sources.bin";
		Dir::Etc::sourcelist "/dev/null";
		Dir::Etc::sourceparts "$state/sources";
		Dir::Etc::preferencesparts "/dev/null";
		#clear APT::Architectures;
		APT::Architectures { "$arch"; };
		#clear APT::Update;
		#clear DPkg::Post-Invoke;
	END
}

prepare() {
	files=$(debian_sources)
	if [ -z "$files" ] && [ "$(id -u)" -eq 0 ]; then
		apt-get -qq update >&2 # without lists, as in a new container, no source has an origin
		files=$(debian_sources)
	fi
	[ "$files" ] || die "none of this machine's apt sources is known to be Debian's: run apt-get update"
	mkdir -p "$state/sources" "$state/lists/partial" "$state/archives/partial" "$state/source"
	: >"$state/status"
	for file in $files; do
		any_arch "$file" >"$state/sources/${file##*/}"
	done
	configure >"$conf"
	apt update || {
		rm "$conf"
		die "the lists for '$arch' are not to be had: see above"
	}
}

# Old lists name files that the mirrors have no more: then anew, once.
try() {
	"$@" 2>/dev/null && return
	apt update || die "the lists for '$arch' are not to be had: see above"
	"$@" || die "not to be had for '$arch': '$2'"
}

download() {
	mkdir -p "$state/archives" && (cd "$state/archives" && apt download "$@") || return
	# NAME_VERSION_ARCH.deb, where an epoch's colon is %3a.
	apt-cache -c "$conf" show --no-all-versions "$@" | awk -v folder="$state/archives" '
		/^Package: / { name = $2 }
		/^Version: / { version = $2; gsub(":", "%3a", version) }
		/^Architecture: / { arch = $2 }
		/^$/ { print folder "/" name "_" version "_" arch ".deb" }'
}

closure() {
	plan=$(apt-get -qq -c "$conf" -s install "$@") || return
	# shellcheck disable=SC2046 # words
	download $(echo "$plan" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
}

depends() {
	apt-cache -c "$conf" depends "$1" | sed -n 's/^ *Depends: //p'
}

# apt unpacks into NAME-VERSION, the upstream one.
source_of() {
	(cd "$state/source" && apt source "$1") || return
	ls -d "$state/source/$1"-*/
}

[ -e "$conf" ] || prepare
case $verb in
fetch) try download "$@" ;;
closure) try closure "$@" ;;
depends) try depends "$1" ;;
source) try source_of "$1" ;;
*) die "'$verb' is none of fetch, closure, depends, source" ;;
esac
