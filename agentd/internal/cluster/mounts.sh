# mounts.sh DIR: in a mount namespace of its own, put what a node changes below
# DIR, and stay. Whatever is mounted here or on top of it goes with the
# namespace, when its last process ends.
set -euo pipefail
dir=$1

# What tests beside this one have mounted is theirs to unmount, for good.
awk -v tmp="${TMPDIR:-/tmp}/" 'index($2, tmp) == 1 { print $2 }' /proc/self/mounts | xargs -r umount --lazy

mount -t tmpfs run /run
mkdir -p /run/lock
for place in var/lib var/log; do
	mkdir -p "$dir/$place"
	mount --bind "$dir/$place" "/$place"
done
mount -t bpf bpf /sys/fs/bpf

# The kubelet sets these for the whole machine. Here it sets copies.
mkdir "$dir/sysctl"
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
	kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
	copy=$dir/sysctl/${setting//\//.}
	cat "/proc/sys/$setting" >"$copy"
	mount --bind "$copy" "/proc/sys/$setting"
done

# As on any node: mounts made later are seen in the mounts made of this one.
mount --make-rshared /
touch "$dir/mounted"
exec sleep infinity
