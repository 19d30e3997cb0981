//! PostgreSQL by itself: `pgbench` inserting the rows that one accepted Task is made of, a transaction for each.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use taskplane_testkit::postgres::Postgres;
use tempfile::TempDir;

/// What says which Task a row belongs to; and what tells one of them from the next.
const TABLES: [(&str, &str); 3] = [("tasks", "uid"), ("events", "uid"), ("idempotency", "task_uid")];
/// Of the client and its count; anywhere among all there are, as those of Tasks are.
const UID: &str = "md5(:client_id || '-' || :n)::uuid";
const NUMBER: &str = "1000000 + :client_id * 10000000 + :n";
/// As long as the key of a call.
const KEY: &str = "'call-' || md5(:client_id || '-' || :n)";

pub struct Pgbench {
    script: TempDir,
    url: String,
}

/// What one run of it says.
pub struct Ran {
    pub transactions: u64,
    pub rate: f64,
    /// On average.
    pub latency: Duration,
}

impl Pgbench {
    /// Like the first Task in this database, into another one with the same tables.
    pub async fn like(db: &DatabaseConnection, url: String) -> Self {
        let mut script = String::from("\\set n :n + 1\nBEGIN;\n");
        for (table, task) in TABLES {
            let (columns, values): (Vec<String>, Vec<String>) = cells(db, table, task).await.into_iter().unzip();
            if columns.is_empty() {
                continue;
            }
            writeln!(script, "INSERT INTO {table} ({}) VALUES ({});", columns.join(", "), values.join(", ")).unwrap();
        }
        script.push_str("COMMIT;\n");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("accept.sql"), script).unwrap();
        Self { script: directory, url }
    }

    /// Rows of one run are others than those of the run before.
    pub async fn run(&self, run: u32, clients: u32, window: Duration, protocol: &str) -> Ran {
        let mut pgbench = Command::new(Postgres::binary("pgbench"));
        pgbench.arg("-n").arg("-f").arg(self.script.path().join("accept.sql"));
        pgbench.args(["-j", "2", "-M", protocol, "-c", &clients.to_string(), "-T", &window.as_secs().to_string()]);
        pgbench.args(["-D", &format!("n={}", run * 100_000)]).arg(&self.url);
        let output = tokio::task::spawn_blocking(move || pgbench.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "pgbench: {said}{}", String::from_utf8_lossy(&output.stderr));
        let number = |line: &str| -> f64 {
            let rest =
                said.lines().find_map(|said| said.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {said}"));
            rest.trim_start().split([' ', '/']).next().unwrap().parse().unwrap()
        };
        let failed = number("number of failed transactions:");
        assert!(failed == 0.0, "{said}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let transactions = number("number of transactions actually processed:") as u64;
        Ran { transactions, rate: number("tps ="), latency: Duration::from_secs_f64(number("latency average =") / 1e3) }
    }
}

/// The columns of that one row as it was written, each with how to say it again for another Task.
async fn cells(db: &DatabaseConnection, table: &str, task: &str) -> Vec<(String, String)> {
    let text = format!(
        "SELECT cell.key AS name, quote_nullable(cell.value) AS value FROM {table} t, jsonb_each_text(to_jsonb(t)) cell \
         WHERE t.{task} = (SELECT uid FROM tasks ORDER BY created_at, uid LIMIT 1)"
    );
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap();
    let cells = rows.iter().filter_map(|row| {
        let (name, value): (String, String) = (row.try_get("", "name").unwrap(), row.try_get("", "value").unwrap());
        let value = match (table, name.as_str()) {
            ("tasks" | "events", "uid") | ("idempotency", "task_uid") => UID.to_owned(),
            ("tasks", "id") | ("events", "task_id") => NUMBER.to_owned(),
            ("idempotency", "key") => KEY.to_owned(),
            // The database counts them itself.
            ("events", "id") => return None,
            // What comes later.
            ("events", "feed_position" | "published_at") => "NULL".to_owned(),
            _ => value,
        };
        Some((name, value))
    });
    cells.collect()
}
