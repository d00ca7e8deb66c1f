#!/usr/bin/env bash
# demo.sh: agentd between an unmodified psql and PostgreSQL, each step checked.
# Run it with "make demo". All it makes is in a scratch folder and in a control
# group of its own, and gone when it ends, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
repo=$PWD

main() {
	prepare
	start_postgres
	start_agentd
	a_query_is_answered
	a_column_is_masked
	a_drop_is_refused
	a_deletion_waits_for_a_person
	the_sessions_are_listed
	a_session_is_replayed
	the_log_is_verified
	tear_down
	nothing_is_left
	echo
	echo "All of it held."
}

# --- the steps

a_query_is_answered() {
	step "A query, answered. psql is the distribution's own, pointed at the server's own address."
	agent "SELECT o.id, c.name, o.item, o.total FROM orders o JOIN customers c ON c.id = o.customer ORDER BY o.id;"
	expect 'Ada Lovelace +\| Difference engine'
	expect '\(4 rows\)'
	agent '\conninfo'
	expect "port \"$port\""
}

a_column_is_masked() {
	step "A masked column. The rule names customers.email, by whatever alias it is asked for."
	agent "SELECT id, name, email AS contact FROM customers ORDER BY id;"
	expect '1 \| Ada Lovelace +\| \[masked\]'
	expect '\(3 rows\)'
	refuse_to_see '@example.org'
}

# The same statements go to the server directly with one in the middle that the
# server itself refuses: all answers but that statement's own must be the same.
a_drop_is_refused() {
	step "A DROP, refused in PostgreSQL's own words; then the transaction and the session go on as after any error."
	agent "$(transaction 'DROP TABLE orders;')"
	expect 'Dropping tables needs a person'
	expect '^ROLLBACK$'
	expect 'orders left +\| *4'
	after_the_refusal "$out" >"$scratch/captured"
	transaction 'DROP TABLE no_such_table;' | "${psql[@]}" >"$out" 2>&1
	after_the_refusal "$out" >"$scratch/direct"
	if ! diff "$scratch/direct" "$scratch/captured"; then
		fail "the session goes on in another way than after an error of the server's own"
	fi
	held "and every answer around it is what the server gives when it fails by itself"
}

# The agent of this step is a service, in a control group that is captured
# whenever it is there: nobody here has started it with agentctl run, which would
# make its requests their own.
a_deletion_waits_for_a_person() {
	step "A DELETE that waits: it runs once, when a person has agreed to exactly that."
	local line id
	echo
	echo "orders=> DELETE FROM orders WHERE id = 4;"
	in_service "${psql[@]}" -c "DELETE FROM orders WHERE id = 4;" >"$scratch/held" 2>&1 &
	held=$!
	read -r line < <(ctl approvals list --watch -o json 2>/dev/null)
	id=$(sed -n 's/^{"id":"\([^"]*\)".*/\1/p' <<<"$line")
	[[ -n $id ]] || fail "the statement waits for a person"
	shown ctl approvals show "$id"
	expect 'statement DELETE FROM orders WHERE id = 4;'
	expect 'workload  coder'
	expect 'does      delete, on public.orders'
	if in_service shown ctl approvals approve "$id"; then
		fail "the agent cannot approve it itself"
	fi
	expect 'no workload decides|permission denied' # where the kernel can, it does not even let it ask
	kill -0 "$held" || fail "the statement still waits"
	shown ctl approvals approve "$id" --reason "ticket 4711"
	expect 'Approved, for one use'
	wait "$held" || true # what it printed is checked
	held=''
	cp "$scratch/held" "$out"
	cat "$out"
	expect '^DELETE 1$'
	shown ctl approvals list --all
	expect "$id .* used +coder"
}

the_sessions_are_listed() {
	step "Who asked what of whom, when, with how many rows and which verdicts."
	shown ctl sessions list
	expect 'demo-agent'
	expect 'orders'
	expect_lines 'demo-agent' 4
	expect 'demo-agent .* 2 +ended' # two values masked
	expect 'demo-agent .* 6 +1 +1 .* ended' # six statements, one denied, one failed
}

