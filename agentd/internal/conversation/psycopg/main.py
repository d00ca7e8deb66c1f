"""Holds the conversation with psycopg2. The statements come on standard input,
with a zero byte between two of them."""
import datetime
import decimal
import io
import select
import sys
import threading

import psycopg2
import psycopg2.extras


def main():
    conn = psycopg2.connect("")
    conn.autocommit = True
    cur = conn.cursor()
    for statement in sys.stdin.read().split("\0"):
        run(conn, cur, statement)
    arguments(conn, cur)
    named_cursor()
    copies(conn, cur)
    listen(conn, cur)
    cancel(conn, cur)


def run(conn, cur, statement, args=None):
    print("\n>", repr(statement[:200]))
    try:
        cur.execute(statement, args)
    except psycopg2.Error as e:
        refused(e)
    else:
        print("done", cur.statusmessage, cur.rowcount)
        for column in cur.description or ():
            print("column", tuple(column), column.table_column)
        if cur.description is not None:
            for row in cur:
                print(repr(row if not any(isinstance(v, memoryview) for v in row)
                           else [bytes(v) if isinstance(v, memoryview) else v for v in row]))
    for notice in conn.notices:
        print("notice", repr(notice))
    del conn.notices[:]
    notifications(conn)
    print("status", conn.info.transaction_status)


def refused(e):
    print("refused", e.pgcode, repr(e.pgerror))


def notifications(conn):
    conn.poll()
    while conn.notifies:
        n = conn.notifies.pop(0)
        print("notification", n.channel, repr(n.payload))


def arguments(conn, cur):
    when = datetime.datetime(2024, 2, 29, 12, 34, 56, 789000, datetime.timezone.utc)
    run(conn, cur, "select %s, %s, %s, %s", (-7, "it's", True, None))
    run(conn, cur, "select %s, %s, %s", (b"\x00\x01\xff", when, decimal.Decimal("0.1")))
    run(conn, cur, "select %s, %s", ([1, 2], ["a", None]))
    run(conn, cur, "select id, email from people where id = %s", (2,))
    run(conn, cur, "select id, email from people where id = any(%s)", ([1, 3],))
    run(conn, cur, "insert into people values (%s, 'Ada', null, 'again')", (1,))
    cur.execute("create temporary table many (a int, b text)")
    psycopg2.extras.execute_values(cur, "insert into many values %s", [(i, str(i)) for i in range(500)])
    psycopg2.extras.execute_batch(cur, "update many set b = %s where a = %s", [("x", i) for i in range(50)])
    run(conn, cur, "select count(*), count(distinct b) from many")


def named_cursor():
    with psycopg2.connect("") as conn:
        with conn.cursor("walk") as cur:
            cur.itersize = 7
            cur.execute("select id, total from orders order by id")
            for row in cur:
                print(row)
        conn.rollback()
    conn.close()


def copies(conn, cur):
    cur.execute("create temporary table copied (a int, b text)")
    for how, data in (
        ("", "1\tone\n2\t\\N\n"),
        ("(format csv, header)", "a,b\n3,\"quoted, yes\"\n"),
        ("(format binary)", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2\0\0\0\4\0\0\0\7\0\0\0\1z\xff\xff"),
        ("", "no number\tx\n"),
    ):
        try:
            cur.copy_expert("copy copied from stdin " + how, io.BytesIO(data) if isinstance(data, bytes) else io.StringIO(data))
            print("copied", cur.statusmessage)
        except psycopg2.Error as e:
            refused(e)
    for how in ("", "(format csv, header)", "(format binary)"):
        out = io.BytesIO()
        cur.copy_expert("copy (select * from copied order by a) to stdout " + how, out)
        print("data", out.getvalue(), cur.statusmessage)


def listen(conn, cur):
    cur.execute("listen elsewhere")
    other = psycopg2.connect("")
    other.autocommit = True
    other.cursor().execute("notify elsewhere, 'from the other session'")
    other.close()
    while not conn.notifies:
        select.select([conn], [], [])
        conn.poll()
    notifications(conn)


def cancel(conn, cur):
    """Cancels a statement once it has given back a lock, so that it runs."""
    run(conn, cur, "select pg_advisory_lock(4711)")
    other = psycopg2.connect("")

    def cancel_when_unlocked():
        other.cursor().execute("select pg_advisory_lock(4711)")
        conn.cancel()

    canceller = threading.Thread(target=cancel_when_unlocked)
    canceller.start()
    run(conn, cur, "select pg_advisory_unlock(4711), pg_sleep(60)")
    canceller.join()
    other.close()
    run(conn, cur, "select 'still here'")


main()
