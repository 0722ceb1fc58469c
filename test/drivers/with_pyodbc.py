"""ODBC, through pyodbc and PostgreSQL's driver: what every driver does (see _matrix.ts), and ODBC's catalogue functions."""
import decimal
import os
import threading

import pyodbc

from matrix import cancel_until, say, values

pyodbc.pooling = False
env = os.environ


def open_it(**more):
    options = {
        "DRIVER": "PostgreSQL Unicode",
        "SERVER": env["PGHOST"],
        "PORT": env["PGPORT"],
        "DATABASE": env["PGDATABASE"],
        "UID": env["PGUSER"],
        "PWD": env["PGPASSWORD"],
        "SSLMODE": "verify-full",
        # The authority: libpq behind the driver finds it in PGSSLROOTCERT.
        "BoolsAsChar": "0",
        **more,
    }
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in options.items()), autocommit=True)


connection = open_it()
cursor = connection.cursor()
who = cursor.execute("select current_user").fetchone()[0]
say("connect", f"{who[:8]} over TLS")

names = "small whole big num word bytes at uid doc list words yes nothing".split()
sent = [
    -7,
    2147483647,
    9007199254740993,
    decimal.Decimal(values["num"]),
    values["word"],
    bytes.fromhex(values["bytes"][2:]),
    values["at"],
    values["uid"],
    values["doc"],
    values["list"],
    values["words"],
    True,
    None,
]
cursor.execute(f"insert into driver_values ({', '.join(names)}) values ({', '.join('?' * len(names))})", sent)
back = list(cursor.execute(f"select {', '.join(names)} from driver_values").fetchone())
back[6] = back[6].isoformat(" ") + "+00"
back[7] = str(back[7]).lower()
say("parameters", "as sent" if back == sent else repr(back))

cursor.fast_executemany = True
cursor.executemany("insert into driver_rows values (?, ?)", [(n, f"row {n}") for n in range(500)])
say("batch", cursor.execute("select count(*) from driver_rows").fetchone()[0])

sleeping = connection.cursor()
done = threading.Event()
canceller = threading.Thread(target=cancel_until, args=[done, sleeping.cancel])
canceller.start()
try:
    sleeping.execute("select pg_sleep(60)")
except pyodbc.Error as error:
    # ODBC has a code of its own for it.
    say("cancel", "57014" if error.args[0] in ("57014", "HY008") else error.args[0])
done.set()
canceller.join()

connection.autocommit = False
note = "insert into driver_notes (word) values (?)"
cursor.execute(note, "committed")
connection.commit()
cursor.execute(note, "rolled back")
connection.rollback()
cursor.execute(note, "before the savepoint")
cursor.execute("savepoint here")
cursor.execute(note, "behind the savepoint")
try:
    cursor.execute("select 1/0")
except pyodbc.Error:
    cursor.execute("rollback to savepoint here")
cursor.execute(note, "after the error")
connection.commit()
say("transaction", [word for (word,) in cursor.execute("select word from driver_notes order by n").fetchall()])
connection.commit()
connection.autocommit = True


def failing(text, *parameters):
    try:
        cursor.execute(text, *parameters)
        return ("none", "")
    except pyodbc.Error as error:
        return error.args


say("errors of the server", [failing("select 1/0")[0], failing("insert into driver_rows values (1)")[0]])
say("refused without the hint", failing("select word from driver_secrets where id = ?", 1)[0])
connection.autocommit = False
states = [failing("select * from driver_secrets")[0], failing("select 1")[0]]
connection.rollback()
cursor.execute("select 1")
say("refused in a transaction, gone back by the driver", states)
connection.commit()
connection.autocommit = True

with open_it(UseDeclareFetch=1, Fetch=20000) as portions:
    rows = portions.cursor().execute("select n::int8 as n from generate_series(1, 200000) n").fetchall()
    say("big result", [len(rows), sum(n for (n,) in rows)])

with open_it(UseServerSidePrepare=0) as plain:
    say("values put into the text", list(plain.cursor().execute("select ?, ?", "it's", 4).fetchone()))

found = [
    len(cursor.tables(schema="public", table="driver\\_%").fetchall()),
    len(cursor.columns(schema="public", table="driver_values").fetchall()),
    [row.column_name for row in cursor.primaryKeys(schema="public", table="driver_rows").fetchall()],
    len(cursor.foreignKeys(foreignSchema="public", foreignTable="orders").fetchall()),
    len(cursor.statistics("driver_rows", schema="public").fetchall()) > 0,
    len(cursor.getTypeInfo().fetchall()) > 10,
    len(cursor.procedures(schema="public").fetchall()) > 0,
    len(cursor.procedureColumns(procedure="order_total").fetchall()) > 0,
    len(cursor.rowIdColumns("driver_rows", schema="public").fetchall()) >= 0,
    len(cursor.rowVerColumns("driver_rows", schema="public").fetchall()) >= 0,
]
say("catalogue", found)
connection.close()
