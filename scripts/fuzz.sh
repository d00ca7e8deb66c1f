#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target of the module for TIME, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
list=$(go test -list '^Fuzz' ./... | awk '
	$1 == "ok" || $1 == "?" { for (i in targets) print $2, targets[i]; delete targets; next }
	/^Fuzz/ { targets[$1] = $1 }')
while read -r package target; do
	[[ -n $target ]] || continue
	echo "fuzz: $package $target"
	go test -run="^$" -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=5s "$package"
done <<<"$list"
