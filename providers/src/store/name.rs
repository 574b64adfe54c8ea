//! Which names a stored model may have: those that are a file's name wherever the store lies, and a model's in a specifier.

use std::path::Path;

use super::error::StoreError;

/// What a record's file ends with.
const EXTENSION: &str = "json";
/// With the extension this fits what file systems allow.
const LONGEST: usize = 200;

/// Refuses a name that no stored model can have: `NAME` or `NAME:VARIANT`, of ASCII letters, digits, `.`, `_`, `+` and `-`.
pub fn check_store_name(name: &str) -> Result<(), StoreError> {
    let refuse = |problem| Err(StoreError::Name { name: name.to_owned(), problem });
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-' | ':');
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.contains(['/', '\\']) {
        return refuse("it has a separator");
    }
    if name.starts_with('.') {
        return refuse("it starts with a dot");
    }
    if name.starts_with('-') {
        return refuse("it starts with a `-`, as options do");
    }
    if !name.chars().all(allowed) {
        return refuse("it has other characters than ASCII letters, digits and `.`, `_`, `+`, `-`, `:`");
    }
    if name.split(':').any(str::is_empty) || name.matches(':').count() > 1 {
        return refuse("a `:` stands once, between a name and its variant");
    }
    if name.len() > LONGEST {
        return refuse("it is longer than 200 characters");
    }
    Ok(())
}

/// The file of a name's record. Some file systems take no `:`; no name has an `@`.
pub(super) fn record_file(name: &str) -> String {
    format!("{}.{EXTENSION}", name.replace(':', "@"))
}

/// The name whose record a file is, if it is one.
pub(super) fn of_record(path: &Path) -> Option<String> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let name = path.file_stem()?.to_str()?.replace('@', ":");
    check_store_name(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_files_name_and_a_models() {
        for name in ["tinyllama", "tinyllama:Q4_K_M", "qwen2.5:0.5b-Q8_0", "c4ai+v1", "0"] {
            check_store_name(name).unwrap();
            assert_eq!(of_record(Path::new(&record_file(name))).as_deref(), Some(name));
        }
        let long = "x".repeat(201);
        for name in [
            "", ".", "..", ".hidden", "a/b", "../a", "a\\b", "-rf", "a b", "a@b", "a:", ":b", "a:b:c", "ä", "a\0",
            "a\n", &long,
        ] {
            let error = check_store_name(name).unwrap_err().to_string();
            assert!(error.contains("is not a name for a stored model"), "{error}");
        }
        assert_eq!(of_record(Path::new("names/a.new")), None);
    }
}
