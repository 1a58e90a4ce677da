//! The tables that the copy brought along: their contents, which must stay, and the rewriting of their rows, so that
//! their pages go through the log too.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};

use super::ledger::{PREFIX, Random};

/// What is in the tables: for each its rows, and a hash over them that does not depend on their order.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents(BTreeMap<String, (u64, u64)>);

impl Contents {
    /// Tables that are compared.
    pub fn tables(&self) -> u64 {
        self.0.len() as u64
    }

    /// Rows in them.
    pub fn rows(&self) -> u64 {
        self.0.values().map(|(rows, _)| rows).sum()
    }

    /// In words, what is different in `now`.
    pub fn differences(&self, now: &Contents) -> Vec<String> {
        let names = self.0.keys().chain(now.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differing = names.filter(|name| self.0.get(*name) != now.0.get(*name));
        differing
            .map(|name| {
                let rows = |contents: &Contents| contents.0.get(name).map_or(0, |(rows, _)| *rows);
                format!("table '{name}' is not what it was: {} rows, and {} before", rows(now), rows(self))
            })
            .collect()
    }
}

/// Ordinary tables, with and without rowids. Virtual ones may need modules that are not here; the tables behind
/// them are among the ordinary ones.
fn names(conn: &Connection, with_rowid: bool) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
               AND name NOT LIKE ?1 ESCAPE '!' AND name <> 'sqlite_schema' AND (wr = 0 OR NOT ?2) ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let pattern = format!("{}%", PREFIX.replace('_', "!_"));
    statement.query_map((pattern, with_rowid), |row| row.get(0))?.collect()
}

/// Read all tables. One that cannot be read here (say, a generated column calls a function of the application) is left
/// out, each time alike.
pub fn contents(conn: &Connection) -> rusqlite::Result<Contents> {
    let mut all = BTreeMap::new();
    for name in names(conn, false)? {
        let Ok(mut statement) = conn.prepare(&format!("SELECT * FROM main.{}", quote(&name))) else {
            continue;
        };
        let columns = statement.column_count();
        let (mut count, mut sum) = (0u64, 0u64);
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut hasher = DefaultHasher::new();
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => hasher.write_u8(0),
                    ValueRef::Integer(number) => {
                        hasher.write_u8(1);
                        hasher.write_i64(number);
                    }
                    ValueRef::Real(number) => {
                        hasher.write_u8(2);
                        hasher.write_u64(number.to_bits());
                    }
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        hasher.write_u8(3);
                        hasher.write_usize(bytes.len());
                        hasher.write(bytes);
                    }
                }
            }
            count += 1;
            sum = sum.wrapping_add(hasher.finish());
        }
        all.insert(name, (count, sum));
    }
    Ok(Contents(all))
}

/// A table whose rows can be rewritten with the values that they have.
pub struct Touch {
    sql: String,
    max_rowid: i64,
}

impl Touch {
    /// Rewrite one row.
    pub fn rewrite(&self, tx: &Transaction<'_>, random: &mut Random) -> rusqlite::Result<usize> {
        let from = random.below(self.max_rowid.unsigned_abs()).cast_signed();
        tx.prepare_cached(&self.sql)?.execute([from])
    }
}

/// The tables that can be touched: tried out, and taken back.
pub fn touches(conn: &mut Connection) -> rusqlite::Result<Vec<Touch>> {
    let mut touches = Vec::new();
    for name in names(conn, true)?.into_iter().filter(|name| !name.starts_with("sqlite_")) {
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if let Some(touch) = touch(&tx, &name) {
            touches.push(touch);
        }
        tx.rollback()?;
    }
    Ok(touches)
}

fn touch(tx: &Transaction<'_>, table: &str) -> Option<Touch> {
    let mut statement =
        tx.prepare("SELECT name, hidden FROM pragma_table_xinfo(?1) ORDER BY pk, cid").ok()?;
    let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let columns: Vec<(String, i64)> = columns.collect::<rusqlite::Result<_>>().ok()?;
    // The row id goes by whichever of its names no column has.
    let taken = |name: &&str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
    let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name))?;
    let (column, _) = columns.iter().find(|(_, hidden)| *hidden == 0)?;
    let (table, column) = (quote(table), quote(column));
    let max_rowid =
        tx.query_row(&format!("SELECT max({rowid}) FROM main.{table}"), [], |row| row.get(0)).ok()?;
    let sql = format!(
        "UPDATE main.{table} SET {column} = {column}
         WHERE {rowid} = (SELECT {rowid} FROM main.{table} WHERE {rowid} >= ?1 ORDER BY {rowid} LIMIT 1)"
    );
    let touch = Touch { sql, max_rowid };
    touch.rewrite(tx, &mut Random::new(1)).ok()?;
    Some(touch)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_changes_nothing_and_a_change_is_noticed() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            r#"CREATE TABLE "a ""b" (rowid TEXT, x, y AS (x + 1)); INSERT INTO "a ""b" VALUES ('r', 1), ('s', 2.5);
               CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES (1, x'00'), (2, NULL);
               CREATE TABLE empty (x); CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('word');
               CREATE TABLE vwal_demo_ledger (k); CREATE TABLE vwalXdemoX (k);"#,
        )
        .unwrap();
        let before = contents(&conn).unwrap();
        assert!(
            before.0.contains_key("a \"b")
                && before.0.contains_key("w")
                && before.0.contains_key("vwalXdemoX")
        );
        assert!(!before.0.contains_key("vwal_demo_ledger") && !before.0.contains_key("f"));
        let touches = touches(&mut conn).unwrap();
        assert!(touches.iter().any(|touch| touch.sql.contains("a \"\"b") && touch.sql.contains("_rowid_")));
        let tx = conn.transaction().unwrap();
        let rewritten: usize =
            touches.iter().map(|touch| touch.rewrite(&tx, &mut Random::new(9)).unwrap()).sum();
        assert!(rewritten > 0);
        tx.commit().unwrap();
        assert!(before.differences(&contents(&conn).unwrap()).is_empty());
        for sql in [
            "UPDATE w SET v = '0' WHERE k = 2",
            "DELETE FROM w WHERE k = 1",
            "CREATE TABLE more (x)",
            "DROP TABLE empty",
        ] {
            let tx = conn.transaction().unwrap();
            tx.execute_batch(sql).unwrap();
            assert_eq!(before.differences(&contents(&tx).unwrap()).len(), 1, "{sql}");
            tx.rollback().unwrap();
        }
    }
}
