//! Seconds since 1970 of a time as Go writes it (RFC 3339): until when a model stays in memory.

/// `2026-11-21T17:42:50.039970098Z`, or with `+01:00` at its end; a fraction of a second does not count. `None` for anything else.
pub(super) fn unix_seconds(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if separators.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(mark)) {
        return None;
    }
    let days = days_since_1970(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let local = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if zone == "Z" {
        return Some(local);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60;
    match zone.get(..1)? {
        "+" => Some(local - offset),
        "-" => Some(local + offset),
        _ => None,
    }
}

/// Days of the Gregorian calendar: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against GNU date: `date -d TIME +%s`.
    #[test]
    fn a_time_is_read() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2026-11-21T17:42:50.039970098Z"), Some(1_795_282_970));
        assert_eq!(unix_seconds("2024-02-29T23:59:59.5+01:30"), Some(1_709_245_799));
        assert_eq!(unix_seconds("2319-03-03T17:25:39.948359691Z"), Some(11_018_654_739));
        for wrong in ["", "tomorrow", "2026-11-21", "2026-11-21T17:42:50", "2026-11-21T17:42:50 UTC"] {
            assert_eq!(unix_seconds(wrong), None, "`{wrong}`");
        }
    }
}
