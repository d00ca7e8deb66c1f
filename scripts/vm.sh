#!/usr/bin/env bash
# vm.sh KERNEL [-- COMMAND...]: boot Debian's kernel of that series (6.1, 6.12,
# or 5.10) in qemu and run COMMAND as root there, in this folder; without one, a
# shell. Its root is this host's file system, read-only, with a scratch layer
# over it: every program here is there, and nothing it changes is kept.
# /tmp, /run and /dev are its own, so are cgroups (v2 alone) and BPF. It has no
# network but loopback. COMMAND's output comes here, and its exit status is
# vm.sh's; if the machine crashes, hangs or is cut off, that is 125, and the end
# of its console is shown.
#
# VM_TIMEOUT (seconds, 3600), VM_MEMORY (3G), VM_CPUS (all of this host's),
# VM_ACCEL (tcg,thread=multi; kvm where it works) say how it runs.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
	local series=${1-}
	[[ $# == 1 || ($# -gt 2 && $2 == --) ]] || {
		echo "usage: $0 KERNEL [-- COMMAND...]" >&2
		exit 2
	}
	shift
	[[ $# == 0 ]] || shift
	((EUID == 0)) || {
		echo "vm.sh: needs root, to show the machine every file of this host: sudo $0 ..." >&2
		exit 1
	}
	"$scripts/deps.sh" vm
	kernel=$("$scripts/vm/kernel.sh" "$series")
	work=$(mktemp -d)
	: >"$work/console" >"$work/status"
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	initramfs
	job "$@"
	machine
	if [[ $# == 0 ]]; then
		# A terminal, whose keys all go to the machine.
		qemu+=(-chardev stdio,id=out,signal=off -device virtconsole,chardev=out)
		"${qemu[@]}" || true
	else
		mkfifo "$work/out"
		qemu+=(-chardev "file,id=out,path=$work/out" -device virtserialport,chardev=out,name=out)
		run_within "${VM_TIMEOUT:-3600}"
	fi
	verdict
}

# initramfs makes the image the kernel starts from: the first process and the
# modules that it needs to reach the host's files.
initramfs() {
	mkdir "$work/initramfs"
	(cd "$scripts/.." && CGO_ENABLED=0 go build -ldflags='-s -w' -o "$work/initramfs/init" ./scripts/vm/init)
	cp -r "$kernel/early" "$work/initramfs/modules"
	(cd "$work/initramfs" && find . -print0 | cpio --quiet --null -o -H newc) >"$work/initramfs.img"
}

# job writes the command as the first process reads it.
job() {
	local -a args=("$@")
	((${#args[@]})) || args=("${SHELL:-/bin/bash}")
	mkdir "$work/job"
	printf '%s\0' "${args[@]}" >"$work/job/args"
	# Debian's PATH, and Go: what a user has put before them may be slow there.
	local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	printf '%s\0' "PATH=$path:$(dirname "$(command -v go)")" "HOME=$HOME" "TERM=${TERM:-dumb}" "LANG=${LANG:-C.UTF-8}" >"$work/job/env"
	printf '%s\0' "$PWD" >"$work/job/dir"
	# What stays visible though it be below /tmp or /run.
	printf '%s\0' "$(git rev-parse --show-toplevel 2>/dev/null || pwd)" "${kernel%/*}" >"$work/job/keep"
}

machine() {
	local share=readonly=on,security_model=none,multidevs=remap
	qemu=(qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none
		-machine q35 -accel "${VM_ACCEL:-tcg,thread=multi}" -cpu max,la57=off
		-smp "${VM_CPUS:-$(nproc)}" -m "${VM_MEMORY:-3G}"
		-kernel "$kernel/vmlinuz" -initrd "$work/initramfs.img"
		-append "console=ttyS0 loglevel=5 panic=-1 oops=panic no_timer_check mitigations=off audit=0 random.trust_cpu=on transparent_hugepage=never init_on_alloc=0 tsc=reliable"
		-serial "file:$work/console"
		-virtfs "local,path=/,mount_tag=root,$share"
		-virtfs "local,path=$kernel/modules,mount_tag=modules,$share"
		-virtfs "local,path=$work/job,mount_tag=job,$share"
		-device virtio-rng-pci -device virtio-serial-pci
		-chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,name=status)
	ulimit -n "$(ulimit -Hn)" # for the files that the machine has open
}

# run_within runs the machine for so many seconds at most.
run_within() {
	cat "$work/out" &
	local cat=$! ended=0
	timeout --kill-after=10 "$1" "${qemu[@]}" </dev/null &
	local timeout=$!
	trap 'kill $timeout $cat 2>/dev/null; exit 143' INT TERM HUP
	wait "$timeout" || ended=$?
	wait "$cat"
	[[ $ended != 124 ]] || echo "vm.sh: not done after $1 s: ended" >&2
}

# verdict is the command's own exit status, if the machine has told one.
verdict() {
	grep -aE 'WARNING: |BUG: |Oops: |general protection|Out of memory' "$work/console" >&2 || true
	local word='' status=''
	read -r word status <"$work/status" || true
	if [[ $word == exit && $status =~ ^[0-9]+$ ]]; then
		exit "$status"
	fi
	echo "vm.sh: Linux $(<"$kernel/version") ended before the command did; its console says:" >&2
	tail -n 60 "$work/console" >&2
	exit 125
}

main "$@"
