//! What an editor asks: what could stand at the cursor, and what the name there is.
//!
//! In reading order: [`Inquirer`] asks the interpreter thread; `completion` and `inspection` answer
//! there; both ask `subject` what an `expression` stands for, with `scope` for what the code itself
//! declares and `expected` for what a call takes at the cursor; `preview` and `sources` are what
//! inspection shows of values and functions, `model_names` what the providers list. Code is as it
//! is: broken, long, hostile. No user code runs, and no answer takes long.

pub(crate) mod completion;
mod expected;
mod expression;
mod inquirer;
pub(crate) mod inspection;
pub(crate) mod model_names;
mod preview;
mod scope;
pub(crate) mod sources;
mod subject;

pub use completion::{Completion, CompletionKind, Completions};
pub use inquirer::{Inquirer, Unanswered};
pub use inspection::Detail;

/// Bytes of code that are looked at before the cursor, and after it. What a cell of more than that
/// declares at its beginning is not found near its end.
const WINDOW: usize = 32 * 1024;

/// The part of some code that is looked at.
struct Window<'a> {
    code: &'a str,
    /// Where it starts in the whole.
    start: usize,
    /// Where in it the cursor is.
    cursor: usize,
}

/// Whole lines around the cursor, where lines are of usual length.
fn window(code: &str, cursor: usize) -> Window<'_> {
    let mut cursor = cursor.min(code.len());
    while !code.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let boundary = |mut at: usize| {
        while !code.is_char_boundary(at) {
            at += 1;
        }
        at
    };
    let mut start = boundary(cursor.saturating_sub(WINDOW));
    if start > 0 {
        start += code[start..cursor].find('\n').map_or(0, |line| line + 1);
    }
    let end = boundary((cursor + WINDOW).min(code.len()));
    Window { code: &code[start..end], start, cursor: cursor - start }
}

#[cfg(test)]
mod tests {
    use super::{WINDOW, window};

    #[test]
    fn long_code_is_looked_at_near_the_cursor() {
        assert_eq!(window("a é", 99).cursor, 4);
        assert_eq!(window("a é", 3).cursor, 2);
        let code = "é = 1\n".repeat(WINDOW);
        for cursor in 5 * WINDOW..5 * WINDOW + 7 {
            let seen = window(&code, cursor);
            assert!(seen.code.len() <= 2 * WINDOW + 8 && seen.cursor <= WINDOW);
            assert!(seen.code.starts_with("é = 1\n") && code[seen.start..].starts_with(seen.code));
            assert!(seen.code.is_char_boundary(seen.cursor) && cursor - (seen.start + seen.cursor) <= 1);
        }
    }
}
