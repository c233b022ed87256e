//! Numbers from texts, and numbers as formats want them.

use super::python;
use super::value::Value;
use crate::error::{Error, Result};

fn clean(text: &str) -> Option<String> {
    let text = text.trim_matches(python::is_space);
    let bytes = text.as_bytes();
    let valid = |at: usize| {
        bytes[at] != b'_'
            || at > 0
                && at + 1 < bytes.len()
                && bytes[at - 1].is_ascii_alphanumeric()
                && bytes[at + 1].is_ascii_alphanumeric()
    };
    (0..bytes.len()).all(valid).then(|| text.replace('_', ""))
}

/// `int(text, base)`, or nothing where there is none.
pub fn int(text: &str, base: u32) -> Option<i128> {
    let text = clean(text)?;
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, &text[..]),
    };
    let lower = digits.to_ascii_lowercase();
    let marks = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (base, digits) = match marks.iter().find(|(mark, of)| lower.starts_with(mark) && (base == *of || base == 0)) {
        Some((_, of)) => (*of, &lower[2..]),
        None => (if base == 0 { 10 } else { base }, &lower[..]),
    };
    if digits.is_empty() || !(2..=36).contains(&base) || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

/// `float(text)`, or nothing where there is none.
pub fn float(text: &str) -> Option<f64> {
    let text = clean(text)?.to_ascii_lowercase();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let known = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || matches!(unsigned, "inf" | "infinity" | "nan");
    if known {
        text.parse().ok()
    } else {
        None
    }
}

/// `int(number)`: towards zero.
pub fn whole(value: f64) -> Option<i128> {
    (value.is_finite() && value.abs() < 1.7e38).then_some(value as i128)
}

