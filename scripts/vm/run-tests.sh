#!/usr/bin/env bash
# run-tests.sh DIR [FLAG...]: in the machine of vm.sh, run the test programs that
# vm-test.sh made in DIR and say of each what go test says.
set -euo pipefail

tests=$1
shift
export AGENTD_LAB_PROGRAMS=$tests/programs AGENTD_LAB_SLOWER=10
failed=0
while read -r dir package; do
	start=$EPOCHREALTIME status=0
	# Each test's result is told at once: it is what is known if the machine dies.
	(cd "$dir" && "$tests/${package//\//-}.test" -test.v -test.timeout=50m "$@") </dev/null 2>&1 |
		tee /tmp/output | { grep --line-buffered '^--- ' || true; } || status=$?
	took=$((${EPOCHREALTIME/./} - ${start/./}))
	if ((status == 0)) && grep -q '^PASS$' /tmp/output; then
		result=ok
	else
		cat /tmp/output
		result="FAIL ($status)"
		failed=1
	fi
	printf '%s\t%s\t%d.%03ds\n' "$result" "$package" $((took / 1000000)) $((took / 1000 % 1000))
done <"$tests/list"
exit $failed
