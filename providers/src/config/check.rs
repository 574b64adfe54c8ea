//! Checks that more than one type of provider needs. What is wrong is not repeated, because it may hold a secret.

use reqwest::Url;

use super::error::{ConfigError, Origin};
use super::layer::Table;

/// An address: scheme, host, port and path; `such_as` are examples.
pub(super) fn base_url(text: String, origin: Origin, table: &Table, such_as: &str) -> Result<String, ConfigError> {
    let is_address = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && (url.username(), url.password(), url.query(), url.fragment()) == ("", None, None, None)
    };
    if Url::parse(&text).as_ref().is_ok_and(is_address) {
        return Ok(text);
    }
    let problem = format!(
        "must be an address such as {such_as}, without user and query; a key goes into the variable of `api_key_env`"
    );
    Err(table.refuse("base_url", origin, problem))
}

/// A key, which goes into a header of every request.
pub(super) fn key(key: String, origin: Origin, table: &Table) -> Result<String, ConfigError> {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(key);
    }
    let problem = "must be a key as it was given: letters, digits and signs, without blanks and line breaks";
    Err(table.refuse("api_key", origin, problem.to_owned()))
}

/// The name of a variable of the environment, where somebody may have pasted the key; `such_as` is an example.
pub(super) fn variable(name: String, origin: Origin, table: &Table, such_as: &str) -> Result<String, ConfigError> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(name);
    }
    let problem = format!("must be the name of a variable of the environment, such as {such_as}");
    Err(table.refuse("api_key_env", origin, problem))
}
