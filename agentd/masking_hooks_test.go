package agentd_test

import (
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// hooked is a database with triggers and such that most have, of which one
// calls what is not known.
const hooked = customers + `
create extension lo;
create table orders (id int primary key, city text unique, note text, words tsvector, file oid, made timestamptz default now(),
	check (length(city) < 100), total int generated always as (id * 2) stored);
create table lines (id serial, "order" int references orders on delete cascade on update cascade, price numeric default round(1.5));
insert into orders (id, city) values (1, 'Rome'), (2, 'Oslo');
insert into lines ("order") values (1);
create index on orders (lower(note));
create trigger same before update on orders for each row execute function suppress_redundant_updates_trigger();
create trigger words before insert or update on orders for each row execute function tsvector_update_trigger(words, 'pg_catalog.simple', note);
create trigger file before update or delete on orders for each row execute function lo_manage(file);
create view cities as select id, upper(city) as city from orders where id > 0;
alter table orders enable row level security;
create policy mine on orders using (note is distinct from current_setting('my.note', true));
create view active as select pid, state, query from pg_stat_activity;
grant select on active to agent;
create table stamped (id int primary key, at timestamptz);
insert into stamped values (1);
create function touch() returns trigger language plpgsql as $$ begin new.at := now(); return new; end $$;
create trigger touch before update on stamped for each row execute function touch();
create view stamps as select id, at from stamped;
alter table orders owner to agent; alter table lines owner to agent; alter table stamped owner to agent;
alter view cities owner to agent; alter view stamps owner to agent;
`

func TestTriggersAndSuchOfTheServersOwnRun(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, hooked)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server})
	for _, tt := range []struct{ text, want string }{
		{"insert into orders (id, city, note) values (3, 'Bern', 'a note') returning words;", "'a':1 'note':2\n"},
		{"update orders set note = 'b' where id = 3 returning total;", "6\n"},
		{"insert into lines (\"order\") values (3) returning price;", "2\n"},
		{"update orders set id = 4 where id = 3;", ""},
		{"delete from orders where id = 4;", ""},
		{"select city from cities order by id;", "ROME\nOSLO\n"},
		{"create temp table t (like orders including all); alter table orders add more int;", ""},
		{"select id, at from stamped; insert into stamped values (2); delete from stamped where id = 2 returning id;", "1|\n2\n"},
		{"select id from stamps;", "1\n"},
		{"select pid > 0, state, query from active where pid = pg_backend_pid();", "t|active|[masked]\n"},
	} {
		if got := output(t, agentd.Captured(t, psql(server, tt.text))); got != tt.want {
			t.Errorf("%s printed %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestATriggerOfThatNothingIsKnownIsNamedAndCanBeTrusted(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, hooked)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server})
	for _, text := range []string{"update stamped set id = 1;", "update stamps set id = 1 where id = 1;", "insert into stamped values (1) on conflict (id) do update set id = 1;"} {
		got := output(t, agentd.Captured(t, psql(server, text)))
		for _, want := range []string{"the trigger touch of public.stamped", "calls public.touch", "`functions: [public.touch]`"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s printed %q, want words of %q", text, got, want)
			}
		}
	}
	agentd = lab.StartAgentd(t, lab.Setup{Policy: strict + "    functions: [public.touch]\n", Target: server})
	if got, want := output(t, agentd.Captured(t, psql(server, "update stamps set id = 1 returning id, at is null;"))), "1|f\n"; got != want {
		t.Errorf("trusted, it printed %q, want %q", got, want)
	}
}
