//! One engine's side of a run: its databases and connections.

use std::cell::RefCell;
use std::rc::Rc;

use crate::connection::{Connection, Host, Library};
use crate::lab::{Engine, Lab, copy_database};
use crate::program::{Settings, Step};
use crate::text;

/// Ends the result of a statement that leaves a transaction open.
pub const IN_TRANSACTION: &str = "in a transaction";

/// The databases and the open connections of one engine.
pub struct World {
    lab: Lab,
    host: Option<Rc<RefCell<Host>>>,
    home: String,
    settings: Settings,
    connections: Vec<Option<Connection>>,
    copies: u32,
}

impl World {
    /// New databases, and the first connection to them.
    pub fn new(library: Library, engine: Engine, settings: &Settings) -> Self {
        let lab = Lab::new(engine);
        let host = (library == Library::Distribution).then(|| Host::start(engine));
        let home = lab.path("").to_str().expect("a path of text").trim_end_matches('/').to_owned();
        let connections = (0..settings.connections).map(|_| None).collect();
        let mut world = World { lab, host, home, settings: settings.clone(), connections, copies: 0 };
        for (name, page_size) in [("main.db", settings.page_size), ("aux.db", settings.aux_page_size)] {
            let db = world.open_file(name);
            let setup = format!("PRAGMA page_size={page_size}; PRAGMA auto_vacuum={}", settings.auto_vacuum);
            db.query(&setup);
            assert_eq!(db.query("PRAGMA journal_mode=WAL"), "wal");
            db.query("CREATE TABLE t0(id INTEGER PRIMARY KEY, a INT, b BLOB)");
            db.query("CREATE TABLE t1(id INTEGER PRIMARY KEY, a INT, b BLOB); CREATE INDEX i1 ON t1(a, b)");
            db.close();
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
        Connection::open(self.host.as_ref(), &self.lab.engine.uri(&self.lab.path(name), self.params()))
    }

    fn open(&mut self, slot: usize) -> String {
        let db = self.open_file("main.db");
        // vwal does this by itself, so stock SQLite is told to.
        let mut out = db.run("PRAGMA journal_mode=WAL; SELECT count(*) FROM sqlite_schema").0;
        out += &db.run(&self.settings.on_open).0;
        if self.settings.attach {
            let uri = self.lab.engine.uri(&self.lab.path("aux.db"), self.params());
            out += &db.run(&format!("ATTACH '{uri}' AS aux; SELECT count(*) FROM aux.sqlite_schema")).0;
        }
        self.connections[slot] = Some(db);
        out
    }

    /// Does a step and tells what came of it.
    pub fn run(&mut self, step: &Step) -> String {
        let out = match step {
            Step::Sql(slot, sql) => match &self.connections[*slot] {
                Some(db) => {
                    let (out, in_transaction) = db.run(&sql.replace("{home}", &self.home));
                    out + if in_transaction { IN_TRANSACTION } else { "" }
                }
                None => "closed".to_owned(),
            },
            Step::Open(slot) => self.open(*slot),
            Step::Close(slot) => {
                if let Some(db) = self.connections[*slot].take() {
                    db.close();
                }
                String::new()
            }
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
            let db = Connection::open(self.host.as_ref(), &Engine::Stock.uri(&copy, ""));
            out += &content(db);
            std::fs::remove_file(copy).expect("the copy is removed");
        }
        out
    }

    /// What is committed, as a new connection sees it.
    pub fn committed(&self) -> String {
        let mut out = String::new();
        for name in ["main.db", "aux.db"] {
            out += &content(self.open_file(name));
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
            out += &content(self.open_file(&copy));
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
                db.close();
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

fn content(db: Connection) -> String {
    let out =
        format!("{}\n{}\n", db.run("PRAGMA integrity_check").0, text::dump_by(|sql| db.query(sql), "main"));
    db.close();
    out
}
