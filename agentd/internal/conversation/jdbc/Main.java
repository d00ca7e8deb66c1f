import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.Arrays;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

/**
 * Holds the conversation with the PostgreSQL JDBC driver. Its argument says how
 * statements go to the server: simple, extended or prepared. The statements come
 * on standard input, with a zero byte between two of them.
 */
public class Main {
    static final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static Properties properties;

    public static void main(String[] args) throws Exception {
        properties = properties(args[0]);
        String[] statements = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\0");
        try (Connection conn = connect()) {
            for (String sql : statements) {
                run(conn, sql);
            }
            arguments(conn);
            batches(conn);
            portals(conn);
            if (!args[0].equals("simple")) {
                copies(conn);
            }
            listen(conn);
            cancel(conn);
        }
    }

    static Properties properties(String mode) {
        Properties p = new Properties();
        p.setProperty("user", System.getenv("PGUSER"));
        p.setProperty("password", System.getenv("PGPASSWORD"));
        p.setProperty("sslmode", System.getenv("PGSSLMODE"));
        if (System.getenv("PGSSLROOTCERT") != null) {
            p.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        }
        p.setProperty("preferQueryMode", mode.equals("simple") ? "simple" : "extended");
        // From the second run on, a statement is named, not described again, and
        // its results are binary.
        p.setProperty("prepareThreshold", mode.equals("prepared") ? "1" : "0");
        p.setProperty("socketTimeout", "120");
        return p;
    }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
                + "/" + System.getenv("PGDATABASE"), properties);
    }

    static void heading(String sql) {
        out.println("\n> " + sql.substring(0, Math.min(200, sql.length())));
    }

    static void run(Connection conn, String sql) {
        heading(sql);
        try (Statement st = conn.createStatement()) {
            st.setEscapeProcessing(false);
            results(st, st.execute(sql));
            warnings(st.getWarnings());
        } catch (SQLException e) {
            refused(e);
        }
    }

    static void results(Statement st, boolean rows) throws SQLException {
        for (;;) {
            if (rows) {
                print(st.getResultSet());
            } else if (st.getUpdateCount() >= 0) {
                out.println("done " + st.getUpdateCount());
            } else {
                return;
            }
            rows = st.getMoreResults();
        }
    }

    static void print(ResultSet rs) throws SQLException {
        ResultSetMetaData columns = rs.getMetaData();
        for (int i = 1; i <= columns.getColumnCount(); i++) {
            out.println("column " + columns.getColumnLabel(i) + " " + columns.getColumnTypeName(i));
        }
        while (rs.next()) {
            for (int i = 1; i <= columns.getColumnCount(); i++) {
                boolean bytes = columns.getColumnTypeName(i).equals("bytea");
                String value = bytes ? Arrays.toString(rs.getBytes(i)) : rs.getString(i);
                out.print((value == null ? "null" : "\"" + value + "\"") + " ");
            }
            out.println();
        }
    }

    static void warnings(SQLWarning w) {
        for (; w != null; w = w.getNextWarning()) {
            out.println("notice " + w.getSQLState() + " " + w.getMessage());
        }
    }

    static void refused(SQLException e) {
        out.println("refused " + e.getSQLState() + " " + e.getMessage());
        if (e instanceof PSQLException && ((PSQLException) e).getServerErrorMessage() != null) {
            out.println(((PSQLException) e).getServerErrorMessage().getRoutine());
        }
    }

    static void arguments(Connection conn) throws SQLException {
        Object[][] queries = {
            {"select ?::int, ?::text, ?::bool", -7, "it's", true},
            {"select ?::bytea, ?::timestamp, ?::float8", new byte[] {0, 1, -1}, Timestamp.valueOf("2024-02-29 12:34:56.789"), 0.1},
            {"select ?::int[], ?::numeric", new Integer[] {1, 2}, new BigDecimal("0.10")},
            {"select id, email from people where id = ?", 2},
            {"select id, total from orders where customer = ? order by id", 1},
            {"insert into people values (?, 'Ada', null, 'again')", 1},
            {"select 10 / ?::int", 0},
        };
        for (Object[] q : queries) {
            try (PreparedStatement st = conn.prepareStatement((String) q[0])) {
                for (int round = 0; round < 3; round++) {
                    heading((String) q[0]);
                    try {
                        for (int i = 1; i < q.length; i++) {
                            st.setObject(i, q[i]);
                        }
                        results(st, st.execute());
                    } catch (SQLException e) {
                        refused(e);
                    }
                }
            }
        }
    }

    static void batches(Connection conn) throws SQLException {
        run(conn, "create temporary table batched (a int primary key, b text)");
        try (PreparedStatement st = conn.prepareStatement("insert into batched values (?, ?) returning a, b", Statement.RETURN_GENERATED_KEYS)) {
            for (int i = 0; i < 300; i++) {
                st.setInt(1, i);
                st.setString(2, "row " + i);
                st.addBatch();
            }
            out.println("batch " + Arrays.stream(st.executeBatch()).sum());
            ResultSet keys = st.getGeneratedKeys();
            keys.next();
            out.println("first key " + keys.getInt(1));
        }
        try (PreparedStatement st = conn.prepareStatement("insert into batched values (?, 'again')")) {
            for (int i = 299; i < 310; i++) {
                st.setInt(1, i);
                st.addBatch();
            }
            st.executeBatch();
        } catch (BatchUpdateException e) {
            refused(e);
        }
        run(conn, "select count(*), sum(a) from batched");
    }

    /** Reads with a cursor: a portal that is run several times for a few rows each. */
    static void portals(Connection conn) throws SQLException {
        conn.setAutoCommit(false);
        try (PreparedStatement st = conn.prepareStatement("select id, total from orders where id > ? order by id")) {
            st.setInt(1, 3);
            st.setFetchSize(7);
            print(st.executeQuery());
        }
        conn.rollback();
        conn.setAutoCommit(true);
    }

    static void copies(Connection conn) throws SQLException, IOException {
        CopyManager copy = ((PGConnection) conn).getCopyAPI();
        run(conn, "create temporary table copied (a int, b text)");
        String[][] in = {
            {"copy copied from stdin", "1\tone\n2\t\\N\n"},
            {"copy copied from stdin (format csv, header)", "a,b\n3,\"quoted, yes\"\n"},
            {"copy copied from stdin", "no number\tx\n"},
        };
        for (String[] c : in) {
            heading(c[0]);
            try {
                out.println("copied " + copy.copyIn(c[0], new ByteArrayInputStream(c[1].getBytes(StandardCharsets.UTF_8))));
            } catch (SQLException e) {
                refused(e);
            }
        }
        for (String how : new String[] {"", "(format csv, header)", "(format binary)"}) {
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            long n = copy.copyOut("copy (select * from copied order by a) to stdout " + how, data);
            out.println("data " + n + " " + Arrays.toString(data.toByteArray()));
        }
    }

    static void listen(Connection conn) throws SQLException {
        run(conn, "listen elsewhere");
        try (Connection other = connect()) {
            run(other, "notify elsewhere, 'from the other session'");
        }
        for (boolean heard = false; !heard;) {
            for (PGNotification n : ((PGConnection) conn).getNotifications(60_000)) {
                out.println("notification " + n.getName() + " " + n.getParameter());
                heard = n.getName().equals("elsewhere");
            }
        }
    }

    /** Cancels a statement once it has given back a lock, so that it runs. */
    static void cancel(Connection conn) throws Exception {
        run(conn, "select pg_advisory_lock(4711)");
        try (Connection other = connect(); Statement st = conn.createStatement()) {
            Thread canceller = new Thread(() -> {
                try (Statement waits = other.createStatement()) {
                    waits.execute("select pg_advisory_lock(4711)");
                    st.cancel();
                } catch (SQLException e) {
                    refused(e);
                }
            });
            canceller.start();
            try {
                st.execute("select pg_advisory_unlock(4711), pg_sleep(60)");
            } catch (SQLException e) {
                refused(e);
            }
            canceller.join();
        }
        run(conn, "select 'still here'");
    }
}
