//! "Did you mean": the known names closest to one that is not known, and how a list of names reads.

/// At most this many names are suggested.
const SUGGESTIONS: usize = 3;

/// Names this much less similar than the closest are not suggested beside it.
const MARGIN: f64 = 0.2;

/// The names of `known` that `wanted` may be a slip of, closest first.
pub(crate) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (similarity(&wanted, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= 0.6)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.retain(|(score, _)| *score >= best - MARGIN);
    scored.truncate(SUGGESTIONS);
    scored.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// 0 (nothing in common) to 1 (equal). Half of a name counts as near it: `llama` and `llama3.1:8b`.
fn similarity(wanted: &str, name: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(wanted, name);
    let shorter = wanted.len().min(name.len());
    let contained = shorter >= 3 && (wanted.contains(name) || name.contains(wanted));
    if contained { edits.max(0.7) } else { edits }
}

/// `` `a`, `b`, `c` ``, or `none`.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", quoted(name.as_ref()))).collect();
    quoted.join(", ")
}

/// ``; did you mean `a`?`` or nothing.
pub(crate) fn suggestion<T: AsRef<str>>(near: &[T]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = near.iter().map(|name| format!("`{}`", quoted(name.as_ref()))).collect();
    format!("; did you mean {}?", quoted.join(" or "))
}

/// Characters of a hostile or mistaken input that an error repeats.
const QUOTED_CHARACTERS: usize = 100;

/// `text` as an error quotes it: control characters escaped, the end of a long one left out.
pub(crate) fn quoted(text: &str) -> String {
    let mut characters = text.chars();
    let mut quoted = String::new();
    for character in characters.by_ref().take(QUOTED_CHARACTERS) {
        if character.is_control() {
            quoted.extend(character.escape_debug());
        } else {
            quoted.push(character);
        }
    }
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["candle", "ollama", "moonlet", "llama3.1:8b"];
        assert_eq!(nearest("olama", known), ["ollama"]);
        assert_eq!(nearest("Moonlte", known), ["moonlet"]);
        assert_eq!(nearest("llama", known), ["ollama", "llama3.1:8b"]);
        assert!(nearest("xyzzy", known).is_empty());
        assert!(nearest("", known).is_empty());
    }

    #[test]
    fn quotes_are_short_and_printable() {
        assert_eq!(quoted("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(quoted(&"é".repeat(500)).chars().count(), 101);
    }
}