a_session_is_replayed() {
	local id
	id=$(ctl sessions list --denied -o json | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' | head -n 1)
	[[ -n $id ]] || fail "no session with a refusal is listed"
	step "The session with the DROP, statement by statement."
	shown ctl sessions replay "$id"
	expect 'INSERT INTO orders'
	expect 'DROP TABLE orders'
	expect 'no-destructive-sql'
	refuse_to_see 'demo-password'
}

the_log_is_verified() {
	step "The record, checked; and a copy of it, with one byte changed, found out."
	shown ctl audit verify
	local copy=$scratch/tampered
	cp -r "$scratch/state/log" "$copy"
	sed -i 's/DROP TABLE orders/DROP TABLE 0rders/' "$(grep -rl 'DROP TABLE orders' "$copy" | head -n 1)"
	if shown ctl audit verify --dir "$copy" --key "$scratch/state/keys/node.key.pub"; then
		fail "the changed copy was taken for good"
	fi
	held "the changed record was named"
}

transaction() {
	cat <<-SQL
		BEGIN;
		INSERT INTO orders VALUES (5, 1, 'Never to be', 1.00);
		$1
		SELECT 'not now: the transaction is aborted';
		COMMIT;
		SELECT 'orders left' AS what, count(*) FROM orders;
	SQL
}

# after_the_refusal prints what psql said, without the refusal's own lines: the
# first error, and the hint that may follow.
after_the_refusal() {
	awk '/ERROR:/ && !seen { seen = 1; next } /^(DETAIL|HINT):/ { next } { print }' "$1"
}

# --- how steps are made

step() {
	echo
	echo "== $*"
}

# shown prints a command as a person would type it, and what it prints, which
# is kept in $out for expect.
shown() {
	local -a line=("$@")
	[[ ${line[0]} == ctl ]] && line=(agentctl "${line[@]:1}")
	echo
	echo "\$ ${line[*]}"
	local status=0
	"$@" >"$out" 2>&1 || status=$?
	cat "$out"
	return $status
}

# agent runs statements in a captured psql, as the agent would.
agent() {
	echo
	echo "\$ agentctl run --name demo-agent -- ${psql[*]}"
	echo "orders=> ${1//$'\n'/$'\norders=> '}"
	ctl run --name demo-agent -- "${psql[@]}" <<<"$1" >"$out" 2>&1 || true # what it printed is checked
	cat "$out"
}

# in_service runs something in the captured service's control group.
in_service() (
	echo "$BASHPID" >"$cgroup/coder/cgroup.procs"
	"$@"
)

ctl() {
	"$repo/bin/agentctl" --socket "$scratch/agentd.sock" "$@"
}

held() { echo "ok: $*"; }

fail() {
	echo "demo: this does not hold: $*" >&2
	exit 1
}

expect() {
	grep -Eq -- "$1" "$out" || fail "the output has a line like: $1"
	held "the output has: $1"
}

expect_lines() {
	local n
	n=$(grep -Ec -- "$1" "$out") || true
	[[ $n == "$2" ]] || fail "the output has $2 lines with $1; it has $n"
	held "$2 lines have: $1"
}

refuse_to_see() {
	! grep -Eq -- "$1" "$out" || fail "the output is without: $1"
	held "the output is without: $1"
}

# --- what the steps need

prepare() {
	((EUID == 0)) || {
		echo "demo: needs root, for eBPF and control groups: sudo make demo" >&2
		exit 1
	}
	local cgroups
	cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
	[[ -n $cgroups ]] || {
		echo "demo: no cgroup v2 is mounted: boot with it, or mount -t cgroup2 none DIR" >&2
		exit 1
	}
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	trap 'status=$?; tear_down; exit $status' EXIT
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/agentd-demo-XXXXXX")
	chmod 711 "$scratch"
	out=$scratch/out
	cgroup=$cgroups/${scratch##*/}
	mkdir -p "$cgroup/coder" "$scratch/bpf"
	mount -t bpf bpf "$scratch/bpf"
	port=$(free_port)
	psql=(psql -X -h 127.0.0.1 -p "$port" -U agent orders)
	export PGPASSWORD=demo-password LC_ALL=C.UTF-8
}

# free_port asks the kernel's own tables for a port nobody listens on.
free_port() {
	local p
	for ((p = 15432; p < 16000; p++)); do
		grep -q ":$(printf %04X "$p") " /proc/net/tcp /proc/net/tcp6 || {
			echo "$p"
			return
		}
	done
	return 1
}

start_postgres() {
	echo "Starting a private PostgreSQL with an \"orders\" database ..."
	scripts/postgres.sh run "$scratch/postgres" "$port" 2>"$scratch/postgres.log" &
	postgres=$!
	scripts/postgres.sh await "$scratch/postgres" "$port"
	psql -Xq -v ON_ERROR_STOP=1 -h "$scratch/postgres" -p "$port" -U postgres -f scripts/demo/orders.sql
}

start_agentd() {
	echo "Starting agentd with the policy scripts/demo/policy.yaml:"
	echo
	sed 's/^/    /' scripts/demo/policy.yaml
	cat >"$scratch/agentd.yaml" <<-YAML
		node: demo
		state: $scratch/state
		socket: $scratch/agentd.sock
		metrics: ""
		capture: {root: $cgroup, pins: $scratch/bpf/agentd, workloads: [{name: coder, cgroup: /${cgroup##*/}/coder}]}
		policies: [$repo/scripts/demo/policy.yaml]
		targets: [{name: orders, address: "127.0.0.1:$port", protocol: postgres, default: allow}]
		record: {checkpoint: 100ms}
	YAML
	bin/agentd --config "$scratch/agentd.yaml" 2>"$scratch/agentd.log" &
	agentd=$!
	local until=$((SECONDS + 20))
	until ctl status >/dev/null 2>&1; do
		if ((SECONDS > until)) || ! kill -0 "$agentd" 2>/dev/null; then
			cat "$scratch/agentd.log" >&2
			fail "agentd starts"
		fi
		sleep 0.05
	done
}

# --- the end

# tear_down undoes what was done so far, in reverse, and may be called again.
tear_down() {
	trap '' INT TERM HUP
	end "${held-}" TERM
	end "${agentd-}" TERM
	end "${postgres-}" QUIT
	agentd='' postgres='' held=''
	[[ -n ${scratch-} && -d $scratch ]] || return 0
	end_cgroup
	if mountpoint -q "$scratch/bpf"; then
		rm -rf "$scratch/bpf/agentd" # only left if agentd was killed
		umount "$scratch/bpf"
	fi
	rm -rf "$scratch"
}

# end sends a child of ours a signal, and SIGKILL if it does not heed it.
end() {
	[[ -n $1 ]] && kill -s "$2" "$1" 2>/dev/null || return 0
	local until=$((SECONDS + 10))
	while kill -0 "$1" 2>/dev/null && ((SECONDS < until)); do
		sleep 0.05
	done
	kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# end_cgroup kills what still runs in our control group and removes it.
end_cgroup() {
	[[ -d ${cgroup-} ]] || return 0
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		find "$cgroup" -name cgroup.procs -print0 | xargs -0 cat | xargs -r kill -KILL 2>/dev/null || true
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
		[[ -d $cgroup ]] || return 0
		sleep 0.05
	done
	return 1
}

nothing_is_left() {
	step "Nothing is left: no process, control group, BPF program, mount or file."
	[[ ! -e $scratch ]] || fail "no file is left in $scratch"
	[[ ! -e $cgroup ]] || fail "no control group is left at $cgroup"
	! grep -q "$scratch" /proc/self/mounts || fail "no mount is left below $scratch"
	no_process_names_our_folder
	held "nothing is left"
}

# no_process_names_our_folder starts no process itself, not to find that one.
no_process_names_our_folder() {
	local file
	local -a words
	for file in /proc/[0-9]*/cmdline; do
		{ mapfile -d '' -t words <"$file"; } 2>/dev/null || continue # it ended meanwhile
		[[ "${words[*]}" != *"$scratch"* ]] || fail "no process is left; there is: ${words[*]}"
	done
}

main
