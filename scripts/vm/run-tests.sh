#!/usr/bin/env bash
# run-tests.sh DIR [FLAG...]: in the machine of vm.sh, run the test programs that
# vm-test.sh made in DIR and say of each what go test says.
set -euo pipefail

tests=$1
shift
export AGENTD_LAB_PROGRAMS=$tests/programs
failed=0
while read -r dir package; do
	start=$EPOCHREALTIME status=0
	(cd "$dir" && "$tests/${package//\//-}.test" -test.timeout=20m "$@") >/tmp/output 2>&1 </dev/null || status=$?
	end=$EPOCHREALTIME
	took=$(printf '%d.%03ds' $(((${end/./} - ${start/./}) / 1000000)) $(((${end/./} - ${start/./}) / 1000 % 1000)))
	if ((status == 0)) && grep -q '^PASS$' /tmp/output; then
		echo "ok  	$package	$took"
	else
		cat /tmp/output
		echo "FAIL	$package	$took (status $status)"
		failed=1
	fi
done <"$tests/list"
exit $failed
