#!/usr/bin/env bash
# deps.sh build|demo|test|bench|generate|vm: see that what the Makefile's target of that
# name (test-vm for vm) needs is installed, from the distribution (Debian, Ubuntu).
# Each list holds the ones before it; vm holds test. Installing needs root; without
# it, the command to run is printed. No service is started or left enabled, and no
# database cluster is made: everything here runs servers of its own.
set -euo pipefail

build=(gcc libc6-dev)
demo=("${build[@]}" ca-certificates postgresql postgresql-client)
test=("${demo[@]}" python3-psycopg2 default-jdk-headless libpostgresql-jdbc-java nodejs bpftool dnsmasq-base iptables \
	containerd runc containernetworking-plugins buildah debootstrap busybox-static chromium-headless-shell)
bench=("${test[@]}" pgbouncer haproxy)
generate=("${bench[@]}" clang llvm libbpf-dev linux-libc-dev)
vm=("${test[@]}" qemu-system-x86 kmod cpio xz-utils zstd debian-archive-keyring)

# Services that these packages would start at boot.
services=(containerd haproxy pgbouncer)

policy=/usr/sbin/policy-rc.d
createcluster=/etc/postgresql-common/createcluster.d/agentd-deps.conf

main() {
	local -a want missing=()
	case "${1-}" in
	build) want=("${build[@]}") ;;
	demo) want=("${demo[@]}") ;;
	test) want=("${test[@]}") ;;
	bench) want=("${bench[@]}") ;;
	generate) want=("${generate[@]}") ;;
	vm) want=("${vm[@]}") ;;
	*)
		echo "usage: $0 build|demo|test|bench|generate|vm" >&2
		exit 2
		;;
	esac
	check_go
	# Ubuntu has bpftool and Chromium in packages of other names.
	if grep -qs '^ID=ubuntu' /etc/os-release; then
		want=("${want[@]/#bpftool/linux-tools-generic}")
		want=("${want[@]/#chromium-headless-shell/chromium-browser}")
	fi
	for package in "${want[@]}"; do
		installed "$package" || missing+=("$package")
	done
	if ((${#missing[@]})); then
		install_packages "${missing[@]}"
	fi
	[[ $1 == demo || $1 == build ]] || node_postgres
}

# node_postgres sees that node can load the distribution's node-postgres. Where
# node is from elsewhere, the package cannot be installed beside it: it is pure
# JavaScript, and is unpacked, with what it needs, into a folder of the user's.
node_postgres() {
	local into=${XDG_CACHE_HOME:-$HOME/.cache}/agentd/nodejs
	local -a packages=(node-pg node-split2 node-through2 node-readable-stream node-inherits
		node-safe-buffer node-string-decoder node-util-deprecate node-xtend)
	NODE_PATH=/usr/share/nodejs:$into/usr/share/nodejs node -e 'require("pg"); require("pg-cursor")' 2>/dev/null && return
	if apt-get -s -q install --no-install-recommends node-pg >/dev/null 2>&1; then
		install_packages node-pg
		return
	fi
	echo "deps.sh: unpacking ${packages[*]} into $into"
	local work
	work=$(mktemp -d)
	(cd "$work" && quietly apt-get -q download "${packages[@]}" && mkdir root && for package in *.deb; do dpkg-deb -x "$package" root; done)
	mkdir -p "${into%/*}"
	rm -rf "$into"
	mv "$work/root" "$into"
	rm -rf "$work"
}

# Packages are the distribution's; Go is the user's own choice.
check_go() {
	command -v go >/dev/null && return
	echo "deps.sh: no go on the PATH: install Go 1.26 or later (https://go.dev/doc/install) and try again" >&2
	exit 1
}

installed() {
	# Docker's package has a containerd and a runc, and gives way to the
	# distribution's: whoever has it keeps it.
	[[ $1 == containerd || $1 == runc ]] && command -v "$1" >/dev/null && return
	# A compiler is a compiler, wherever it is from.
	[[ $1 == gcc ]] && command -v gcc >/dev/null && return
	[[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

install_packages() {
	if ! command -v apt-get >/dev/null; then
		echo "deps.sh: needs the packages (by Debian's names): $*; install them and try again" >&2
		exit 1
	fi
	if ((EUID != 0)); then
		echo "deps.sh: some packages are missing. As root, run:" >&2
		echo "  apt-get update && apt-get install --no-install-recommends $*" >&2
		exit 1
	fi
	echo "deps.sh: installing $*"
	hold_services
	quietly apt-get -q update
	quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
	disable_services "$@"
}

# hold_services keeps packages from starting services and from making a
# database cluster while they install. What it changed is put back at exit.
hold_services() {
	trap release_services EXIT
	trap 'exit 130' INT TERM
	if [[ -e $policy && ! -e $policy.agentd-deps ]]; then
		mv "$policy" "$policy.agentd-deps"
	fi
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	mkdir -p "${createcluster%/*}"
	echo 'create_main_cluster = false' >"$createcluster"
}

release_services() {
	rm -f "$policy" "$createcluster"
	if [[ -e $policy.agentd-deps ]]; then
		mv "$policy.agentd-deps" "$policy"
	fi
}

disable_services() {
	local package service
	for package in "$@"; do
		for service in "${services[@]}"; do
			[[ $package == "$service" ]] || continue
			if [[ -e /etc/init.d/$service ]]; then
				quietly update-rc.d "$service" disable
			elif command -v systemctl >/dev/null; then
				quietly systemctl disable "$service"
			fi
		done
	done
}

# quietly runs a command and shows what it printed only if it fails.
quietly() {
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 || status=$?
	if ((status)); then
		cat "$log" >&2
		echo "deps.sh: $* ended with status $status" >&2
	fi
	rm -f "$log"
	return "$status"
}

main "$@"
