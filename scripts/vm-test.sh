#!/usr/bin/env bash
# vm-test.sh KERNEL...: run the tests of every package that works on the kernel
# on Debian's kernels of these series, in qemu (vm.sh). Test programs are built
# here, outside the tree, and run there, as root, each in its package's folder.
# These are the packages whose tests import agentd/internal/lab, but for those
# with no word about the kernel: what clients say, and the image. VM_PACKAGES
# (patterns of go list's) and TESTFLAGS, as in '-test.run Refus', narrow it down.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
	(($#)) || {
		echo "usage: $0 KERNEL..." >&2
		exit 2
	}
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/agentd/vm
	mkdir -p "$cache"
	tests=$(mktemp -d "$cache/tests-XXXXXX")
	trap 'rm -rf "$tests"' EXIT
	build
	local series failed=()
	for series; do
		echo "== Linux $series"
		scripts/vm.sh "$series" -- scripts/vm/run-tests.sh "$tests" ${TESTFLAGS-} || failed+=("$series")
	done
	((${#failed[@]} == 0)) || {
		echo "vm-test.sh: failed on Linux ${failed[*]}" >&2
		exit 1
	}
}

# build makes the programs that tests start, by the names lab.Binary has for
# them, and the test programs, with a list of them: folder of the package, name.
build() {
	local package dir name
	mkdir "$tests/programs"
	# A containerd that tests build is in the user's cache, which is there too.
	go test -run '^TestTheNewerContainerdIsBuilt$' ./agentd/internal/lab >&2
	# Programs in a testdata folder are in no pattern of go list's.
	go list -f '{{if eq .Name "main"}}{{.Dir}}{{end}}' ./... ./agentd/internal/lab/testdata/hello |
		while read -r dir; do
			name=${dir#"$PWD/"}
			go build -ldflags='-s -w' -o "$tests/programs/${name//\//-}" "./$name"
		done
	local -a patterns
	read -ra patterns <<<"${VM_PACKAGES:-./...}"
	go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}} {{.TestImports}} {{.XTestImports}} {{.ImportPath}}{{end}}' "${patterns[@]}" |
		while read -r package dir imports; do
			[[ $imports == *agentd/internal/lab* && $package != */internal/@(conversation|image) ]] || continue
			name=${package//\//-}.test
			go test -c -ldflags='-s -w' -o "$tests/$name" "$package"
			echo "$dir $package" >>"$tests/list"
		done
}

main "$@"
