//! Serde helpers for contents written by others: a null where a value is optional means that it was left out.

use serde::{Deserialize, Deserializer};

/// Reads null as the default; with `#[serde(default)]` a missing field is the same.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list of models as the same list with commas.
pub(crate) fn models<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a model specifier or a list of them")]
    enum Models {
        Text(String),
        List(Vec<String>),
    }
    Ok(Option::deserialize(deserializer)?.map(|models| match models {
        Models::Text(text) => text,
        Models::List(list) => list.join(","),
    }))
}

/// Reads null as true; with `#[serde(default = "lenient::yes")]` a missing field is the same.
pub(crate) fn null_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

/// Refuses a content that is no JSON object: serde would take a list for a struct whose fields are all optional.
pub(crate) fn object(content: &[u8]) -> Result<(), serde_json::Error> {
    match content.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err(serde::de::Error::custom("expected a JSON object")),
    }
}

/// The default of an optional flag that is on unless said otherwise.
pub(crate) fn yes() -> bool {
    true
}

/// Whether a flag is off, for leaving it out of what we write.
pub(crate) fn is_off(flag: &bool) -> bool {
    !*flag
}
