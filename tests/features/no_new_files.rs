//! A log directory in which the process may write to the files and make none.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::{Engine, Lab};
use crate::text::{query, run};

/// Run this as somebody whom the modes of files keep out: on a thread that is not root, with the files of `lab` given to that user.
fn as_user<T: Send>(lab: &Lab, run: impl FnOnce() -> T + Send) -> T {
    const USER: u32 = 54321;
    // SAFETY: it only asks.
    let is_root = unsafe { libc::geteuid() } == 0;
    if is_root {
        let mut paths = vec![lab.path("")];
        while let Some(path) = paths.pop() {
            std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
            if path.is_dir() {
                paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }
    let as_user = || {
        if is_root {
            let user = libc::c_long::from(USER);
            // SAFETY: the call itself, and not the function of the C library, concerns this thread and those that it starts. It ends
            // with `run`.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) }, 0);
        }
        run()
    };
    std::thread::scope(|scope| scope.spawn(as_user).join().unwrap())
}

/// A directory in which no segment can be made, with files that can be written.
#[test]
fn a_log_directory_that_takes_no_files_is_read_only() {
    for crashed in [false, true] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", "CREATE TABLE t(x)");
        query(&db, "INSERT INTO t VALUES (1)");
        lab.copy("a.db", "crashed.db");
        drop(db);
        let name = if crashed { "crashed.db" } else { "a.db" };
        let set_mode = |mode| fs::set_permissions(lab.wal(name), fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o555);
        as_user(&lab, || {
            let db = lab.open(name);
            assert_eq!(query(&db, "SELECT * FROM t"), "1", "crashed: {crashed}");
            let refused = run(&db, "INSERT INTO t VALUES (2)");
            assert!(refused.starts_with("!8: "), "crashed: {crashed}: {refused}");
        });
        // The same for a connection that is open already, and has no segment.
        set_mode(0o755);
        as_user(&lab, || {
            let db = lab.open(name);
            query(&db, "SELECT vwal_checkpoint()");
            set_mode(0o555);
            let refused = run(&db, "INSERT INTO t VALUES (2)");
            assert!(refused.starts_with("!8: "), "crashed: {crashed}: {refused}");
            set_mode(0o755);
            assert_eq!(query(&db, "INSERT INTO t VALUES (2); SELECT * FROM t"), "1\n2", "crashed: {crashed}");
        });
    }
}
