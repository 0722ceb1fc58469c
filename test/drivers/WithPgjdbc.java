// pgjdbc: what every driver does (see _matrix.ts), and the questions that tools ask through DatabaseMetaData.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

public class WithPgjdbc {
  static final String big = "select n::int8 as n from generate_series(1, 200000) n";

  static void say(String check, String json) {
    System.out.println("{\"check\":" + quote(check) + ",\"value\":" + json + "}");
  }

  static String quote(String text) {
    if (text == null) return "null";
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
  }

  static String list(Object... values) {
    return Arrays.stream(values)
        .map(value -> value instanceof Number || value instanceof Boolean ? value.toString() : quote((String) value))
        .collect(Collectors.joining(",", "[", "]"));
  }

  static Connection open(String... more) throws SQLException {
    var properties = new Properties();
    properties.put("user", System.getenv("PGUSER"));
    properties.put("password", System.getenv("PGPASSWORD"));
    properties.put("sslmode", "verify-full");
    properties.put("sslrootcert", System.getenv("DRIVER_CA"));
    for (int i = 0; i < more.length; i += 2) properties.put(more[i], more[i + 1]);
    return DriverManager.getConnection(
        "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"),
        properties);
  }

  interface Act {
    void run() throws Exception;
  }

  static String state(Act act) throws Exception {
    try {
      act.run();
      return "none";
    } catch (SQLException error) {
      return error.getSQLState();
    }
  }

  static Object one(Connection on, String text) throws SQLException {
    try (Statement statement = on.createStatement(); ResultSet rows = statement.executeQuery(text)) {
      rows.next();
      return rows.getObject(1);
    }
  }

  static int count(ResultSet rows) throws SQLException {
    int count = 0;
    while (rows.next()) {
      // As a tool that shows all of it.
      for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) rows.getString(i);
      count++;
    }
    rows.close();
    return count;
  }

  static void note(Connection on, String word) throws SQLException {
    try (PreparedStatement insert = on.prepareStatement("insert into driver_notes (word) values (?)")) {
      insert.setString(1, word);
      insert.executeUpdate();
    }
  }

  public static void main(String[] args) throws Exception {
    System.setOut(new java.io.PrintStream(System.out, true, "UTF-8"));
    Connection db = open();
    String who = (String) one(db, "select current_user");
    say("connect", quote(who.substring(0, 8) + " over " + (sslInUse(db) ? "TLS" : "nothing")));
    parameters(db);
    batch();
    copies(db);

    Statement sleeping = db.createStatement();
    var canceller = Executors.newSingleThreadScheduledExecutor();
    // Again and again: the first may come before the statement has begun.
    canceller.scheduleWithFixedDelay(() -> {
      try {
        sleeping.cancel();
      } catch (SQLException error) {
        throw new IllegalStateException(error);
      }
    }, 300, 300, TimeUnit.MILLISECONDS);
    String cancelled = state(() -> sleeping.execute("select pg_sleep(60)"));
    canceller.shutdown();
    canceller.awaitTermination(10, TimeUnit.SECONDS);
    say("cancel", quote(cancelled));
    try (Statement slow = db.createStatement()) {
      slow.setQueryTimeout(1);
      say("query timeout", quote(state(() -> slow.execute("select pg_sleep(60)"))));
    }

    try (Connection other = open(); Statement listen = other.createStatement()) {
      listen.execute("listen driver_news");
      one(db, "select pg_notify('driver_news', 'Grüße')");
      PGNotification[] news = other.unwrap(PGConnection.class).getNotifications(30_000);
      say("notification", list(news[0].getName(), news[0].getParameter()));
    }
    transactions(db);

    say("errors of the server", list(
        state(() -> one(db, "select 1/0")), state(() -> one(db, "insert into driver_rows values (1) returning n"))));
    try (PreparedStatement secret = db.prepareStatement("select word from driver_secrets where id = ?")) {
      secret.setInt(1, 1);
      secret.executeQuery();
    } catch (PSQLException error) {
      say("refused", list(error.getSQLState(), error.getServerErrorMessage().getHint()));
    }
    db.setAutoCommit(false);
    String first = state(() -> one(db, "select * from driver_secrets"));
    String second = state(() -> one(db, "select 1"));
    db.rollback();
    one(db, "select 1");
    db.commit();
    say("refused in a transaction", list(first, second, "usable after rollback"));

    try (Statement portions = db.createStatement()) {
      portions.setFetchSize(20_000);
      long count = 0;
      long sum = 0;
      try (ResultSet rows = portions.executeQuery(big)) {
        while (rows.next()) {
          count++;
          sum += rows.getLong(1);
        }
      }
      say("big result", list(count, sum));
    }
    db.commit();
    db.setAutoCommit(true);

    prepared();
    autosave();
    metadata(db);
    settings(db);
    connections();
    db.close();
  }

  static boolean sslInUse(Connection db) throws SQLException {
    return db.unwrap(org.postgresql.jdbc.PgConnection.class).getQueryExecutor().getHostSpec() != null
        && "verify-full".equals(System.getenv("PGSSLMODE"));
  }

  static void parameters(Connection db) throws Exception {
    String names = "small, whole, big, num, word, bytes, at, uid, doc, list, words, yes, nothing";
    var doc = new PGobject();
    doc.setType("jsonb");
    doc.setValue("{\"a\": [1, 2, {\"b\": null}], \"ü\": \"ß\"}");
    Object[] sent = {
      (short) -7, 2147483647, 9007199254740993L, new BigDecimal("12345678901234567890.123456789"),
      "Grüße, 世界 🐘 'quoted' \"twice\" \\ \n end",
      new byte[] {0, (byte) 0xff, 0x10, 0x7f, (byte) 0x80}, OffsetDateTime.parse("2026-11-22T13:14:15.123456Z"),
      UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), doc, new Integer[] {1, null, 3},
      new String[] {"a,b", "\"q\"", null, "ü"}, true, null
    };
    try (PreparedStatement insert = db.prepareStatement(
        "insert into driver_values (" + names + ") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")) {
      for (int i = 0; i < sent.length; i++) {
        if (sent[i] instanceof Integer[] numbers) insert.setArray(i + 1, db.createArrayOf("int4", numbers));
        else if (sent[i] instanceof String[] words) insert.setArray(i + 1, db.createArrayOf("text", words));
        else if (sent[i] == null) insert.setNull(i + 1, Types.VARCHAR);
        else insert.setObject(i + 1, sent[i]);
      }
      insert.executeUpdate();
    }
    String different = "";
    // After five times it asks for the binary format.
    for (int time = 0; time < 7; time++)
      try (PreparedStatement select = db.prepareStatement("select " + names + " from driver_values")) {
        for (int again = 0; again < 7; again++)
          try (ResultSet row = select.executeQuery()) {
            row.next();
            for (int i = 0; i < sent.length; i++) {
              Object back = i == 6 ? row.getObject(7, OffsetDateTime.class) : row.getObject(i + 1);
              if (back instanceof Array array) back = array.getArray();
              Object wanted = sent[i] instanceof Short small ? Integer.valueOf(small) : sent[i];
              if (!Objects.deepEquals(back, wanted)) different += " " + back;
            }
          }
      }
    say("parameters", quote(different.isEmpty() ? "as sent" : different));
  }

  static void batch() throws Exception {
    long count;
    try (Connection rewriting = open("reWriteBatchedInserts", "true");
        PreparedStatement insert = rewriting.prepareStatement("insert into driver_rows values (?, ?)")) {
      for (int n = 0; n < 300; n++) {
        insert.setInt(1, n);
        insert.setString(2, "row " + n);
        insert.addBatch();
      }
      insert.executeBatch();
    }
    try (Connection plain = open(); PreparedStatement insert = plain.prepareStatement("insert into driver_rows values (?, ?)")) {
      for (int n = 300; n < 500; n++) {
        insert.setInt(1, n);
        insert.setString(2, "row " + n);
        insert.addBatch();
      }
      insert.executeBatch();
      count = (Long) one(plain, "select count(*) from driver_rows");
      plain.setAutoCommit(false);
      for (int n = 498; n < 505; n++) {
        insert.setInt(1, n);
        insert.setString(2, "twice");
        insert.addBatch();
      }
      try {
        insert.executeBatch();
      } catch (BatchUpdateException error) {
        plain.rollback();
        say("error in a batch", list(error.getSQLState(), (Long) one(plain, "select count(*) from driver_rows") - count));
      }
    }
    say("batch", Long.toString(count));
  }

  static void copies(Connection db) throws Exception {
    CopyManager copies = db.unwrap(PGConnection.class).getCopyAPI();
    String lines = IntStream.range(0, 1000).mapToObj(n -> n + "\tü " + n + "\n").collect(Collectors.joining());
    say("copy in", Long.toString(copies.copyIn("copy driver_copies from stdin", new StringReader(lines))));
    var out = new StringWriter();
    say("copy out", Long.toString(copies.copyOut("copy driver_copies to stdout", out)));
  }

  static void transactions(Connection db) throws Exception {
    db.setAutoCommit(false);
    note(db, "committed");
    db.commit();
    note(db, "rolled back");
    db.rollback();
    note(db, "before the savepoint");
    Savepoint here = db.setSavepoint("here");
    note(db, "behind the savepoint");
    state(() -> one(db, "select 1/0"));
    db.rollback(here);
    note(db, "after the error");
    db.commit();
    db.setAutoCommit(true);
    List<String> words = new ArrayList<>();
    try (Statement statement = db.createStatement();
        ResultSet rows = statement.executeQuery("select word from driver_notes order by n")) {
      while (rows.next()) words.add(rows.getString(1));
    }
    say("transaction", list(words.toArray()));
  }

  /** It begins with unnamed statements and changes to named ones; a definition that changes makes it prepare anew. */
  static void prepared() throws Exception {
    try (Connection db = open("prepareThreshold", "2", "preparedStatementCacheQueries", "3")) {
      long sum = 0;
      for (int round = 0; round < 4; round++)
        for (int text = 0; text < 6; text++)
          try (PreparedStatement plus = db.prepareStatement("select ?::int8 + " + text)) {
            plus.setLong(1, round);
            ResultSet rows = plus.executeQuery();
            rows.next();
            sum += rows.getLong(1);
          }
      try (Statement all = db.createStatement()) {
        all.execute("deallocate all");
      }
      try (PreparedStatement plus = db.prepareStatement("select ?::int8 + 0")) {
        plus.setLong(1, 5);
        ResultSet rows = plus.executeQuery();
        rows.next();
        sum += rows.getLong(1);
      }
      say("prepared", Long.toString(sum));
    }
    try (Connection db = open("preferQueryMode", "simple"); PreparedStatement it = db.prepareStatement("select ?, ?")) {
      it.setString(1, "it's");
      it.setInt(2, 4);
      ResultSet rows = it.executeQuery();
      rows.next();
      say("simple protocol", list(rows.getString(1), rows.getInt(2)));
    }
  }

  /** Before each statement a savepoint, and back to it when the statement fails. */
  static void autosave() throws Exception {
    try (Connection db = open("autosave", "always")) {
      db.setAutoCommit(false);
      String first = state(() -> one(db, "select 1/0"));
      String second = state(() -> one(db, "select * from driver_secrets"));
      one(db, "select 1");
      db.commit();
      say("autosave", list(first, second, "usable"));
    }
  }

  static void metadata(Connection db) throws Exception {
    DatabaseMetaData meta = db.getMetaData();
    say("metadata", list(
        count(meta.getSchemas()) > 0,
        count(meta.getCatalogs()) > 0,
        count(meta.getTableTypes()) > 0,
        count(meta.getTypeInfo()) > 50,
        count(meta.getTables(null, "public", "driver\\_%", new String[] {"TABLE"})),
        count(meta.getColumns(null, "public", "driver_values", null)),
        count(meta.getPrimaryKeys(null, "public", "driver_rows")),
        count(meta.getIndexInfo(null, "public", "orders", false, true)) > 0,
        count(meta.getImportedKeys(null, "public", "orders")),
        count(meta.getExportedKeys(null, "public", "orders")),
        count(meta.getCrossReference(null, "public", "customers", null, "public", "orders")),
        count(meta.getTablePrivileges(null, "public", "orders")) > 0,
        count(meta.getColumnPrivileges(null, "public", "customers", null)) > 0,
        count(meta.getBestRowIdentifier(null, "public", "driver_rows", DatabaseMetaData.bestRowSession, true)),
        count(meta.getVersionColumns(null, "public", "driver_rows")) >= 0,
        count(meta.getProcedures(null, "public", null)) >= 0,
        count(meta.getFunctions(null, "public", null)) > 0,
        count(meta.getFunctionColumns(null, "public", "order_total", null)) > 0,
        count(meta.getUDTs(null, "public", null, null)) >= 0,
        count(meta.getClientInfoProperties()) > 0,
        meta.getSQLKeywords().length() > 0,
        meta.getMaxConnections() >= 0,
        meta.getDatabaseProductVersion().startsWith("15")));
    try (PreparedStatement select = db.prepareStatement("select o.id, o.status, c.name from orders o join customers c on c.id = o.customer_id where o.id = ?")) {
      var shape = select.getMetaData();
      say("shape before it runs", list(
          shape.getColumnCount(), shape.getTableName(1), shape.getColumnTypeName(2), shape.isAutoIncrement(1),
          shape.isNullable(3), select.getParameterMetaData().getParameterTypeName(1)));
    }
    try (Statement editable = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rows = editable.executeQuery("select n, word from driver_rows where n = 7")) {
      rows.next();
      rows.updateString(2, "edited");
      rows.updateRow();
      say("edited in place", quote((String) one(db, "select word from driver_rows where n = 7")));
    }
  }

  static void settings(Connection db) throws Exception {
    db.setReadOnly(true);
    db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    db.setAutoCommit(false);
    String readOnly = state(() -> note(db, "never"));
    db.rollback();
    db.setAutoCommit(true);
    db.setReadOnly(false);
    db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    db.setSchema("public");
    db.setClientInfo("ApplicationName", "matrix");
    say("settings", list(
        readOnly, db.getSchema(), (String) one(db, "show application_name"), db.isValid(5),
        (String) one(db, "show transaction_read_only")));
  }

  static void connections() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(100, run -> {
      var thread = new Thread(run);
      thread.setDaemon(true);
      return thread;
    });
    List<Callable<Connection>> dials = new ArrayList<>();
    for (int n = 0; n < 100; n++) dials.add(() -> open("sslResponseTimeout", "60000", "loginTimeout", "90"));
    List<Future<Connection>> open = threads.invokeAll(dials);
    long answers = 0;
    for (Future<Connection> each : open) if (((Integer) one(each.get(), "select 1")) == 1) answers++;
    for (Future<Connection> each : open) each.get().close();
    threads.shutdown();
    say("many connections", Long.toString(answers));
  }
}
