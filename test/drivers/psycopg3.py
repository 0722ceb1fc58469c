"""psycopg 3: what every driver does (see _matrix.ts), with its own means: pipeline mode, copy, server-side cursors, pool."""
import threading

import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from matrix import cancel_until, row, say

connection = psycopg.connect("", autocommit=True)
who = connection.execute("select current_user").fetchone()[0]
say("connect", f"{who[:8]} over {'TLS' if connection.pgconn.ssl_in_use else 'nothing'}")

names = list(row)
sent = {**row, "doc": Jsonb(row["doc"])}
connection.execute(
    sql.SQL("insert into driver_values ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
    ),
    [sent[name] for name in names],
)
for binary in (False, True):
    back = connection.execute(f"select {', '.join(names)} from driver_values", binary=binary).fetchone()
    if list(back) != [row[name] for name in names]:
        say("parameters", repr(back))
        break
else:
    say("parameters", "as sent")

# The same in the binary formats, without a trace.
with connection.transaction(force_rollback=True):
    connection.execute(
        f"insert into driver_values ({', '.join(names)}) values ({', '.join(['%b'] * len(names))})",
        [sent[name] for name in names],
    )
    say("binary parameters", connection.execute("select count(*) from driver_values v, driver_values w where v = w").fetchone()[0])

with connection.pipeline():
    with connection.cursor() as cursor:
        cursor.executemany("insert into driver_rows values (%s, %s)", [(n, f"row {n}") for n in range(500)])
say("batch", connection.execute("select count(*) from driver_rows").fetchone()[0])

# An error in a pipeline: what stands behind it is skipped, and the connection goes on.
try:
    with connection.pipeline():
        connection.execute("insert into driver_notes (word) values ('skipped with the rest')")
        connection.execute("select 1/0")
        connection.execute("insert into driver_notes (word) values ('never')")
except errors.DivisionByZero as error:
    say("error in a pipeline", [error.sqlstate, connection.execute("select count(*) from driver_notes").fetchone()[0]])
try:
    with connection.pipeline():
        connection.execute("insert into driver_notes (word) values ('skipped with the rest')")
        connection.execute("select * from driver_secrets")
except errors.InsufficientPrivilege as error:
    say("refused in a pipeline", [error.sqlstate, connection.execute("select count(*) from driver_notes").fetchone()[0]])

with connection.cursor() as cursor:
    with cursor.copy("copy driver_copies (n, word) from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        for n in range(1000):
            copy.write_row((n, f"ü {n}"))
    say("copy in", cursor.rowcount)
    with cursor.copy("copy driver_copies to stdout") as copy:
        say("copy out", sum(1 for _ in copy.rows()))

done = threading.Event()
canceller = threading.Thread(target=cancel_until, args=[done, connection.cancel])
canceller.start()
try:
    connection.execute("select pg_sleep(60)")
except errors.QueryCanceled as error:
    say("cancel", error.sqlstate)
done.set()
canceller.join()

with psycopg.connect("", autocommit=True) as other:
    other.execute("listen driver_news")
    connection.execute("select pg_notify('driver_news', %s)", ["Grüße"])
    for news in other.notifies():
        say("notification", [news.channel, news.payload])
        break

with connection.transaction():
    connection.execute("insert into driver_notes (word) values ('committed')")
with connection.transaction(force_rollback=True):
    connection.execute("insert into driver_notes (word) values ('rolled back')")
with connection.transaction():
    connection.execute("insert into driver_notes (word) values ('before the savepoint')")
    try:
        with connection.transaction():
            connection.execute("insert into driver_notes (word) values ('behind the savepoint')")
            connection.execute("select 1/0")
    except errors.DivisionByZero:
        connection.execute("insert into driver_notes (word) values ('after the error')")
say("transaction", [word for (word,) in connection.execute("select word from driver_notes order by n")])

states = []
for text in ("select 1/0", "insert into driver_rows values (1, 'twice')"):
    try:
        connection.execute(text)
    except psycopg.Error as error:
        states.append(error.sqlstate)
say("errors of the server", states)

try:
    connection.execute("select word from driver_secrets where id = %s", [1])
except errors.InsufficientPrivilege as error:
    say("refused", [error.sqlstate, error.diag.message_hint])

states = []
connection.autocommit = False
for text in ("select * from driver_secrets", "select 1"):
    try:
        connection.execute(text)
    except psycopg.Error as error:
        states.append(error.sqlstate)
connection.rollback()
connection.execute("select 1")
say("refused in a transaction", [*states, "usable after rollback"])

for name in ("text", "binary"):
    with connection.cursor(name=f"portions_{name}", binary=name == "binary") as cursor:
        cursor.itersize = 20000
        cursor.execute("select n::int8 as n from generate_series(1, 200000) n")
        numbers = [n for (n,) in cursor]
say("big result", [len(numbers), sum(numbers)])
connection.commit()
connection.close()

# Statements become prepared ones on the server after a few times.
with psycopg.connect("", autocommit=True, prepare_threshold=2) as connection:
    say("prepared", [connection.execute("select %s::int", [n]).fetchone()[0] for n in range(8)])

with ConnectionPool("", min_size=100, max_size=100, timeout=60) as pool:
    pool.wait(60)
    connections = [pool.getconn() for _ in range(100)]
    answers = [connection.execute("select %s::int", [n]).fetchone()[0] for n, connection in enumerate(connections)]
    say("many connections", len(set(answers)))
    for connection in connections:
        pool.putconn(connection)
