//! The configuration as it holds, value by value, each with the layer that it came from; and the schema that says which
//! keys there are, what they may be and what holds without them. No secret is among what this shows.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

use super::error::{ConfigError, Origin};
use super::layer::{Layer, Located};
use super::{Config, ConfigSources};

/// A JSON schema of the configuration, draft 2020-12. `tests/python/test_config.py` has it and the parser judge the same
/// files. Beside the standard's words, `x-default` tells in words what holds without a key where no value can, and
/// `writeOnly` marks secrets.
pub const SCHEMA: &str = include_str!("schema.json");

static PARSED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).expect("a test reads it"));

/// One value of the configuration as it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The table it stands in, such as `providers.candle`; empty for the top level.
    pub table: String,
    /// The key.
    pub key: String,
    /// The value; `None` for a secret, and where only words tell what holds.
    pub value: Option<Value>,
    /// The value as TOML writes it, or words in its place.
    pub shown: String,
    /// The layer that says so.
    pub origin: Origin,
}

impl Config {
    /// Every value that holds, the top level first, then the tables by name, with defaults. Fails as [`Config::load`] does.
    pub fn settings(sources: &ConfigSources) -> Result<Vec<Setting>, ConfigError> {
        let config = Config::load(sources)?;
        let read = super::read_layers(sources)?;
        let mut merged = Layer::defaults();
        read.layers.into_iter().for_each(|layer| merged.put(layer));
        merged.top.extend(read.trusted_folders.map(|folders| ("trusted_folders".to_owned(), folders)));

        let mut settings = in_table("", merged.top, &PARSED);
        for (name, keys) in merged.tables {
            settings.extend(in_table(&name, keys, &PARSED["properties"][&name]));
        }
        for (name, keys) in merged.providers {
            if let Some(provider) = config.providers.get(&name) {
                let schema = &PARSED["$defs"][provider.options.provider_type().as_str()];
                settings.extend(in_table(&format!("providers.{name}"), keys, schema));
            }
        }
        Ok(settings)
    }

    /// The user's file, and the project's around the working directory; neither need be there.
    pub fn paths(sources: &ConfigSources) -> (Option<PathBuf>, Option<PathBuf>) {
        (sources.directories.config_file(), sources.project_file())
    }
}

/// What was written, then what holds for the other keys of the table's schema.
fn in_table(table: &str, written: impl IntoIterator<Item = (String, Located)>, schema: &Value) -> Vec<Setting> {
    let properties = &schema["properties"];
    let mut settings: Vec<Setting> = Vec::new();
    for (key, Located { value, origin }) in written {
        let property = properties.get(&key).unwrap_or(&schema["additionalProperties"]);
        let (value, shown) = shown(&value, property);
        settings.push(Setting { table: table.to_owned(), key, value, shown, origin });
    }
    for (key, property) in properties.as_object().into_iter().flatten() {
        let known = settings.iter().any(|setting| setting.key == *key);
        let (value, shown) = match (property.get("default"), property["x-default"].as_str()) {
            (Some(value), _) => (Some(value.clone()), value.to_string()),
            (None, Some(words)) => (None, words.to_owned()),
            (None, None) => continue,
        };
        if !known {
            let (table, key) = (table.to_owned(), key.clone());
            settings.push(Setting { table, key, value, shown, origin: Origin::Default });
        }
    }
    settings
}

/// A value as it may be shown, in JSON and in TOML.
fn shown(value: &toml::Value, property: &Value) -> (Option<Value>, String) {
    // A key that the schema does not have is one that nobody said was no secret.
    if !property.is_object() || property["writeOnly"] == true {
        return (None, "a secret, which is set".to_owned());
    }
    let value = match value.as_str() {
        Some(text) => toml::Value::String(without_user(text)),
        None => value.clone(),
    };
    let shown = value.to_string();
    (serde_json::to_value(value).ok(), shown)
}

/// An address without the name and password that it may hold.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://...{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let known = serde_json::json!({ "type": "string" });
        let secret = serde_json::json!({ "type": "string", "writeOnly": true });
        assert_eq!(shown(&text("sk-1"), &secret), (None, "a secret, which is set".to_owned()));
        assert_eq!(shown(&text("sk-1"), &Value::Null).0, None);
        assert_eq!(shown(&text("https://me:sk-1@host:8/v1?a@b"), &known).1, "\"https://...@host:8/v1?a@b\"");
        assert_eq!(shown(&text("http://host/v1"), &known).1, "\"http://host/v1\"");
    }

    #[test]
    fn the_schema_has_every_key_that_the_parser_knows() {
        let keys = |properties: &Value| {
            let mut keys: Vec<String> =
                properties.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
            keys.sort();
            keys
        };
        let known = |text: &str| match Config::from_toml(text, "c.toml") {
            Err(ConfigError::UnknownKey { known, .. }) => known.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(keys(&PARSED["properties"]), known("xyzzy = 1"));
        for table in ["budget", "downloads", "routing"] {
            let properties = keys(&PARSED["properties"][table]["properties"]);
            assert_eq!(properties, known(&format!("[{table}]\nxyzzy = 1")), "{table}");
        }
        for provider in crate::ProviderType::ALL {
            let properties = keys(&PARSED["$defs"][provider.as_str()]["properties"]);
            assert_eq!(properties, known(&format!("[providers.{provider}]\nxyzzy = 1")), "{provider}");
        }
    }
}
