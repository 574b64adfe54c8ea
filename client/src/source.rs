//! Lua files as text: what `perilune run` and `require` read, with the leniencies of the `lua` command.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// The Lua code of the script at `path`.
pub fn script(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("cannot read the script `{}`", path.display()))?;
    text(content, path)
}

/// The Lua code in `content`, which was read from `path`: a byte order mark goes, and a first line that starts with `#` is
/// emptied, so that line numbers stay.
pub fn text(content: Vec<u8>, path: &Path) -> Result<String> {
    let text = String::from_utf8(content).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        anyhow!("`{}` is not text: line {line} is not UTF-8", path.display())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if !text.starts_with('#') {
        return Ok(text.to_string());
    }
    Ok(text.find('\n').map_or("", |end| &text[end..]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String> {
        text(content.to_vec(), Path::new("a.lua"))
    }

    #[test]
    fn a_first_line_for_the_shell_is_emptied() {
        assert_eq!(read(b"#!/usr/bin/env -S perilune run\nprint(1)\n").unwrap(), "\nprint(1)\n");
        assert_eq!(read(b"\xef\xbb\xbf#x").unwrap(), "");
        assert_eq!(read(b"return #t").unwrap(), "return #t");
    }

    #[test]
    fn what_is_not_text_is_named_with_its_line() {
        let error = read(b"x = 1\ny = '\xff'").unwrap_err().to_string();
        assert_eq!(error, "`a.lua` is not text: line 2 is not UTF-8");
    }

    #[test]
    fn a_missing_script_is_named() {
        let error = format!("{:#}", script(Path::new("no/such.lua")).unwrap_err());
        assert!(error.starts_with("cannot read the script `no/such.lua`: "), "{error}");
    }
}
