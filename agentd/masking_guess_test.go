package agentd_test

// vaults has what waysOfGuessing guess at, behind keys of all kinds. What the
// policy masks of it is in vaulted.
const vaults = `
create domain keyword as text;
create table streets (name text primary key);
insert into streets values ('Larkfield'), ('Dunmore');
create table vault (
	id int primary key, tenant int, live boolean default true, code text, slot daterange, label text, ref text,
	late text unique deferrable initially deferred, pass text unique, street text references streets, word keyword unique,
	unique (tenant, label), exclude using gist (slot with &&)
);
create unique index on vault (lower(code));
create unique index on vault (ref) where live;
insert into vault values
	(1, 1, true, 'Tarnholm', '[2030-01-01,2030-02-01)', 'Oxbarrow', 'Wexcombe', 'Yarnbrook', 'Pexford', 'Larkfield', 'Uldale'),
	(2, 2, true, 'Elmcote', '[2031-01-01,2031-02-01)', 'Oxbarrow', 'Ashwell', 'Bramley', 'Cotford', null, 'Ivelet'),
	(3, 3, false, null, null, 'Nettlebed', 'Wexcombe', null, null, null, null), (4, 4, false, null, null, null, 'Hazelrigg', null, null, null, null);
create view vaults as select id, pass as secret, tenant from vault;
create view vaults_again as select id as number, secret as word from vaults where id > 0;
create table days (id int, mark text, unique (id, mark)) partition by list (id);
create table days_one partition of days for values in (1);
insert into days values (1, 'Gorsefield');
create unique index on vips (email);
create table posts (id int, recipient text references customers (email)) partition by list (id);
create table postbox (line text);
create rule posted as on insert to postbox do instead insert into letters values (7, new.line);
`

// vaulted are the columns of it that are masked.
const vaulted = `
      - public.vault.code
      - public.vault.slot
      - public.vault.label
      - public.vault.ref
      - public.vault.late
      - public.vault.pass
      - public.vault.street
      - public.vault.word
      - public.days.mark`

// quxbrand is a right guess at a customer's address, and a wrong one.
const quxbrand = `'Quxbrand.7731@Zephyr-Vault.exampl' || '{{e|f}}'`

