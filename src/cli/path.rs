//! `vwal path`: where the loadable extension lies.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Failure, Outcome, Report};

/// Print the path of the library that belongs to this executable.
pub fn run() -> Result<Report, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot tell where vwal is: {error}")))?;
    let library = find(&program)?;
    Ok(Report::new(library.display().to_string(), &json!({ "path": library }), Outcome::Good))
}

/// Beside the executable, as `cargo build` leaves it; in `deps`, where `cargo test` alone leaves it; or in the `lib` next
/// to its `bin`, as systems install it.
fn find(program: &Path) -> Result<PathBuf, Failure> {
    let name = format!("{DLL_PREFIX}vwal{DLL_SUFFIX}");
    let dir = program.parent().unwrap_or(Path::new("."));
    let candidates = [dir.join(&name), dir.join("deps").join(&name), dir.join("../lib").join(&name)];
    let found = candidates.iter().find(|candidate| candidate.is_file());
    found.map(|found| found.canonicalize().unwrap_or_else(|_| found.clone())).ok_or_else(|| {
        Failure::new(format!(
            "there is no {name} beside {} (and none in ../lib): copy it there from the target directory in which \
             'cargo build --release' made both ('cargo install' installs the command alone)",
            program.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_beside_or_in_lib_and_its_absence_is_explained() {
        let root = tempfile::tempdir().unwrap();
        let name = format!("{DLL_PREFIX}vwal{DLL_SUFFIX}");
        let program = root.path().join("bin/vwal");
        std::fs::create_dir_all(root.path().join("bin")).unwrap();
        std::fs::create_dir_all(root.path().join("lib")).unwrap();
        let message = find(&program).unwrap_err().message;
        assert!(message.contains(&name) && message.contains("cargo build --release"), "{message}");
        for place in ["lib", "bin"] {
            let library = root.path().join(place).join(&name);
            std::fs::write(&library, "").unwrap();
            assert_eq!(find(&program).unwrap(), library.canonicalize().unwrap());
        }
    }
}
