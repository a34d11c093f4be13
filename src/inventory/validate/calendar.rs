//! When a systemd timer fires: the part of `OnCalendar=` (systemd.time(7)) that says the same in every version of systemd.

/// The words for a whole expression. `minutely` is one too; backups every minute are nobody's wish.
const WORDS: [&str; 9] =
    ["hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "biannually", "annually", "yearly"];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Says what is wrong with an expression, if anything is.
///
/// One of systemd's words, or `[DAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]] [UTC]` with at least one of
/// the first three. A part is `*` or a list of
/// numbers and ranges (`1..5`), each with a step if need be (`0/15`). Minute and second are never `*`.
pub(super) fn wrong(text: &str) -> Option<&'static str> {
    if WORDS.contains(&text.strip_suffix(" UTC").unwrap_or(text)) {
        return None;
    }
    if text.trim() != text || text.contains("  ") || !text.is_ascii() {
        return Some("there is white space too much, or a character that is not ASCII");
    }
    let mut parts: Vec<&str> = text.split(' ').collect();
    if parts.last() == Some(&"UTC") {
        parts.pop();
    }
    let mut rest = parts.as_slice();
    let mut seen = false;
    let mut next = |is: fn(&str) -> bool| {
        let (first, others) = rest.split_first().filter(|(first, _)| is(first))?;
        rest = others;
        seen = true;
        Some(*first)
    };
    let days = next(|p| p.starts_with(|c: char| c.is_ascii_alphabetic()));
    let date = next(|p| p.contains('-'));
    let time = next(|p| p.contains(':'));
    if !seen || !rest.is_empty() {
        return Some("it is none of systemd's words, and not days, date and time in this order");
    }
    if days.is_some_and(|days| !days.split(',').all(is_days)) {
        return Some("a day of the week is Mon, Tue, ... or a range like Mon..Fri");
    }
    if date.is_some_and(|date| !is_date(date)) {
        return Some("a date is like *-*-01: year, month (1 to 12) and day (1 to 31)");
    }
    if time.is_some_and(|time| !is_time(time)) {
        return Some("a time is like 02:30, 0/6:00 or *:15: hour (0 to 23) and minute (0 to 59), which is never *");
    }
    None
}

fn is_days(text: &str) -> bool {
    let day = |text: &str| {
        let text = text.to_ascii_lowercase();
        DAYS.iter().any(|day| *day == text || day[..3] == *text)
    };
    text.split_once("..").map_or_else(|| day(text), |(from, to)| day(from) && day(to))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] => (*year, *month, *day),
        [month, day] => ("*", *month, *day),
        _ => return false,
    };
    is_part(year, 1970..=2199, true) && is_part(month, 1..=12, true) && is_part(day, 1..=31, true)
}

fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, "0"),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return false,
    };
    // More than one second of a minute would be more than one backup in it.
    let one_second = second.len() <= 2 && number(second).is_some_and(|s| s < 60);
    is_part(hour, 0..=23, true) && is_part(minute, 0..=59, false) && one_second
}

fn number(text: &str) -> Option<u32> {
    text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_part(text: &str, within: std::ops::RangeInclusive<u32>, any: bool) -> bool {
    if text == "*" {
        return any;
    }
    let value = |text: &str| number(text).filter(|n| within.contains(n));
    text.split(',').all(|item| {
        let (span, step) = item.split_once('/').map_or((item, None), |(span, step)| (span, Some(step)));
        let spans = match span.split_once("..") {
            Some((from, to)) => value(from).zip(value(to)).is_some_and(|(from, to)| from < to),
            None => value(span).is_some(),
        };
        spans && step.is_none_or(|step| number(step).is_some_and(|n| n > 0 && n <= *within.end()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::wrong;

    const RIGHT: [&str; 16] = [
        "daily",
        "weekly UTC",
        "02:30",
        "02:30:15",
        "*:15",
        "*:0/15",
        "0/6:00",
        "Mon 03:00",
        "Mon..Fri 22:00 UTC",
        "sat,Sunday",
        "*-*-01",
        "*-*-1,15 04:00",
        "*-01/3-01",
        "2026..2030-*-* 01:00",
        "12-24 18:00",
        "Mon,Wed..Fri *-*-* 8..18/2:30",
    ];

    #[test]
    fn what_systemd_takes_is_told_from_what_it_does_not() {
        for right in RIGHT {
            assert_eq!(wrong(right), None, "{right}");
        }
        for bad in [
            "",
            " ",
            "Daily",
            "minutely",
            "every day",
            "24:00",
            "02:60",
            "02:30:60",
            "*:*",
            "*:*:*",
            "2:3:4:5",
            "02:30 daily",
            "Mon Tue",
            "Moon 02:00",
            "Fri..",
            "*-13-01",
            "*-*-32",
            "*-*-0",
            "2026-01",
            "02:30 Europe/Paris",
            "5..1:00",
            "1/0:00",
            "-1:00",
            "02:30\nExecStart=/bin/sh",
            "02:30%n",
            "UTC",
        ] {
            assert!(wrong(bad).is_some(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_taken_breaks_a_line(text in "(Mon|daily|[0-9*/:.,-]{1,6}|\\PC|[\\n%$ ]){0,6}") {
            if wrong(&text).is_none() {
                prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "*/:.,- ".contains(c)));
            }
        }
    }
}
