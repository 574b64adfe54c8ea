//! A script's tables of representations and metadata as a [`Rich`] value: every MIME type is one,
//! and every representation is of the kind that its type travels as. What is not is an error that
//! names it, because frontends drop such outputs without a word.

use mlua::{Lua, Table, Value};
use serde_json::Value as Json;

use super::{base64, image};
use crate::cell::{MimeBundle, Rich};
use crate::convert::{self, described};

/// The representations `data` by MIME type, with what frontends should know about them.
pub(super) fn rich(lua: &Lua, data: &Table, metadata: Option<&Table>) -> Result<Rich, String> {
    let mut representations = Vec::new();
    for pair in data.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let mime = mime_type(&key)?;
        let json = representation(lua, &mime, &value)?;
        representations.push((mime, json));
    }
    representations.sort_by(|left, right| left.0.cmp(&right.0));
    let metadata = match metadata {
        None => MimeBundle::new(),
        Some(table) => match convert::to_json(lua, &Value::Table(table.clone()), "metadata") {
            Ok(Json::Object(members)) => members,
            Ok(_) => return Err("`metadata` is a list; expected a table with string keys".to_owned()),
            Err(error) => return Err(error.message),
        },
    };
    Ok(Rich { data: MimeBundle::from_iter(representations), metadata })
}

/// The characters that nbformat's schema allows on either side of the stroke.
fn mime_type(key: &Value) -> Result<String, String> {
    let allowed = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte))
    };
    if let Value::String(text) = key {
        let text = text.to_string_lossy();
        if text.split_once('/').is_some_and(|(kind, name)| allowed(kind) && allowed(name)) {
            return Ok(text);
        }
    }
    Err(format!("{} is no MIME type; expected one like \"text/html\"", described(key)))
}

fn representation(lua: &Lua, mime: &str, value: &Value) -> Result<Json, String> {
    let is_json = mime == "application/json" || mime.ends_with("+json");
    match value {
        Value::String(text) if is_json => serde_json::from_slice(&text.as_bytes()).map_err(|error| {
            format!("`{mime}` is a string that is no JSON text: {error}; expected JSON text or a table")
        }),
        _ if is_json => convert::to_json(lua, value, mime).map_err(|error| error.message),
        Value::String(bytes) if is_binary(mime) => {
            let bytes = bytes.as_bytes();
            Ok(match std::str::from_utf8(&bytes) {
                Ok(text) if base64::is_encoded(&bytes) => text.into(),
                _ => base64::encode(&bytes).into(),
            })
        }
        Value::String(text) => {
            let bytes = text.as_bytes();
            let text = std::str::from_utf8(&bytes).map_err(|error| {
                format!("`{mime}` is no UTF-8 text: byte {} is no part of a character", error.valid_up_to() + 1)
            })?;
            if mime == "image/svg+xml" {
                image::describe_svg(&bytes)?;
            }
            Ok(text.into())
        }
        other => Err(format!("`{mime}` is {}; expected a string", described(other))),
    }
}

/// Types whose data is bytes, which travel as base64.
fn is_binary(mime: &str) -> bool {
    let family = mime.split('/').next().unwrap_or_default();
    let binary = ["application/octet-stream", "application/pdf"];
    mime != "image/svg+xml" && (["image", "audio", "video"].contains(&family) || binary.contains(&mime))
}