/// `round(value, digits)`.
pub fn round(value: f64, digits: i128) -> f64 {
    if !value.is_finite() || digits > 300 {
        return value;
    }
    if digits >= 0 {
        return format!("{value:.*}", digits as usize).parse().unwrap_or(value);
    }
    let unit = 10f64.powi(digits.unsigned_abs().min(308) as i32);
    let scaled = value / unit;
    let down = scaled.floor();
    let rest = scaled - down;
    let up = rest > 0.5 || rest == 0.5 && down % 2.0 != 0.0;
    (if up { down + 1.0 } else { down }) * unit
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`.
#[derive(Clone)]
pub struct Spec {
    pub fill: char,
    /// `<`, `>`, `^`, `=`, or what the type is used to.
    pub align: Option<char>,
    pub sign: char,
    pub alternate: bool,
    pub width: usize,
    pub comma: Option<char>,
    pub precision: Option<usize>,
    pub kind: Option<char>,
}

/// Digits and widths that a format may have.
const WIDEST: usize = 1 << 16;

impl Default for Spec {
    fn default() -> Self {
        Self { fill: ' ', align: None, sign: '-', alternate: false, width: 0, comma: None, precision: None, kind: None }
    }
}

fn count(text: &str) -> Result<(usize, &str)> {
    let n = text.bytes().take_while(u8::is_ascii_digit).count();
    let value = text[..n].parse().unwrap_or(if n == 0 { 0 } else { usize::MAX });
    if value > WIDEST {
        return Err(Error::value("Too many decimal digits in format string"));
    }
    Ok((value, &text[n..]))
}

impl Spec {
    /// Reads what stands behind the colon of `{:...}`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut spec = Self::default();
        let mut rest = text;
        let mut chars = rest.chars();
        let (first, second) = (chars.next(), chars.next());
        let aligns = |c: Option<char>| c.filter(|c| matches!(c, '<' | '>' | '^' | '='));
        if let (Some(fill), Some(align)) = (first, aligns(second)) {
            (spec.fill, spec.align) = (fill, Some(align));
            rest = &rest[fill.len_utf8() + 1..];
        } else if let Some(align) = aligns(first) {
            spec.align = Some(align);
            rest = &rest[1..];
        }
        if let Some(sign) = rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' ')) {
            spec.sign = sign;
            rest = &rest[1..];
        }
        if let Some(after) = rest.strip_prefix('#') {
            spec.alternate = true;
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('0') {
            spec.fill = if spec.fill == ' ' { '0' } else { spec.fill };
            spec.align = spec.align.or(Some('='));
            rest = after;
        }
        (spec.width, rest) = count(rest)?;
        if let Some(after) = rest.strip_prefix([',', '_']) {
            spec.comma = rest.chars().next();
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = count(after)?;
            spec.precision = Some(precision);
            rest = after;
        }
        let mut chars = rest.chars();
        spec.kind = chars.next();
        if chars.next().is_some() {
            return Err(Error::value(format!("Invalid format specifier '{text}'")));
        }
        Ok(spec)
    }

    /// A value as the format wants it; `text` is its `str()`.
    pub fn apply(&self, value: &Value, text: &str) -> Result<String> {
        let unknown = |kind: char| {
            Error::value(format!("Unknown format code '{kind}' for object of type '{}'", value.type_name()))
        };
        let whole = match value {
            Value::Int(i) => Some(*i),
            Value::Bool(b) if self.kind != Some('s') => Some(i128::from(*b)),
            _ => None,
        };
        match (whole, value, self.kind) {
            (Some(i), _, Some('c')) => {
                let c = u32::try_from(i).ok().and_then(char::from_u32);
                Ok(self.padded(&c.ok_or_else(|| Error::value("%c arg not in range(0x110000)"))?.to_string(), '<'))
            }
            (Some(i), _, None | Some('d' | 'n' | 'b' | 'o' | 'x' | 'X')) => Ok(self.integer(i)),
            (_, _, Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%'))) => match value.number() {
                Some(number) => Ok(self.float(number, kind)),
                None => Err(unknown(kind)),
            },
            (_, Value::Float(f), None) => match self.precision {
                Some(_) => Ok(self.float(*f, 'g')),
                None => Ok(self.number(f.is_sign_negative(), text.trim_start_matches('-'), "")),
            },
            (_, Value::Float(f), Some('n')) => Ok(self.float(*f, 'g')),
            (None, _, None | Some('s')) if self.align != Some('=') || self.fill == '0' => {
                let cut: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
                Ok(self.padded(&cut, '<'))
            }
            (None, _, None | Some('s')) => Err(Error::value("'=' alignment not allowed in string format specifier")),
            (_, _, Some(kind)) => Err(unknown(kind)),
        }
    }

    pub fn padded(&self, text: &str, usual: char) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let align = self.align.filter(|a| *a != '=').unwrap_or(usual);
        let left = match align {
            '<' => 0,
            '^' => missing / 2,
            _ => missing,
        };
        let fill = |n: usize| std::iter::repeat_n(self.fill, n);
        fill(left).chain(text.chars()).chain(fill(missing - left)).collect()
    }

    fn grouped(&self, digits: &str, size: usize) -> String {
        let Some(comma) = self.comma else { return digits.to_owned() };
        let n = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
        let mut out = String::new();
        for (i, c) in digits[..n].chars().enumerate() {
            if i > 0 && (n - i) % size == 0 {
                out.push(comma);
            }
            out.push(c);
        }
        out + &digits[n..]
    }

    fn number(&self, negative: bool, digits: &str, prefix: &str) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        };
        let head = format!("{sign}{prefix}");
        if self.align == Some('=') {
            let missing = self.width.saturating_sub(head.chars().count() + digits.chars().count());
            return head.chars().chain(std::iter::repeat_n(self.fill, missing)).chain(digits.chars()).collect();
        }
        self.padded(&(head + digits), '>')
    }

    fn integer(&self, value: i128) -> String {
        let size = value.unsigned_abs();
        let (mut digits, prefix, group) = match self.kind {
            Some('b') => (format!("{size:b}"), "0b", 4),
            Some('o') => (format!("{size:o}"), "0o", 4),
            Some('x') => (format!("{size:x}"), "0x", 4),
            Some('X') => (format!("{size:X}"), "0X", 4),
            _ => (size.to_string(), "", 3),
        };
        if let Some(least) = self.precision {
            digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
        }
        self.number(value < 0, &self.grouped(&digits, group), if self.alternate { prefix } else { "" })
    }

    fn float(&self, value: f64, kind: char) -> String {
        let size = value.abs();
        let upper = kind.is_ascii_uppercase();
        let precision = self.precision.unwrap_or(6);
        let mut digits = if !size.is_finite() {
            python::float(size)
        } else {
            match kind.to_ascii_lowercase() {
                'e' => exponent(size, precision),
                'f' => format!("{size:.precision$}"),
                '%' => format!("{:.precision$}%", size * 100.0),
                _ => general(size, precision.max(1), self.alternate),
            }
        };
        if upper {
            digits = digits.to_uppercase();
        }
        self.number(value.is_sign_negative() && !value.is_nan(), &self.grouped(&digits, 3), "")
    }
}

fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

fn general(value: f64, precision: usize, alternate: bool) -> String {
    let scientific = exponent(value, precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, p)| p.parse().ok()).unwrap_or(0);
    let trim = |digits: &str| match digits.contains('.') && !alternate {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if power < -4 || power >= precision as i32 {
        let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{power}", trim(digits));
    }
    trim(&format!("{value:.*}", (precision as i32 - 1 - power).max(0) as usize))
}
