//! The documents mention only files that exist.

use crate::sources::{exists, files, read};

/// What a path in a document begins with.
const ROOTS: [&str; 8] = ["src/", "c/", "tests/", "sql/", "docs/", "examples/", "benches/", ".ci/"];

#[test]
fn documents_mention_only_files_that_exist() {
    let mut mentioned = 0;
    for path in files(&["docs", "README.md", "CHANGELOG.md", "src/lib.rs"], &["md", "rs"]) {
        for (at, line) in read(&path).lines().enumerate() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"_./-".contains(c));
            for word in words.filter(|word| ROOTS.iter().any(|root| word.starts_with(root))) {
                // A full stop or a slash may follow the path.
                let file = word.trim_end_matches(['.', '/']);
                assert!(exists(file), "{path}:{}: there is no {file}", at + 1);
                mentioned += 1;
            }
        }
    }
    assert!(mentioned > 0, "the documents name the files that they describe");
}