// waysOfGuessing write a guess where the server says by failing whether it is
// right.
var waysOfGuessing = joined(
	under("guesses by a unique key", []way{
		{name: "INSERT", text: `insert into customers (id, email) values (77, ` + quxbrand + `)`, undone: true},
		{name: "INSERT without a list of columns", text: `insert into customers values (77, 'x', ` + quxbrand + `)`, undone: true},
		{name: "INSERT of a query", text: `insert into customers (id, email) select 77, ` + quxbrand, undone: true},
		{name: "INSERT beside a right one", text: `insert into customers (id, email) values (76, default), (77, ` + quxbrand + `)`, undone: true},
		{name: "INSERT in a CTE", text: `with x as (insert into customers (id, email) values (77, ` + quxbrand + `) returning id) select id from x`, undone: true},
		{name: "EXPLAIN ANALYZE", text: `explain (analyze, timing off, summary off, costs off) insert into customers (id, email) values (77, ` + quxbrand + `)`, undone: true},
		{name: "UPDATE", text: `update vault set pass = '{{Pexford|x}}' where id = 2`, undone: true},
		{name: "UPDATE of several columns", text: `update vault set (tenant, pass) = (select 9, '{{Pexford|x}}') where id = 2`, undone: true},
		{name: "UPDATE to the column's own value, changed", text: `update vault set code = left(code, 0) || '{{TARNHOLM|x}}' where id = 2`, undone: true},
		{name: "ON CONFLICT DO UPDATE", text: `insert into vault (id, pass) values (9, '{{Pexford|x}}') on conflict (id) do update set live = true`, undone: true},
		{name: "ON CONFLICT DO UPDATE of the column", text: `insert into vault (id) values (2) on conflict (id) do update set pass = '{{Pexford|x}}'`, undone: true},
		{name: "MERGE that inserts", text: `merge into vault using (select) x on false when not matched then insert (id, pass) values (9, '{{Pexford|x}}')`, undone: true},
		{name: "MERGE that updates", text: `merge into vault using (select) x on vault.id = 2 when matched then update set pass = '{{Pexford|x}}'`, undone: true},
		{name: "COPY FROM STDIN", text: "copy vault (id, pass) from stdin << 9\t{{Pexford|x}}", undone: true, over: "s"},
		{name: "PREPARE and EXECUTE", text: "prepare guessing (text) as insert into vault (id, pass) values (9, $1)\nexecute guessing('{{Pexford|x}}')", undone: true},
		{name: "an exclusion constraint", text: `insert into vault (id, slot) values (9, '[{{2030|2040}}-01-05,{{2030|2040}}-01-06)')`, undone: true},
		{name: "a partial unique index", text: `insert into vault (id, ref) values (9, '{{Wexcombe|x}}')`, undone: true},
		{name: "a partial unique index's condition", text: `update vault set live = true where id = {{3|4}}`, undone: true},
		{name: "an index of an expression", text: `insert into vault (id, code) values (9, '{{TARNHOLM|x}}')`, undone: true},
		{name: "a deferred constraint", text: "insert into vault (id, late) values (9, '{{Yarnbrook|x}}')\nset constraints all immediate", undone: true},
		{name: "two rows that meet", text: `update vault set tenant = {{1|3}} where id = 2`, undone: true},
		{name: "a view", text: `insert into vaults (id, secret) values (9, '{{Pexford|x}}')`, undone: true},
		{name: "a view on a view", text: `update vaults_again set word = '{{Pexford|x}}' where number = 2`, undone: true},
		{name: "a partitioned table", text: `insert into days values (1, '{{Gorsefield|x}}')`, undone: true},
		{name: "a partition", text: `insert into days_one (mark, id) values ('{{Gorsefield|x}}', 1)`, undone: true},
		{name: "a child table", text: `insert into vips (id, email) values (2, '{{Fennimore.2258@Osprey-Loft.example|x}}')`, undone: true},
		{name: "a child table's parent", text: "insert into vips (id) values (2)\nupdate parties set email = '{{Fennimore.2258@Osprey-Loft.example|x}}' where id = 2", undone: true},
		{name: "a default of the column", text: "alter table vault alter pass set default '{{Pexford|x}}'\ninsert into vault (id) values (9)", undone: true},
		{name: "a default of the column's domain", text: "alter domain keyword set default '{{Uldale|x}}'\ninsert into vault (id) values (9)", undone: true},
	}),
	under("guesses by a foreign key", []way{
		{name: "INSERT", text: `insert into letters values (7, ` + quxbrand + `)`, undone: true},
		{name: "UPDATE", text: `update letters set recipient = ` + quxbrand + ` where id = 2`, undone: true},
		{name: "COPY FROM STDIN", text: "copy letters from stdin << 7\tQuxbrand.7731@Zephyr-Vault.exampl{{e|f}}", undone: true, over: "s"},
		{name: "a partitioned table", text: "create table posts_one partition of posts for values in (1)\ninsert into posts values (1, " + quxbrand + ")", undone: true},
		{name: "a partition that is attached", text: "create table posts_one (id int, recipient text)\ninsert into posts_one values (1, " + quxbrand + ")\nalter table posts attach partition posts_one for values in (1)", undone: true},
		{name: "a default of the column", text: "alter table letters alter recipient set default " + quxbrand + "\ninsert into letters (id) values (7)", undone: true},
		{name: "a column that is made anew", text: "drop rule posted on postbox\nalter table letters alter recipient type text using " + quxbrand, undone: true},
		{name: "a table that was renamed", text: "alter table letters rename to post\ninsert into post values (7, " + quxbrand + ")", undone: true},
		{name: "a table that is renamed in the same message", text: "alter table letters rename to post; insert into post values (7, " + quxbrand + ")", undone: true, over: "s"},
		{name: "a table whose name comes back", text: "savepoint s\nalter table letters rename to post\nrollback to s\ninsert into letters values (7, " + quxbrand + ")", undone: true},
		{name: "a view that was made before", text: "create view post as select id, recipient as r from letters\ninsert into post values (7, " + quxbrand + ")", undone: true},
		{name: "a rule from before", text: `insert into postbox values (` + quxbrand + `)`, undone: true},
		{name: "DELETE of the row that is referred to", text: "delete from letters where id <> 1\ndelete from customers where id = {{1|2}}", undone: true},
		{name: "DELETE of what the column refers to", text: `delete from streets where name = '{{Larkfield|Dunmore}}'`, undone: true},
		{name: "UPDATE of what the column refers to", text: `update streets set name = 'x' where name = '{{Larkfield|Dunmore}}'`, undone: true},
		{name: "MERGE that deletes", text: `merge into streets using (select) x on name = '{{Larkfield|Dunmore}}' when matched then delete`, undone: true},
	}),
)
