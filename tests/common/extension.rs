//! Where the loadable extension is that was built together with the running test.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::path::PathBuf;

/// The path of `libvwal.so` (`.dylib` on macOS).
///
/// Cargo builds all crate types of the package's library before an integration test, and puts the `cdylib` beside
/// the test's own executable, so it can never be an older one than the library linked here.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let deps = test.parent().expect("the test lies in a directory");
    let name = format!("{}vwal{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = deps.join(&name);
    assert!(path.is_file(), "{name} is not beside the test, in {}", deps.display());
    path
}
