//! What may have been meant by a name that there is not.

use swift_tuners_nn::error::printable;

/// The names (last components) that come closest to what was asked for.
pub fn nearest(wanted: &[String], names: &[&str]) -> Vec<String> {
    let mut leaves: Vec<&str> = names.iter().filter_map(|n| n.rsplit('.').next()).collect();
    leaves.retain(|l| !l.is_empty() && !l.chars().all(|c| c.is_ascii_digit()));
    leaves.sort_unstable();
    leaves.dedup();
    leaves.sort_by_key(|leaf| wanted.iter().map(|w| distance(w, leaf)).min().unwrap_or(0));
    leaves.into_iter().take(5).map(str::to_owned).collect()
}

/// Of these words the one that is most like `word`.
pub fn nearest_word<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    words.into_iter().min_by_key(|w| distance(word, w))
}

/// Levenshtein's edit distance over the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What a string that is no module's whole name may have been meant for.
pub fn meant_by(pattern: &str, names: &[&str]) -> Option<String> {
    if pattern.to_ascii_lowercase().replace(['_', '-', ' '], "") == "alllinear" {
        return Some("did you mean \"all-linear\"?".into());
    }
    let ending =
        names.iter().any(|name| name.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    ending.then(|| {
        let list = printable(pattern, 80);
        format!("a string is a regular expression for the whole name; did you mean the list [{list:?}]?")
    })
}
