# janitor.sh DIR CGROUP: wait until the input ends, then end every process of
# the node in CGROUP (as "/agentd-k8s-1") and remove its cgroups and DIR.
set -euo pipefail
dir=$1 cgroup=$2
trap '' INT TERM HUP
cat >/dev/null || true

v2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
if [[ -d $v2$cgroup ]]; then
	echo 1 >"$v2$cgroup/cgroup.kill"
	tries=0
	until grep -q 'populated 0' "$v2$cgroup/cgroup.events"; do
		((++tries < 100)) || { echo "janitor: a process in $v2$cgroup does not die" >&2; exit 1; }
		sleep 0.1
	done
fi
for hierarchy in $(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts); do
	[[ -d $hierarchy$cgroup ]] || continue
	find "$hierarchy$cgroup" -depth -type d -exec rmdir {} +
done
rm -rf --one-file-system "$dir"
