"""psycopg 2: what every driver does (see _matrix.ts). It puts values into the text by itself."""
import io
import json
import select
import threading

import psycopg2
import psycopg2.extras
from psycopg2 import errors
from psycopg2.pool import ThreadedConnectionPool

from matrix import cancel_until, row, say

psycopg2.extras.register_uuid()
connection = psycopg2.connect("")
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("select current_user")
say("connect", f"{cursor.fetchone()[0][:8]} over {'TLS' if connection.info.ssl_in_use else 'nothing'}")

names = ", ".join(row)
sent = {**row, "doc": psycopg2.extras.Json(row["doc"], dumps=lambda doc: json.dumps(doc, ensure_ascii=False))}
cursor.execute(f"insert into driver_values ({names}) values %s", [tuple(sent.values())])
cursor.execute(f"select {names} from driver_values")
back = [bytes(value) if isinstance(value, memoryview) else value for value in cursor.fetchone()]
say("parameters", "as sent" if back == list(row.values()) else repr(back))

psycopg2.extras.execute_values(
    cursor, "insert into driver_rows values %s", [(n, f"row {n}") for n in range(400)], page_size=150
)
psycopg2.extras.execute_batch(
    cursor, "insert into driver_rows values (%s, %s)", [(n, f"row {n}") for n in range(400, 500)], page_size=30
)
cursor.execute("select count(*) from driver_rows")
say("batch", cursor.fetchone()[0])

cursor.copy_expert("copy driver_copies from stdin", io.StringIO("".join(f"{n}\tü {n}\n" for n in range(1000))))
say("copy in", cursor.rowcount)
out = io.StringIO()
cursor.copy_expert("copy driver_copies to stdout (format csv)", out)
say("copy out", out.getvalue().count("\n"))

done = threading.Event()
canceller = threading.Thread(target=cancel_until, args=[done, connection.cancel])
canceller.start()
try:
    cursor.execute("select pg_sleep(60)")
except errors.QueryCanceled as error:
    say("cancel", error.pgcode)
done.set()
canceller.join()

other = psycopg2.connect("")
other.autocommit = True
other.cursor().execute("listen driver_news")
cursor.execute("select pg_notify('driver_news', %s)", ["Grüße"])
# Idle: it waits at its socket, as programs with psycopg 2 do.
select.select([other], [], [], 30)
other.poll()
say("notification", [other.notifies[0].channel, other.notifies[0].payload])
other.close()

connection.autocommit = False
cursor.execute("insert into driver_notes (word) values ('committed')")
connection.commit()
cursor.execute("insert into driver_notes (word) values ('rolled back')")
connection.rollback()
cursor.execute("insert into driver_notes (word) values ('before the savepoint')")
cursor.execute("savepoint here")
try:
    cursor.execute("insert into driver_notes (word) values ('behind the savepoint')")
    cursor.execute("select 1/0")
except errors.DivisionByZero:
    cursor.execute("rollback to savepoint here")
    cursor.execute("insert into driver_notes (word) values ('after the error')")
connection.commit()
cursor.execute("select word from driver_notes order by n")
say("transaction", [word for (word,) in cursor])
connection.commit()

connection.autocommit = True
states = []
for text in ("select 1/0", "insert into driver_rows values (1, 'twice')"):
    try:
        cursor.execute(text)
    except psycopg2.Error as error:
        states.append(error.pgcode)
say("errors of the server", states)

try:
    cursor.execute("select word from driver_secrets where id = %s", [1])
except errors.InsufficientPrivilege as error:
    say("refused", [error.pgcode, error.diag.message_hint])

connection.autocommit = False
states = []
for text in ("select * from driver_secrets", "select 1"):
    try:
        cursor.execute(text)
    except psycopg2.Error as error:
        states.append(error.pgcode)
connection.rollback()
cursor.execute("select 1")
say("refused in a transaction", [*states, "usable after rollback"])

with connection.cursor("portions", withhold=True, scrollable=True) as portions:
    portions.itersize = 20000
    portions.execute("select n::int8 as n from generate_series(1, 200000) n")
    numbers = [n for (n,) in portions]
    portions.scroll(10, mode="absolute")
    say("scrolled back", portions.fetchone()[0])
say("big result", [len(numbers), sum(numbers)])
connection.commit()

# What `reset` sends between users of a pool.
connection.reset()
connection.set_session(isolation_level="serializable", readonly=True)
cursor = connection.cursor()
cursor.execute("show transaction_read_only")
say("read only", cursor.fetchone()[0])
connection.close()

pool = ThreadedConnectionPool(0, 100, "")
answers = []


def use(n):
    taken = pool.getconn(n)
    with taken.cursor() as mine:
        mine.execute("select %s::int", [n])
        answers.append(mine.fetchone()[0])


threads = [threading.Thread(target=use, args=[n]) for n in range(100)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say("many connections", len(set(answers)))
pool.closeall()
