//! Where a JSON value ends in text that is still growing.

/// How far a text is a JSON object or list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It ends before this byte.
    Ends(usize),
    /// It goes on.
    GoesOn,
    /// It is none.
    Not,
}

/// How far `text` begins with an object or a list. Only brackets and strings are looked at: the parser decides the rest.
pub(super) fn extent(text: &str) -> Extent {
    let mut scan = Scan::default();
    for (index, byte) in text.bytes().enumerate() {
        scan.take(byte);
        if scan.depth == 0 {
            return if index == 0 { Extent::Not } else { Extent::Ends(index + 1) };
        }
    }
    Extent::GoesOn
}

/// Whether a text of JSON ends inside a string.
pub(super) fn is_in_string(text: &str) -> bool {
    let mut scan = Scan::default();
    text.bytes().for_each(|byte| scan.take(byte));
    scan.in_string
}

#[derive(Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    fn take(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_with_their_bracket() {
        assert_eq!(extent("{}"), Extent::Ends(2));
        assert_eq!(extent(r#"[{"a": "}]\"]"}] more"#), Extent::Ends(16));
        assert_eq!(extent(r#"{"a": ["#), Extent::GoesOn);
        assert_eq!(extent(""), Extent::GoesOn);
        assert_eq!(extent("a{}"), Extent::Not);
        assert_eq!(extent("\"{"), Extent::Not);
        assert!(is_in_string(r#"{"a": "b\""#) && !is_in_string(r#"{"a": "b\"""#));
    }
}
