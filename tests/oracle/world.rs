//! One engine's side of a run: its databases and connections.

use rusqlite::Connection;

use crate::lab::{Engine, Lab, copy_database};
use crate::program::{Settings, Step};
use crate::text;

/// Ends the result of a statement that leaves a transaction open.
pub const IN_TRANSACTION: &str = "in a transaction";

/// The databases and the open connections of one engine.
pub struct World {
    lab: Lab,
    home: String,
    settings: Settings,
    connections: Vec<Option<Connection>>,
    copies: u32,
}

impl World {
    /// New databases, and the first connection to them.
    pub fn new(engine: Engine, settings: &Settings) -> Self {
        let lab = Lab::new(engine);
        let home = lab.path("").to_str().expect("a path of text").trim_end_matches('/').to_owned();
        let connections = (0..settings.connections).map(|_| None).collect();
        let mut world = World { lab, home, settings: settings.clone(), connections, copies: 0 };
        for (name, page_size) in [("main.db", settings.page_size), ("aux.db", settings.aux_page_size)] {
            let db = world.open_file(name);
            let setup = format!("PRAGMA page_size={page_size}; PRAGMA auto_vacuum={}", settings.auto_vacuum);
            text::query(&db, &setup);
            assert_eq!(text::query(&db, "PRAGMA journal_mode=WAL"), "wal");
            text::query(&db, "CREATE TABLE t0(id INTEGER PRIMARY KEY, a INT, b BLOB)");
            text::query(
                &db,
                "CREATE TABLE t1(id INTEGER PRIMARY KEY, a INT, b BLOB); CREATE INDEX i1 ON t1(a, b)",
            );
        }
        world.open(0);
        world
    }

    fn params(&self) -> &str {
        match self.lab.engine {
            Engine::Stock => "",
            Engine::Vwal => &self.settings.params,
        }
    }

    fn open_file(&self, name: &str) -> Connection {
        self.lab.open_with(name, self.params()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn open(&mut self, slot: usize) -> String {
        let db = self.open_file("main.db");
        // vwal does this by itself, so stock SQLite is told to.
        let mut out = text::run(&db, "PRAGMA journal_mode=WAL; SELECT count(*) FROM sqlite_schema");
        out += &text::run(&db, &self.settings.on_open);
        if self.settings.attach {
            let uri = self.lab.engine.uri(&self.lab.path("aux.db"), self.params());
            out += &text::run(&db, &format!("ATTACH '{uri}' AS aux; SELECT count(*) FROM aux.sqlite_schema"));
        }
        self.connections[slot] = Some(db);
        out
    }

    /// Does a step and tells what came of it.
    pub fn run(&mut self, step: &Step) -> String {
        let out = match step {
            Step::Sql(slot, sql) => match &self.connections[*slot] {
                Some(db) => {
                    let out = text::run(db, &sql.replace("{home}", &self.home));
                    out + if db.is_autocommit() { "" } else { IN_TRANSACTION }
                }
                None => "closed".to_owned(),
            },
            Step::Open(slot) => self.open(*slot),
            Step::Close(slot) => match self.connections[*slot].take().map(Connection::close) {
                Some(Err((_, error))) => panic!("close: {error}"),
                _ => String::new(),
            },
            Step::BaseFile => self.base_file(),
            Step::Crash => String::new(),
        };
        out.replace(&self.home, "~")
    }

    /// With all connections closed, the database files alone are complete and stock SQLite reads them.
    fn base_file(&mut self) -> String {
        assert!(self.connections.iter().all(Option::is_none));
        let mut out = String::new();
        for name in ["main.db", "aux.db"] {
            self.copies += 1;
            let copy = self.lab.path(&format!("base{}.db", self.copies));
            std::fs::copy(self.lab.path(name), &copy).expect("the base file is copied");
            let db = Engine::Stock.open(&copy, "").expect("stock SQLite opens the base file");
            out += &content(&db, "main");
            drop(db);
            std::fs::remove_file(copy).expect("the copy is removed");
        }
        out
    }

    /// What is committed, as a new connection sees it.
    pub fn committed(&self) -> String {
        let mut out = String::new();
        for name in ["main.db", "aux.db"] {
            out += &content(&self.open_file(name), "main");
        }
        out
    }

    /// What a kill at this moment would leave, recovered.
    pub fn recovered(&mut self) -> String {
        let mut out = String::new();
        for name in ["main.db", "aux.db"] {
            self.copies += 1;
            let copy = format!("crash{}.db", self.copies);
            copy_database(&self.lab.path(name), &self.lab.path(&copy));
            out += &content(&self.open_file(&copy), "main");
            std::fs::remove_file(self.lab.path(&copy)).expect("the copy is removed");
            let log = self.lab.wal(&copy);
            if log.exists() {
                std::fs::remove_dir_all(log).expect("its log is removed");
            }
        }
        out
    }

    /// The content at the end: seen by an open connection, after a reopen, and in the base file.
    pub fn finish(mut self) -> String {
        for slot in &mut self.connections {
            if let Some(db) = slot.take() {
                db.close().unwrap_or_else(|(_, error)| panic!("close: {error}"));
            }
        }
        let reopened = self.committed();
        let base = self.base_file();
        assert!(
            reopened == base,
            "{:?}: the base file alone shows what a connection showed",
            self.lab.engine
        );
        base
    }
}

fn content(db: &Connection, schema: &str) -> String {
    format!("{}\n{}\n", text::run(db, &format!("PRAGMA {schema}.integrity_check")), text::dump(db, schema))
}
