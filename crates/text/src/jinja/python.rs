//! Small things of Python: white space, floats, slices.

/// `str.isspace` of one character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `repr` of a float: the shortest digits that give it back.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let text = format!("{value:e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if (-4..16).contains(&power) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// Where `start:stop:step` of `length` elements begins and ends, as Python's `slice.indices`. `step` is not 0.
pub fn bounds(length: usize, start: Option<i128>, stop: Option<i128>, step: i128) -> (i128, i128) {
    let n = length as i128;
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let place = |value: i128| (if value < 0 { value.saturating_add(n) } else { value }).clamp(low, high);
    let start = start.map_or(if step > 0 { low } else { high }, place);
    let stop = stop.map_or(if step > 0 { high } else { low }, place);
    (start, stop)
}

/// The places `start:stop:step` of `length` elements.
pub fn slice(length: usize, start: Option<i128>, stop: Option<i128>, step: i128) -> Vec<usize> {
    let (mut at, stop) = bounds(length, start, stop, step);
    let mut out = Vec::new();
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        out.push(at as usize);
        at = at.saturating_add(step);
    }
    out
}

/// `str.title` of one word's beginning; a letter may become two, of which one stays large.
pub fn capital(c: char) -> String {
    // Letters that are two have a third form.
    if let 'Ǆ'..='ǌ' | 'Ǳ'..='ǳ' = c {
        let at = c as u32;
        let first = if at >= 0x1f1 { 0x1f1 } else { 0x1c4 };
        return char::from_u32(first + (at - first) / 3 * 3 + 1).into_iter().collect();
    }
    let mut upper = c.to_uppercase();
    let mut out: String = upper.next().into_iter().collect();
    for more in upper {
        out.extend(more.to_lowercase());
    }
    out
}
