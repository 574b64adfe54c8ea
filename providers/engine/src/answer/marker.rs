//! Finds a marker in text that is still growing.

/// Where a marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It begins here.
    At(usize),
    /// It is not there, but could begin here with what comes next (the end of the text when it cannot).
    MayBeginAt(usize),
}

/// The first place where `marker` is, or could come to be, in `text`.
pub(super) fn find(text: &str, marker: &str) -> Found {
    if let Some(start) = text.find(marker) {
        return Found::At(start);
    }
    let longest = marker.len().min(text.len());
    let ends_with_part = |length: &usize| text.as_bytes().ends_with(&marker.as_bytes()[..*length]);
    let part = (1..=longest).rev().filter(|length| marker.is_char_boundary(*length)).find(ends_with_part);
    Found::MayBeginAt(text.len() - part.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_parts_and_nothing() {
        assert_eq!(find("a<b>", "<b>"), Found::At(1));
        assert_eq!(find("a<b", "<b>"), Found::MayBeginAt(1));
        assert_eq!(find("a<", "<b>"), Found::MayBeginAt(1));
        assert_eq!(find("a", "<b>"), Found::MayBeginAt(1));
        assert_eq!(find("", "<b>"), Found::MayBeginAt(0));
        assert_eq!(find("xé", "éa"), Found::MayBeginAt(1));
    }
}
