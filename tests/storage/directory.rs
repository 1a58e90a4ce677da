//! What a local directory does beyond the suite: durability, modes, and files that are none of ours.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vwal::storage::{Put, RetryPolicy, Storage, open};
use vwal::{Error, StorageErrorKind};

use crate::run;

fn at(directory: &Path) -> Arc<dyn Storage> {
    let url = format!("file://{}", directory.display());
    open(&url.parse().expect("a URL"), RetryPolicy::default()).expect("storage")
}

async fn keys(storage: &dyn Storage) -> Vec<String> {
    storage.list("", None, 1000).await.expect("a list").into_iter().map(|info| info.key).collect()
}

#[test]
fn it_is_made_by_the_first_put_alone_and_for_its_user_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("a");
    let storage = at(&root);
    run(async {
        assert_eq!(keys(&*storage).await, [""; 0]);
        assert!(storage.get("0/x", 0..1).await.is_err());
        storage.delete(&["0/x".into()]).await.expect("nothing to delete");
        assert!(!root.exists(), "reading makes nothing");
        storage.put_new("0/x", &[Bytes::from_static(b"x")]).await.expect("a put");
        for directory in [root.as_path(), &root.join("0")] {
            let mode = fs::metadata(directory).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
        }
        // Objects hold pages of a database that perhaps nobody else may read.
        let mode = fs::metadata(root.join("0/x")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn the_place_of_a_disk_that_is_not_mounted_is_not_made() {
    let home = tempfile::tempdir().expect("a directory");
    let storage = at(&home.path().join("mounted/app"));
    run(async {
        for error in [
            storage.put_new("0/x", &[Bytes::from_static(b"x")]).await.expect_err("it cannot be put"),
            storage.get("0/x", 0..1).await.expect_err("it cannot be read"),
            storage.list("", None, 1).await.expect_err("it cannot be listed"),
            storage.list_names("").await.expect_err("it cannot be listed"),
        ] {
            let is_missing = matches!(error, Error::Storage { kind: StorageErrorKind::NotFound, .. });
            assert!(is_missing && error.to_string().contains("not mounted"), "{error}");
        }
        assert!(!home.path().join("mounted").exists());
    });
}

/// Opening a FIFO waits for a writer: for ever, when there is none. A device may do anything.
#[test]
fn what_is_no_file_in_the_place_of_an_object_is_refused_by_its_name() {
    let home = tempfile::tempdir().expect("a directory");
    let storage = at(home.path());
    fs::create_dir(home.path().join("0")).expect("a directory");
    let made = std::process::Command::new("mkfifo").arg(home.path().join("0/fifo")).status();
    assert!(made.expect("mkfifo runs").success());
    symlink("fifo", home.path().join("0/link")).expect("a link");
    symlink("/dev/zero", home.path().join("0/device")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(home.path().join("0/socket")).expect("a socket");
    fs::create_dir(home.path().join("0/directory")).expect("a directory");
    run(async {
        for name in ["fifo", "link", "device", "socket"] {
            let key = format!("0/{name}");
            for error in [
                storage.get(&key, 0..1).await.expect_err("it is no object"),
                storage.head(&key).await.expect_err("it is no object"),
                storage.put_new(&key, &[Bytes::from_static(b"x")]).await.expect_err("it is in the way"),
            ] {
                assert!(matches!(error, Error::Storage { kind: StorageErrorKind::Other, .. }), "{error:?}");
                assert!(error.to_string().contains(name) && error.to_string().contains("FIFO"), "{error}");
            }
        }
        // Keys may be below it: it is no object, and none can be put there.
        assert_eq!(storage.head("0/directory").await.expect("an answer"), None);
        let error =
            storage.put_new("0/directory", &[Bytes::from_static(b"x")]).await.expect_err("it is in the way");
        assert!(matches!(error, Error::Storage { kind: StorageErrorKind::Other, .. }), "{error:?}");
        assert_eq!(keys(&*storage).await, [""; 0]);
    });
}

#[test]
fn a_huge_object_of_holes_is_not_read() {
    let home = tempfile::tempdir().expect("a directory");
    let storage = at(home.path());
    fs::create_dir(home.path().join("0")).expect("a directory");
    let huge = fs::File::create(home.path().join("0/huge")).expect("a file");
    // Of some file systems this is too much: then there is nothing to be hurt by.
    if huge.set_len(1 << 40).is_err() {
        return;
    }
    run(async {
        assert_eq!(storage.get("0/huge", (1 << 40) - 3..1 << 40).await.expect("its end"), [0; 3][..]);
        let put = storage.put_new("0/huge", &[Bytes::from_static(b"x")]).await.expect("an answer");
        assert_eq!(put, Put::Taken);
    });
}

#[test]
fn files_that_are_none_of_ours_do_not_matter() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path();
    let storage = at(root);
    run(async {
        for key in ["0/a", "0/b", "1/c"] {
            storage.put_new(key, &[Bytes::from_static(b"x")]).await.expect("a put");
        }
        // What a writer that was killed leaves, names that no key has, a loop, a link to nowhere, a FIFO, a socket.
        fs::write(root.join("0/a#1"), "half").expect("a file");
        fs::write(root.join("0").join(OsStr::from_bytes(b"a\xFF")), "x").expect("a file");
        fs::write(root.join("0/a\nb"), "x").expect("a file");
        fs::create_dir(root.join(OsStr::from_bytes(b"\xFE"))).expect("a directory");
        fs::write(root.join(OsStr::from_bytes(b"\xFE/x")), "x").expect("a file");
        fs::create_dir(root.join("empty")).expect("a directory");
        symlink("..", root.join("0/loop")).expect("a link");
        symlink("nowhere", root.join("0/nowhere")).expect("a link");
        let made =
            std::process::Command::new("mkfifo").arg(root.join("0/fifo")).status().expect("mkfifo runs");
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(root.join("0/socket")).expect("a socket");
        let listed = storage.list("0/", None, 1000).await.expect("a list");
        let listed: Vec<&str> = listed.iter().map(|info| info.key.as_str()).collect();
        assert_eq!(listed, ["0/a", "0/b"]);
        assert_eq!(keys(&*storage).await, ["0/a", "0/b", "1/c"]);
        assert_eq!(storage.list_names("").await.expect("names"), ["0", "1"]);
        // What is half written is in nobody's way.
        assert_eq!(storage.put_new("0/a", &[Bytes::from_static(b"x")]).await.expect("a put"), Put::Created);
        assert_eq!(storage.put_new("0/a", &[Bytes::from_static(b"y")]).await.expect("a put"), Put::Taken);
    });
}

#[test]
fn an_object_that_was_found_there_is_made_durable() {
    let home = tempfile::tempdir().expect("a directory");
    let storage = at(home.path());
    let content = Bytes::from_static(b"content");
    run(async {
        // As a process left it that was killed between its writing and its fsync.
        fs::create_dir(home.path().join("0")).expect("a directory");
        let file = home.path().join("0/x");
        fs::write(&file, &content).expect("a file");
        let before = fs::metadata(&file).expect("it is there").ino();
        let put = storage.put_new("0/x", std::slice::from_ref(&content)).await.expect("a put");
        assert_eq!(put, Put::Created);
        assert_ne!(
            fs::metadata(&file).expect("it is there").ino(),
            before,
            "it is written again, and fsynced"
        );
        assert_eq!(storage.get("0/x", 0..7).await.expect("its bytes"), content);
        // Other bytes are left alone.
        let kept = fs::metadata(&file).expect("it is there").ino();
        let other = Bytes::from_static(b"CONTENT");
        assert_eq!(storage.put_new("0/x", &[other]).await.expect("a put"), Put::Taken);
        assert_eq!(fs::metadata(&file).expect("it is there").ino(), kept);
        assert_eq!(
            fs::read_dir(home.path().join("0")).expect("a directory").count(),
            1,
            "nothing is left over"
        );
    });
}

#[test]
fn directories_go_with_their_last_object() {
    let home = tempfile::tempdir().expect("a directory");
    let storage = at(&home.path().join("root"));
    run(async {
        let key = "log/parts/0-a/00000.part".to_owned();
        storage.put_new(&key, &[Bytes::from_static(b"x")]).await.expect("a put");
        storage.delete(std::slice::from_ref(&key)).await.expect("it is deleted");
        assert!(!home.path().join("root/log").exists());
        assert_eq!(storage.put_new(&key, &[Bytes::from_static(b"y")]).await.expect("a put"), Put::Created);
    });
}

#[test]
fn a_directory_that_is_away_or_another_one_is_told_by_every_operation_and_left_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let (root, elsewhere) = (home.path().join("root"), home.path().join("elsewhere"));
    let storage = at(&root);
    let object = || [Bytes::from_static(b"x")];
    run(async {
        storage.put_new("log/x", &object()).await.expect("a put");
        fs::rename(&root, &elsewhere).expect("it is renamed");
        for (made, why) in [(false, "not there any more"), (true, "another directory")] {
            if made {
                // Not even one with the same names in it.
                fs::create_dir_all(root.join("log")).expect("a directory");
                fs::write(root.join("log/x"), "y").expect("a file");
            }
            for error in [
                storage.put_new("log/x", &object()).await.expect_err("it cannot be put"),
                storage.put_new("log/y", &object()).await.expect_err("it cannot be put"),
                storage.get("log/x", 0..1).await.expect_err("it cannot be read"),
                storage.head("log/x").await.expect_err("it cannot be looked at"),
                storage.list("", None, 1).await.expect_err("it cannot be listed"),
                storage.list_names("").await.expect_err("it cannot be listed"),
                storage.delete(&["log/x".into()]).await.expect_err("it cannot be deleted"),
            ] {
                // Not "not found": that is said of an object that may have been deleted.
                let is_away = matches!(error, Error::Storage { kind: StorageErrorKind::Unavailable, .. });
                assert!(is_away && error.to_string().contains(why), "{error:?}");
            }
            assert_eq!(root.exists(), made, "it is not made again");
        }
        assert_eq!(fs::read_dir(root.join("log")).expect("it is there").count(), 1, "nothing was put there");
        fs::remove_dir_all(&root).expect("it is removed");
        fs::rename(&elsewhere, &root).expect("it is back");
        assert_eq!(storage.put_new("log/y", &object()).await.expect("a put"), Put::Created);
        assert_eq!(keys(&*storage).await, ["log/x", "log/y"]);
    });
}

#[test]
fn a_directory_that_was_emptied_is_told_once_before_anything_is_put_there() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("root");
    let storage = at(&root);
    let object = || [Bytes::from_static(b"x")];
    run(async {
        for key in ["log/x", "other/x"] {
            storage.put_new(key, &object()).await.expect("a put");
        }
        // The same directory still, without the objects of one log.
        fs::remove_dir_all(root.join("log")).expect("it is removed");
        storage.put_new("other/y", &object()).await.expect("nothing is wrong with this one");
        let error = storage.put_new("log/y", &object()).await.expect_err("its log is gone");
        assert!(error.to_string().contains("emptied"), "{error}");
        assert!(!root.join("log").exists());
        // Whoever goes on has looked.
        assert_eq!(storage.put_new("log/y", &object()).await.expect("a put"), Put::Created);
    });
}

#[test]
fn a_root_that_is_no_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("file");
    fs::write(&root, "x").expect("a file");
    let storage = at(&root);
    run(async {
        for error in [
            storage.put_new("0/x", &[Bytes::from_static(b"x")]).await.expect_err("it cannot be put"),
            storage.get("0/x", 0..1).await.expect_err("it cannot be read"),
        ] {
            assert!(error.to_string().contains(&*root.to_string_lossy()), "{error}");
        }
        assert_eq!(fs::read(&root).expect("the file"), b"x");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_directory_that_may_not_be_made() {
    // By nobody, whoever runs the test.
    let storage = at(Path::new("/sys/vwal-test"));
    let error = run(storage.put_new("0/x", &[Bytes::from_static(b"x")])).expect_err("it cannot be put");
    assert!(matches!(error, Error::Storage { kind: StorageErrorKind::Denied, .. }), "{error:?}");
}
