#!/usr/bin/env bash
# postgres.sh run DIR PORT [SETTING=VALUE...]: a private PostgreSQL of the
# distribution, in the foreground, on 127.0.0.1:PORT, with its data in DIR. It
# runs as the user postgres and ends with whoever started it. The superuser
# "postgres" gets in without a password through the socket in DIR; TCP wants
# one, unless HOST_AUTH=trust. Needs root.
# postgres.sh await DIR PORT: return once it answers; fail after 30 seconds.
set -euo pipefail

bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)

run() {
	local dir=$1 port=$2 setting
	local -a as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
	shift 2
	install -d -o postgres -g postgres -m 711 "$dir"
	cd "$dir"
	"${as_postgres[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync \
		--encoding=UTF8 --locale=C.UTF-8 --wal-segsize=1 >"$dir/initdb.log"
	printf '%s\n' 'local all postgres trust' "host all all 127.0.0.1/32 ${HOST_AUTH:-scram-sha-256}" >"$dir/data/pg_hba.conf"
	for setting in fsync=off "listen_addresses='127.0.0.1'" "port=$port" "unix_socket_directories='$dir'" timezone=UTC "$@"; do
		echo "$setting"
	done >>"$dir/data/postgresql.conf"
	exec "${as_postgres[@]}" --pdeathsig QUIT "$bin/postgres" -D "$dir/data"
}

await() {
	local until=$((SECONDS + 30))
	until "$bin/pg_isready" -q -h "$1" -p "$2"; do
		if ((SECONDS > until)); then
			echo "postgres.sh: no server answers in $1" >&2
			return 1
		fi
		sleep 0.05
	done
}

case "${1-}" in
run | await) "$@" ;;
*)
	echo "usage: $0 run DIR PORT [SETTING=VALUE...] | await DIR PORT" >&2
	exit 2
	;;
esac
