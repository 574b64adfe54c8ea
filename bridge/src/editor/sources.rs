//! The code of cells that ran, by chunk name, so that a function's source can be shown. Bounded: the
//! oldest are forgotten first.

use std::collections::VecDeque;
use std::path::Path;

/// Bytes of code that are kept.
const KEPT: usize = 4 * 1024 * 1024;
/// Bytes of a module's file that are read at most.
const FILE: u64 = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Chunk name, as Lua calls it (`=cell 3`), and code.
    kept: VecDeque<(String, String)>,
    bytes: usize,
}

/// Where a function is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    /// The comment right above it, without its dashes.
    pub(crate) comment: String,
    /// Its lines.
    pub(crate) source: String,
}

impl Sources {
    pub(crate) fn remember(&mut self, chunk_name: &str, code: &str) {
        self.bytes += code.len();
        self.kept.push_back((chunk_name.to_owned(), code.to_owned()));
        while self.bytes > KEPT {
            let Some((_, oldest)) = self.kept.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    /// The function of a chunk from line `first` to line `last`, both counted from 1. Two cells may
    /// have one name, such as one that counts no execution: the last whose lines can be the function's.
    pub(crate) fn definition(&self, chunk_name: &str, first: usize, last: usize) -> Option<Definition> {
        let kept = self.kept.iter().rev().filter(|(name, _)| name == chunk_name);
        let found = kept.map(|(_, code)| code.as_str()).find_map(|code| definition(code, first, last));
        found.or_else(|| definition(&file(chunk_name.strip_prefix('@')?)?, first, last))
    }
}

/// A module's source, if it is a plain file of a usual size.
fn file(path: &str) -> Option<String> {
    let facts = std::fs::metadata(Path::new(path)).ok()?;
    let usual = facts.is_file() && facts.len() <= FILE;
    usual.then(|| std::fs::read_to_string(path).ok()).flatten()
}

fn definition(code: &str, first: usize, last: usize) -> Option<Definition> {
    let lines: Vec<&str> = code.lines().collect();
    let body = lines.get(first.checked_sub(1)?..last)?;
    let whole = body.first()?.contains("function") && body.last()?.contains("end");
    if !whole {
        return None;
    }
    let above = lines[..first - 1].iter().rev().take_while(|line| line.trim_start().starts_with("--"));
    let mut comment: Vec<&str> = above.map(|line| line.trim_start().trim_start_matches('-').trim()).collect();
    comment.reverse();
    Some(Definition { comment: comment.join("\n").trim().to_owned(), source: body.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Sources};

    #[test]
    fn a_function_is_found_with_its_comment() {
        let mut sources = Sources::default();
        sources.remember("=cell 1", "-- Not this.\n\n-- Greets.\n--- Politely.\nfunction greet()\n  return 1\nend");
        sources.remember("=cell 1", "print(1)");
        let found = sources.definition("=cell 1", 5, 7).expect("a definition");
        assert_eq!(found.comment, "Greets.\nPolitely.");
        assert_eq!(found.source, "function greet()\n  return 1\nend");
        assert_eq!(sources.definition("=cell 2", 5, 7), None);
        assert_eq!(sources.definition("=cell 1", 0, 7), None);
        assert_eq!(sources.definition("=cell 1", 5, 99), None);
        assert_eq!(sources.definition("@/nothing/there.lua", 1, 1), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut sources = Sources::default();
        for number in 0..10 {
            sources.remember(&format!("=cell {number}"), &format!("function f() end --{}", "x".repeat(KEPT / 4)));
        }
        assert!(sources.definition("=cell 0", 1, 1).is_none() && sources.definition("=cell 9", 1, 1).is_some());
        assert!(sources.bytes <= KEPT);
    }
}
