//! A unified diff, so that a failing session shows at a glance where it went astray.

/// Lines shown before and after a difference.
const CONTEXT: usize = 3;

/// The unified diff from `old` to `new`, or nothing when they are equal.
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let edits = edits(&old, &new);
    let mut out = format!("--- {old_name}\n+++ {new_name}\n");
    let changed: Vec<usize> = (0..edits.len()).filter(|&at| edits[at].0 != ' ').collect();
    let mut from = 0;
    while from < changed.len() {
        // One hunk: changes that are so close together that their context would overlap.
        let mut to = from;
        while to + 1 < changed.len() && changed[to + 1] - changed[to] <= 2 * CONTEXT {
            to += 1;
        }
        let start = changed[from].saturating_sub(CONTEXT);
        let end = (changed[to] + CONTEXT + 1).min(edits.len());
        let line_of = |sides: [char; 2]| 1 + edits[..start].iter().filter(|e| sides.contains(&e.0)).count();
        let count_of = |sides: [char; 2]| edits[start..end].iter().filter(|e| sides.contains(&e.0)).count();
        out += &format!(
            "@@ -{},{} +{},{} @@\n",
            line_of([' ', '-']),
            count_of([' ', '-']),
            line_of([' ', '+']),
            count_of([' ', '+'])
        );
        for (sign, line) in &edits[start..end] {
            out.push(*sign);
            out += line.trim_end_matches('\n');
            out.push('\n');
            if !line.ends_with('\n') {
                out += "\\ no newline at the end\n";
            }
        }
        from = to + 1;
    }
    Some(out)
}

/// The lines of both, each with a blank (in both), `-` (in `old` alone) or `+` (in `new` alone).
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: length of the longest common subsequence of old[i..] and new[j..].
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            edits.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            edits.push(('-', old[i]));
            i += 1;
        } else {
            edits.push(('+', new[j]));
            j += 1;
        }
    }
    edits
}

#[test]
fn a_diff_shows_the_changed_lines_and_their_neighbours() {
    assert_eq!(unified("a\nb\n", "a\nb\n", "x", "y"), None);
    assert_eq!(
        unified("1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\n4\nfive\n6\n7\n8\n", "x", "y").unwrap(),
        "--- x\n+++ y\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n+8\n"
    );
}
