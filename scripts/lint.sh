#!/usr/bin/env bash
# lint.sh: formatting, no test that skips, vet, staticcheck, and, where its data can be reached, the
# list of known vulnerabilities.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files -z '*.go' ':!bpf/*_bpfel.go' | xargs -0 go tool gofumpt -l)
if [[ -n $unformatted ]]; then
	echo "lint: not formatted; run 'go tool gofumpt -w .':" >&2
	echo "$unformatted" >&2
	exit 1
fi
if git grep -nE '\bt\.(Skip|SkipNow|Skipf)\(' -- '*_test.go'; then
	echo "lint: no test may skip: make what it needs, or fail" >&2
	exit 1
fi
go vet -tags k8s ./...
go tool staticcheck -tags k8s ./...

# govulncheck exits with 3 when it found something, with 1 when it could not look.
status=0
report=$(go tool govulncheck ./... 2>&1) || status=$?
case $status in
0) echo "lint: govulncheck: nothing known" ;;
1)
	if grep -q 'fetching vulnerabilities' <<<"$report"; then
		echo "lint: govulncheck: its data cannot be reached from here, so it was not checked"
	else
		echo "$report" >&2
		exit 1
	fi
	;;
*)
	echo "$report" >&2
	exit "$status"
	;;
esac
