//! Names that are safe on every system.

/// A file name that stays in its folder on every system.
pub fn check_plain_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("empty");
    }
    if name.len() > 255 {
        return Err("longer than 255 bytes");
    }
    if name == "." || name == ".." || name.contains(['/', '\\', ':', '<', '>', '"', '|', '?', '*']) {
        return Err("contains a character that may leave the folder or that some system forbids");
    }
    if name.chars().any(|c| c.is_control() || is_unseen(c)) {
        return Err("contains a character that controls, directs or is not seen");
    }
    if name.contains('\u{fffd}') {
        return Err("contains what is no text");
    }
    if name.starts_with(' ') || name.ends_with([' ', '.']) {
        return Err("begins or ends with a space, or ends with a dot");
    }
    let stem = name.split('.').next().unwrap_or("").to_ascii_uppercase();
    let numbered = |p: &str| stem.strip_prefix(p).is_some_and(|n| n.chars().count() == 1 && n.chars().all(is_port));
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
    {
        return Err("a reserved device name on Windows");
    }
    Ok(())
}

/// Marks of direction, separators of lines, and spaces without a width; those that join letters are parts of words.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Windows takes superscripts for digits there.
fn is_port(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '¹' | '²' | '³')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for bad in [
            "",
            "..",
            "a/b",
            "a\\b",
            "C:x",
            "con",
            "LPT1.bin",
            "com¹",
            "a\u{202e}b",
            "a\u{2028}",
            "\u{feff}a",
            "\u{fffd}",
            "conin$",
            "a\n",
            " a",
            "a.",
        ] {
            assert!(check_plain_name(bad).is_err(), "{bad:?}");
        }
        for good in ["default", "model-00001-of-00002.safetensors", "öß", "a b", "com", "com12", "a\u{200d}b"] {
            assert!(check_plain_name(good).is_ok(), "{good:?}");
        }
    }
}
