#!/usr/bin/env bash
# kernel.sh KERNEL: see that Debian's kernel of that series is in the cache and
# print its folder, which holds vmlinuz, version, modules (a folder by version,
# as /lib/modules) and early, the modules that the first process loads, in
# order. Nothing is installed: the package is fetched by apt with settings and
# package lists of its own, its signature is checked, and it is unpacked.
# Remove the folder to fetch the newest of the series again.
# VM_MIRROR names Debian's archive on hosts that are not Debian.
set -euo pipefail

# The release of Debian that has the series.
declare -A suites=([5.10]=bullseye [6.1]=bookworm [6.12]=trixie)

early=(virtio_pci virtio_console virtio_rng 9pnet_virtio 9p overlay)

main() {
	series=${1-}
	suite=${suites[${series:-none}]-}
	[[ -n $suite ]] || {
		echo "usage: $0 ${!suites[*]}" >&2
		exit 2
	}
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/agentd/vm
	mkdir -p "$cache"
	exec 9<"$cache"
	flock 9
	if [[ ! -e $cache/$series/version ]]; then
		making=$(mktemp -d "$cache/making-XXXXXX")
		trap 'rm -rf "$making"' EXIT
		fetch
		unpack
		arrange
		rm -rf "${cache:?}/$series"
		mv "$making/kernel" "$cache/$series"
	fi
	echo "$cache/$series"
}

# fetch downloads the package into $making.
fetch() {
	local mirror=${VM_MIRROR-}
	if [[ -z $mirror ]]; then
		mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -n 1) || {
			echo "kernel.sh: apt knows no archive of Debian's here: set VM_MIRROR to the address of one" >&2
			exit 1
		}
	fi
	mkdir -p "$making"/{lists,archives}/partial
	echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$making/sources.list"
	cat >"$making/apt.conf" <<-CONF
		Dir::Etc::SourceList "$making/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$making/lists";
		Dir::Cache "$making";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
	CONF
	export APT_CONFIG=$making/apt.conf
	echo "kernel.sh: fetching Linux $series of Debian's $suite" >&2
	quietly apt-get -q update
	local package
	# The package of the series depends on that of its newest version.
	package=$(apt-cache depends "linux-image-amd64/$suite" | awk '/Depends: linux-image/ { print $2 }')
	(cd "$making" && quietly apt-get -q download "$package/$suite")
}

# unpack takes from the package what a machine without hardware may load.
unpack() {
	mkdir "$making/all" "$making/kernel"
	dpkg-deb --fsys-tarfile "$making"/linux-image-*.deb | tar -x -C "$making/all" --wildcards \
		--exclude='*/drivers/net/*/*' '*/boot/vmlinuz-*' '*/modules.*' \
		'*/kernel/arch/*' '*/kernel/block/*' '*/kernel/crypto/*' '*/kernel/fs/*' '*/kernel/lib/*' '*/kernel/net/*' \
		'*/kernel/drivers/block/*' '*/kernel/drivers/char/*' '*/kernel/drivers/net/*' '*/kernel/drivers/virtio/*'
	mv "$making"/all/boot/vmlinuz-* "$making/kernel/vmlinuz"
	# Debian has moved them to /usr/lib.
	local modules
	modules=$(find "$making/all" -path '*/lib/modules' -type d)
	mv "$modules" "$making/kernel/modules"
}

arrange() {
	local dir=$making/kernel version kind path n=10
	version=$(ls "$dir/modules")
	# depmod and modprobe look below lib.
	mkdir "$dir/lib" "$dir/early"
	ln -s ../modules "$dir/lib/modules"
	depmod -b "$dir" "$version"
	while read -r kind path _; do
		[[ $kind == insmod && -n $path ]] || continue
		local to=$dir/early/$n-${path##*/}
		case $path in
		*.xz) xz -dc "$path" >"${to%.xz}" ;;
		*.zst) zstd -qdc "$path" >"${to%.zst}" ;;
		*) cp "$path" "$to" ;;
		esac
		n=$((n + 1))
	done < <(for m in "${early[@]}"; do modprobe -d "$dir" -S "$version" --show-depends "$m" || echo "missing $m"; done | awk '!seen[$2]++')
	rm -r "$dir/lib"
	echo "$version" >"$dir/version"
}

# quietly runs a command and shows what it printed only if it fails.
quietly() {
	"$@" >"$making/log" 2>&1 || {
		cat "$making/log" >&2
		echo "kernel.sh: $* failed" >&2
		exit 1
	}
}

main "$@"
