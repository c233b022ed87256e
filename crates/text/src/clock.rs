//! The clock that `strftime_now` reads, given from outside, and C's `strftime`.

use crate::error::{Error, Kind, Result};

/// A moment and the zone that it is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since 1970 in UTC.
    pub epoch: i64,
    /// What the zone adds, in minutes.
    pub offset: i32,
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
/// Bytes that a format may become.
const LONGEST: usize = 1 << 16;

/// The parts of a date.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// From 0, Sunday.
    weekday: i64,
    /// From 0.
    yearday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

impl Date {
    /// From days since 1970 to the calendar (Hinnant, "chrono-compatible low-level date algorithms").
    fn of(clock: Clock) -> Self {
        let local = clock.epoch + i64::from(clock.offset) * 60_000;
        let (days, rest) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let yearday = before[(month - 1) as usize] + day - 1 + i64::from(month > 2 && leap(year));
        Self {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7),
            yearday,
            hour: rest / 3_600_000,
            minute: rest / 60_000 % 60,
            second: rest / 1000 % 60,
            millisecond: rest % 1000,
        }
    }

    /// Year and week of ISO 8601.
    fn iso(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let week = (self.yearday - monday + 10) / 7;
        let weeks = |year: i64| {
            let p = |y: i64| (y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400)).rem_euclid(7);
            if p(year) == 4 || p(year - 1) == 3 {
                53
            } else {
                52
            }
        };
        if week < 1 {
            return (self.year - 1, weeks(self.year - 1));
        }
        if week > weeks(self.year) {
            return (self.year + 1, 1);
        }
        (self.year, week)
    }

    fn hour12(&self) -> i64 {
        (self.hour + 11) % 12 + 1
    }
}

/// How a number fills its width.
#[derive(Clone, Copy)]
struct Field {
    value: i64,
    width: usize,
    fill: char,
}

impl Clock {
    /// `datetime.now().strftime(format)`: C's codes with GNU's flags (`-`, `_`, `0`, `^`, `#`) and widths, and Python's `%f`.
    pub fn format(&self, format: &str) -> Result<String> {
        let date = Date::of(*self);
        let mut out = String::new();
        self.write(format, &date, &mut out)?;
        Ok(out)
    }

    fn write(&self, format: &str, date: &Date, out: &mut String) -> Result<()> {
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut code = String::from('%');
            let (mut fill, mut upper, mut swap, mut width) = (None, false, false, 0usize);
            while let Some(&flag) = chars.peek().filter(|c| "-_0^#".contains(**c)) {
                code.push(flag);
                chars.next();
                match flag {
                    '^' => upper = true,
                    '#' => swap = true,
                    other => fill = Some(other),
                }
            }
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                code.extend(chars.next());
                width = (width * 10 + digit as usize).min(LONGEST + 1);
            }
            if let Some(&modifier) = chars.peek().filter(|c| matches!(c, 'E' | 'O')) {
                code.push(modifier);
                chars.next();
            }
            let Some(letter) = chars.next() else {
                out.push_str(&code);
                break;
            };
            code.push(letter);
            let at = out.len();
            if let Some(field) = number(letter, date) {
                let (fill, least) = match fill {
                    Some('-') => (None, 0),
                    Some('_') => (Some(' '), width.max(field.width)),
                    Some(_) => (Some('0'), width.max(field.width)),
                    None => (Some(field.fill), width.max(field.width)),
                };
                let digits = field.value.abs().to_string();
                let sign = if field.value < 0 { "-" } else { "" };
                let missing = least.saturating_sub(digits.len() + sign.len());
                out.push_str(sign);
                out.extend(std::iter::repeat_n(fill.unwrap_or(' '), missing));
                out.push_str(&digits);
            } else {
                self.words(letter, date, &code, out)?;
                let mut text = out.split_off(at);
                if upper {
                    text = text.to_uppercase();
                } else if swap {
                    text = if matches!(letter, 'p' | 'Z') { text.to_lowercase() } else { text.to_uppercase() };
                }
                let missing = width.saturating_sub(text.chars().count());
                out.extend(std::iter::repeat_n(if fill == Some('0') { '0' } else { ' ' }, missing));
                out.push_str(&text);
            }
            if out.len() > LONGEST {
                return Err(Error::new(Kind::Limit, "strftime_now: the date is too long"));
            }
        }
        Ok(())
    }

    /// Codes that are no numbers; an unknown one stays as it is.
    fn words(&self, letter: char, date: &Date, code: &str, out: &mut String) -> Result<()> {
        let day = DAYS[date.weekday as usize];
        let month = MONTHS[(date.month - 1) as usize];
        match letter {
            'a' => out.push_str(&day[..3]),
            'A' => out.push_str(day),
            'b' | 'h' => out.push_str(&month[..3]),
            'B' => out.push_str(month),
            'c' => self.write("%a %b %e %H:%M:%S %Y", date, out)?,
            'D' | 'x' => self.write("%m/%d/%y", date, out)?,
            'F' => self.write("%Y-%m-%d", date, out)?,
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'p' => out.push_str(if date.hour < 12 { "AM" } else { "PM" }),
            'P' => out.push_str(if date.hour < 12 { "am" } else { "pm" }),
            'r' => self.write("%I:%M:%S %p", date, out)?,
            'R' => self.write("%H:%M", date, out)?,
            'T' | 'X' => self.write("%H:%M:%S", date, out)?,
            's' => out.push_str(&self.epoch.div_euclid(1000).to_string()),
            'f' => out.push_str(&format!("{:06}", date.millisecond * 1000)),
            // A date of `datetime.now()` has no zone.
            'z' | 'Z' => {}
            '%' => out.push('%'),
            _ => out.push_str(code),
        }
        Ok(())
    }
}

fn number(letter: char, date: &Date) -> Option<Field> {
    let zero = |value, width| Some(Field { value, width, fill: '0' });
    let space = |value, width| Some(Field { value, width, fill: ' ' });
    match letter {
        'C' => zero(date.year.div_euclid(100), 2),
        'd' => zero(date.day, 2),
        'e' => space(date.day, 2),
        'g' => zero(date.iso().0.rem_euclid(100), 2),
        'G' => zero(date.iso().0, 1),
        'H' => zero(date.hour, 2),
        'I' => zero(date.hour12(), 2),
        'j' => zero(date.yearday + 1, 3),
        'k' => space(date.hour, 2),
        'l' => space(date.hour12(), 2),
        'm' => zero(date.month, 2),
        'M' => zero(date.minute, 2),
        'S' => zero(date.second, 2),
        'u' => zero((date.weekday + 6) % 7 + 1, 1),
        'U' => zero((date.yearday + 7 - date.weekday) / 7, 2),
        'V' => zero(date.iso().1, 2),
        'w' => zero(date.weekday, 1),
        'W' => zero((date.yearday + 7 - (date.weekday + 6) % 7) / 7, 2),
        'y' => zero(date.year.rem_euclid(100), 2),
        'Y' => zero(date.year, 1),
        _ => None,
    }
}
