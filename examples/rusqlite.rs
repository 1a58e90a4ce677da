//! A rusqlite application on vwal: register, open, write, wait until it is durable, look at the log, checkpoint.
//!
//!     cargo run --example rusqlite

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use vwal::{Database, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Once per process, on the SQLite that is linked here. The options hold for every database that does not say
    // otherwise in its URI.
    vwal::register(Options::new().sync_interval(Duration::from_millis(200)))?;

    let dir = tempfile::tempdir()?;
    let path = dir.path().join("app.db");
    let uri = format!("file:{}?vfs=vwal&vwal_swap=frames>=200", path.display());
    let conn = Connection::open_with_flags(uri, OpenFlags::default())?;
    // From here on everything is plain SQLite.
    conn.execute_batch("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")?;
    // A commit does not wait for the disk.
    conn.execute_batch("PRAGMA synchronous = NORMAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    for i in 0..1000 {
        conn.execute("INSERT INTO message (body) VALUES (?1)", [format!("message {i}")])?;
    }

    // A new database is virtual as soon as it has a table.
    let database = Database::of(&conn, "main")?;
    let frame_no = database.frame_no();
    println!("journal mode {mode}, log {}", database.log_id());
    println!("written up to frame {frame_no}, durable up to frame {}", database.durable_frame_no());
    // The handle may go to another thread, which waits there until the commits so far would survive a power cut.
    let waiter = database.clone();
    std::thread::spawn(move || waiter.wait_durable(frame_no, Duration::from_secs(10)))
        .join()
        .map_err(|_| "the waiting thread panicked")??;
    println!("durable up to frame {}", database.durable_frame_no());

    for segment in database.segments() {
        println!(
            "  frames {:>5} to {:>5}  {:7}  {}",
            segment.start_frame_no,
            segment.end_frame_no,
            segment.state.name(),
            segment.path.file_name().unwrap_or_default().to_string_lossy()
        );
    }
    // Usually a background thread does this. Afterwards the database file holds everything.
    println!("checkpointed up to frame {}", database.checkpoint()?);
    let status = database.status();
    println!(
        "{} pages of {} bytes, {} bytes of log",
        status.db_size_pages, status.page_size, status.log_bytes
    );

    drop(database);
    // The way back: an ordinary SQLite database.
    let mode: String = conn.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    conn.close().map_err(|(_, error)| error)?;
    let plain = Connection::open(&path)?;
    let count: i64 = plain.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
    println!("journal mode {mode}; plain SQLite finds {count} messages");
    if count != 1000 {
        return Err("messages are missing".into());
    }
    Ok(())
}
