#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target of the module for TIME, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}

# fuzz PACKAGE TARGET [again]: fail if an input is found that fails. The go
# command itself sometimes ends a clean run with "context deadline exceeded"
# on a busy machine (go.dev/issue/75804, mended in Go 1.27); that alone is worth a second run.
fuzz() {
	local out status=0
	out=$(go test -run="^$" -fuzz="^$2\$" -fuzztime="$time" -fuzzminimizetime=5s "$1" 2>&1) || status=$?
	echo "$out"
	((status == 0)) && return
	[[ $# == 2 && $out == *"context deadline exceeded"* && $out != *"Failing input"* ]] && return 1
	exit "$status"
}

list=$(go test -list '^Fuzz' ./... | awk '
	$1 == "ok" || $1 == "?" { for (i in targets) print $2, targets[i]; delete targets; next }
	/^Fuzz/ { targets[$1] = $1 }')
while read -r package target; do
	[[ -n $target ]] || continue
	echo "fuzz: $package $target"
	fuzz "$package" "$target" || fuzz "$package" "$target" again
done <<<"$list"
