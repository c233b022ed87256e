//! Numbers and strings in a template's text.

use super::token::Token;

fn digits(text: &str, radix: u32) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if c.is_digit(radix) {
            end = at + 1;
        } else if c != '_' || at != end {
            break;
        }
    }
    end
}

/// The number that a text begins with, and its length. After a dot (`x.0.1`) it is whole.
pub fn number(text: &str, after_dot: bool) -> Result<(Token, usize), String> {
    if let Some(radix) = text.get(..2).and_then(|p| match p {
        "0x" | "0X" => Some(16),
        "0o" | "0O" => Some(8),
        "0b" | "0B" => Some(2),
        _ => None,
    }) {
        let body = text[2..].strip_prefix('_').unwrap_or(&text[2..]);
        let n = digits(body, radix);
        if n > 0 {
            let clean = body[..n].replace('_', "");
            let value = i128::from_str_radix(&clean, radix).map_err(|_| "the integer is too large".to_owned())?;
            return Ok((Token::Int(value), text.len() - body.len() + n));
        }
    }
    let whole = digits(text, 10);
    let mut end = whole;
    if !after_dot {
        if let Some(fraction) = text[end..].strip_prefix('.') {
            let n = digits(fraction, 10);
            end += if n > 0 { n + 1 } else { 0 };
        }
        if let Some(power) = text[end..].strip_prefix(['e', 'E']) {
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            let n = digits(unsigned, 10);
            end += if n > 0 { 1 + power.len() - unsigned.len() + n } else { 0 };
        }
    }
    let clean = text[..end].replace('_', "");
    if end > whole {
        return clean.parse().map(|v| (Token::Float(v), end)).map_err(|_| "this is no number".to_owned());
    }
    if clean.starts_with('0') && clean.bytes().any(|b| b != b'0') {
        return Err("a number may not begin with 0".to_owned());
    }
    clean.parse().map(|v| (Token::Int(v), end)).map_err(|_| "the integer is too large".to_owned())
}

/// Length of the quoted string at the beginning, quotes included.
pub fn string_length(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Python's `unicode-escape`; an unknown escape keeps its backslash.
pub fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else { break };
        let mut taken = c.len_utf8();
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            '0'..='7' => {
                let n = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                out.push(u32::from_str_radix(&rest[..n], 8).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
                taken = n;
            }
            'x' | 'u' | 'U' => {
                let width = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let hex = rest.get(1..=width).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
                let hex = hex.ok_or_else(|| format!("truncated \\{c} escape"))?;
                let code = u32::from_str_radix(hex, 16).map_err(|e| e.to_string())?;
                // Python holds halves of pairs in a string and cannot write them; there is no such character here.
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                taken = 1 + width;
            }
            'N' => return Err("names of characters (\\N{...}) are not supported".to_owned()),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Ok(out)
}
