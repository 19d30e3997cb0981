//! Statements written by hand, where a query builder would hide what they do. Their text is fixed; values are bound, never
//! written into it.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};

/// Where the two engines do not speak alike.
pub(crate) fn choose(db: &impl ConnectionTrait, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match db.get_database_backend() {
        DbBackend::Postgres => postgres,
        _ => sqlite,
    }
}

/// Both engines know `$1`, `$2`…
fn bound(db: &impl ConnectionTrait, text: &'static str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), text, values)
}

/// How many rows it changed.
pub(crate) async fn execute(
    db: &impl ConnectionTrait,
    text: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, DbErr> {
    Ok(db.execute_raw(bound(db, text, values)).await?.rows_affected())
}

pub(crate) async fn all<T: FromQueryResult>(
    db: &impl ConnectionTrait,
    text: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, DbErr> {
    let rows = db.query_all_raw(bound(db, text, values)).await?;
    rows.iter().map(|row| T::from_query_result(row, "")).collect()
}

pub(crate) async fn one<T: FromQueryResult>(
    db: &impl ConnectionTrait,
    text: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<T>, DbErr> {
    let row = db.query_one_raw(bound(db, text, values)).await?;
    row.map(|row| T::from_query_result(&row, "")).transpose()
}

/// The column `value` of the one row there is.
pub(crate) async fn number(
    db: &impl ConnectionTrait,
    text: &'static str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<i64>, DbErr> {
    let row = db.query_one_raw(bound(db, text, values)).await?;
    Ok(row.map(|row| row.try_get::<Option<i64>>("", "value")).transpose()?.flatten())
}
