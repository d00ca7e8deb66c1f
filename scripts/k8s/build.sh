#!/usr/bin/env bash
# build.sh: print the folder that has etcd, kubectl, kubelet, kube-apiserver,
# kube-controller-manager and kube-scheduler, built from the Go modules that
# go.mod beside this file names. The first time takes about ten minutes on two
# cores and 4 GiB of build cache; then they are kept outside the tree, in
# ${XDG_CACHE_HOME:-~/.cache}/agentd/k8s/VERSION.
set -euo pipefail
cd "$(dirname "$0")"

main() {
	local version dir program
	version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	dir=${XDG_CACHE_HOME:-$HOME/.cache}/agentd/k8s/$version
	mkdir -p "$dir"
	exec 9>"$dir/lock"
	flock 9 # two runs at once build once
	for program in kubectl kubelet kube-apiserver kube-controller-manager kube-scheduler; do
		build "$dir/$program" "k8s.io/kubernetes/cmd/$program" "$version"
	done
	build "$dir/etcd" go.etcd.io/etcd/server/v3 "$version"
	echo "$dir"
}

# build makes one program if it is not there. It appears whole or not at all.
build() {
	local out=$1 package=$2 version=$3
	[[ -x $out ]] && return
	echo "k8s: building ${out##*/} ..." >&2
	CGO_ENABLED=0 nice go build -trimpath -o "$out.new" -ldflags "-s -w \
		-X k8s.io/component-base/version.gitVersion=$version \
		-X k8s.io/component-base/version.gitMajor=1 \
		-X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version") \
		-X k8s.io/component-base/version.gitTreeState=clean" "$package"
	mv "$out.new" "$out"
}

main
