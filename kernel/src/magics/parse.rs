//! Finds the magics of a cell and splits what they are given into words.

use super::wrong;
use perilune_bridge::Failure;

/// A cell with magics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Magics {
    /// `%` lines, and then code.
    Lines {
        lines: Vec<Line>,
        /// The cell's code, with blank lines where the magics stood.
        code: String,
    },
    /// A `%%` line, and the text below it.
    Cell { name: String, words: String, body: String },
}

/// One `%` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) words: String,
}

/// The magics of a cell; `None` if it is nothing but Lua, or asks about a magic: `%%chat?`.
pub(crate) fn parse(code: &str) -> Option<Magics> {
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    let top = code.trim_start();
    let only = top.trim_end();
    if only.ends_with('?') && !only.contains(char::is_whitespace) {
        return None;
    }
    if let Some(magic) = top.strip_prefix("%%") {
        let (first, body) = magic.split_once('\n').unwrap_or((magic, ""));
        let Line { name, words } = line(first);
        return Some(Magics::Cell { name, words, body: body.to_owned() });
    }
    if !top.starts_with('%') {
        return None;
    }
    let (mut lines, mut rest, mut above) = (Vec::new(), code, 0);
    while !rest.is_empty() {
        let (first, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let first = first.trim();
        match first.strip_prefix('%') {
            Some(magic) if !magic.starts_with('%') => lines.push(line(magic)),
            None if first.is_empty() => {}
            _ => break,
        }
        above += 1;
        rest = below;
    }
    Some(Magics::Lines { lines, code: "\n".repeat(above) + rest })
}

fn line(text: &str) -> Line {
    let text = text.trim();
    let (name, words) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Line { name: name.to_owned(), words: words.trim().to_owned() }
}

/// One word of a magic's line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Plain(String),
    /// `key=value`, where the value may be in quotes.
    Pair(String, String),
}

/// The words of a line. Quotes hold blanks together; in double ones `\n`, `\"` and `\\` are as in Lua.
pub(super) fn words(text: &str) -> Result<Vec<Word>, Failure> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return Ok(words);
        }
        let (mut key, mut value) = (None, String::new());
        while let Some(character) = characters.next_if(|character| !character.is_whitespace()) {
            match character {
                '=' if key.is_none() => key = Some(std::mem::take(&mut value)),
                '"' | '\'' => quoted(character, &mut characters, &mut value)?,
                other => value.push(other),
            }
        }
        words.push(key.map_or_else(|| Word::Plain(value.clone()), |key| Word::Pair(key, value.clone())));
    }
}

fn quoted(quote: char, characters: &mut impl Iterator<Item = char>, value: &mut String) -> Result<(), Failure> {
    while let Some(character) = characters.next() {
        match character {
            '\\' if quote == '"' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(escaped) => value.push(escaped),
                None => break,
            },
            end if end == quote => return Ok(()),
            other => value.push(other),
        }
    }
    Err(wrong(format!("the quote {quote} is not closed on the magic's line; a text in quotes ends on that line")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(code: &str) -> (Vec<(String, String)>, String) {
        match parse(code) {
            Some(Magics::Lines { lines, code }) => {
                (lines.into_iter().map(|line| (line.name, line.words)).collect(), code)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_at_the_top_are_magics_and_code_keeps_its_place() {
        let (magics, code) = lines("\n %model  m \n%usage\n\nx = 1\n%usage\n");
        assert_eq!(magics, [("model".to_owned(), "m".to_owned()), ("usage".to_owned(), String::new())]);
        assert_eq!(code, "\n\n\n\nx = 1\n%usage\n");
        assert_eq!(lines("%help").1, "\n");
        assert_eq!(lines("%usage\n%%chat\nx").1, "\n%%chat\nx");
        for code in ["", "x = 1", "x = 7\n% 2", "-- %model", "%%chat?", "%model??\n"] {
            assert_eq!(parse(code), None, "{code}");
        }
    }

    #[test]
    fn a_cell_magic_takes_the_cell() {
        let cell = |name: &str, words: &str, body: &str| {
            Some(Magics::Cell { name: name.to_owned(), words: words.to_owned(), body: body.to_owned() })
        };
        assert_eq!(
            parse("%%chat m temperature=0\nHello\n%model\n"),
            cell("chat", "m temperature=0", "Hello\n%model\n")
        );
        assert_eq!(parse("\n%%chat"), cell("chat", "", ""));
        assert_eq!(parse("%%"), cell("", "", ""));
    }

    #[test]
    fn words_may_be_quoted() {
        let pair = |key: &str, value: &str| Word::Pair(key.to_owned(), value.to_owned());
        let read = words(r#"m a=1 system="You \"are\"\n é" stop='\n' b="#).unwrap();
        let expected = [
            Word::Plain("m".to_owned()),
            pair("a", "1"),
            pair("system", "You \"are\"\n é"),
            pair("stop", "\\n"),
            pair("b", ""),
        ];
        assert_eq!(read, expected);
        assert_eq!(words("  ").unwrap(), []);
        assert!(words("system=\"open").is_err());
    }
}
