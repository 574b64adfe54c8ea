//! The header of a message, and the header of the message it answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lenient::null_default;

/// Who sent a message, when, and of what type it is. The fields are in the order in which jupyter_client writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Unique per message.
    pub msg_id: String,
    /// E.g. `execute_request`.
    pub msg_type: String,
    /// The sender's user name.
    #[serde(default, deserialize_with = "null_default")]
    pub username: String,
    /// One client's conversation with a kernel, or the kernel's own.
    #[serde(default, deserialize_with = "null_default")]
    pub session: String,
    /// ISO 8601 time, kept as it was written: clients compare it with what they sent.
    #[serde(default, deserialize_with = "null_default")]
    pub date: String,
    /// The version of the messaging protocol that the sender speaks.
    #[serde(default, deserialize_with = "null_default")]
    pub version: String,
    /// The subshell that a request is for (JEP 91); none is the main shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subshell_id: Option<String>,
}

impl Header {
    /// A new header with an id and time of its own.
    pub fn new(msg_type: impl Into<String>, session: impl Into<String>) -> Header {
        Header {
            msg_id: Uuid::new_v4().to_string(),
            session: session.into(),
            username: "perilune".to_owned(),
            date: now(),
            msg_type: msg_type.into(),
            version: crate::PROTOCOL_VERSION.to_owned(),
            subshell_id: None,
        }
    }
}

fn now() -> String {
    iso_8601(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Time since the epoch as `2026-11-20T09:30:00.123456Z`. The calendar is Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn iso_8601(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let at = |seconds| iso_8601(Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000Z");
        assert_eq!(iso_8601(Duration::from_micros(1_500_000)), "1970-01-01T00:00:01.500000Z");
    }

    #[test]
    fn a_sparse_header_parses_and_subshells_survive() {
        let header: Header =
            serde_json::from_str(r#"{"msg_id":"a","msg_type":"t","username":null,"subshell_id":"s","more":1}"#)
                .unwrap();
        assert_eq!(header.subshell_id.as_deref(), Some("s"));
        assert_eq!(header.username, "");
    }
}
