//! Regular expressions for whole names, as Python understands them.

use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

/// A Python regular expression that must match a whole name (`re.fullmatch`), with bounded effort.
#[derive(Clone, Debug)]
pub struct FullMatch(fancy_regex::Regex);

impl FullMatch {
    pub fn new(pattern: &str, option: &str) -> Result<Self> {
        let bad = |why: String| Error::config(option, format!("{:?}: {why}", printable(pattern, 80)));
        if pattern.len() > 1 << 16 {
            return Err(bad("longer than 64 KiB".into()));
        }
        let (flags, body) = inline_flags(pattern);
        // In verbose mode the pattern may end in a comment, which only a line break ends.
        let end = if flags.contains('x') { "\n" } else { "" };
        let regex = fancy_regex::RegexBuilder::new(&format!(r"\A(?{flags}:{body}{end})\z"))
            .backtrack_limit(200_000)
            .build()
            .map_err(|e| bad(printable(&e.to_string(), 200)))?;
        Ok(Self(regex))
    }

    pub fn matches(&self, name: &str) -> Result<bool> {
        self.0.is_match(name).map_err(|e| {
            Error::config(
                "target_modules",
                format!("matching {name} took too long: {}", printable(&e.to_string(), 120)),
            )
        })
    }
}

/// Python's global flags at the start of a pattern (`(?ix)`), those that mean something here, and the rest.
fn inline_flags(pattern: &str) -> (String, &str) {
    let found = pattern.strip_prefix("(?").and_then(|rest| {
        let end = rest.find(')')?;
        let flags = &rest[..end];
        (!flags.is_empty() && flags.chars().all(|c| "aiLmsux".contains(c))).then_some((flags, &rest[end + 1..]))
    });
    match found {
        Some((flags, body)) => (flags.chars().filter(|c| "imsx".contains(*c)).collect(), body),
        None => (String::new(), pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_explodes_is_an_error_and_not_a_hang() {
        let evil = FullMatch::new("(a+)+$(?=b)", "target_modules").unwrap();
        assert!(evil.matches(&format!("{}c", "a".repeat(60))).is_err() || !evil.matches("aac").unwrap());
    }

    #[test]
    fn pythons_global_flags_are_understood() {
        let matches = |p: &str, n: &str| FullMatch::new(p, "target_modules").unwrap().matches(n).unwrap();
        assert!(matches("(?x) .* \\. [qv]_proj # comment", "layers.0.q_proj"));
        assert!(matches("(?i).*Q_PROJ", "q_proj"));
        assert!(!matches(".*q_proj", "q_projx"));
    }
}
