//! What the name at the cursor is: its documentation, a function's signature and source, a value.
//! Found as completion finds things: user code never runs.

use mlua::{Function, Lua, Value};
use serde::{Deserialize, Serialize};

use crate::cell::{MimeBundle, Rich};
use crate::documentation::{Entry, EntryKind, Parameter, documentation};
use crate::editor::completion::function_signature;
use crate::editor::expression::{enclosing, ending_at};
use crate::editor::preview::{preview, type_text};
use crate::editor::scope::Variable;
use crate::editor::subject::{Reader, Subject, class_of, classes, documented};
use crate::editor::window;
use crate::host::Host;
use crate::lexer::{Kind, lex};

/// How much to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// What it is.
    #[default]
    Brief,
    /// All there is to know, such as its source.
    Full,
}

/// What is known of the name at the byte offset `cursor`, or of the function in whose call it stands.
pub(crate) fn inspect(lua: &Lua, host: &Host, code: &str, cursor: usize, detail: Detail) -> Option<Rich> {
    let window = window(code, cursor);
    let first_line = code.lines().next().unwrap_or("");
    if code.starts_with('%') && cursor <= first_line.len() {
        return documentation().find(first_line.split_whitespace().next()?).map(Entry::page);
    }
    let tokens = lex(window.code).tokens;
    let cursor = window.cursor;
    let asked = Asked {
        reader: Reader::new(lua, &tokens),
        host,
        code: window.code,
        lines_before: code[..window.start].matches('\n').count(),
        detail,
    };
    // A name at the cursor, or one that ends there, rather than what stands around it.
    let at = tokens.iter().position(|token| token.start <= cursor && cursor <= token.end() && token.kind == Kind::Name);
    let named = at.and_then(|at| asked.name(at).ok().flatten());
    let before = tokens.iter().take_while(|token| token.end() <= cursor).count();
    // A string that ends at the cursor may be an argument without parentheses.
    let string = before.checked_sub(1).is_some_and(|at| tokens[at].kind == Kind::String && tokens[at].end() == cursor);
    named.or_else(|| asked.call(if string { before - 1 } else { before }))
}

/// The question that a cell of the form `name?`, `?name` or `name??` asks.
pub(crate) fn question(code: &str) -> Option<(&str, Detail)> {
    let code = code.trim();
    let name = code.trim_matches('?');
    let marks = code.len() - name.len();
    let one_side = code.starts_with(name) || code.ends_with(name);
    let plain = |character: char| character.is_alphanumeric() || "_.:".contains(character);
    let word = name.trim_start_matches('%');
    let is_name = word.starts_with(|first: char| first.is_alphabetic() || first == '_') && word.chars().all(plain);
    if !is_name || !one_side || !(1..=2).contains(&marks) {
        return None;
    }
    Some((name, if marks == 2 { Detail::Full } else { Detail::Brief }))
}

struct Asked<'l, 't, 'a> {
    reader: Reader<'l, 't, 'a>,
    host: &'l Host,
    code: &'a str,
    /// How many lines of the cell come before `code`.
    lines_before: usize,
    detail: Detail,
}

impl<'a> Asked<'_, '_, 'a> {
    /// The name at a token.
    fn name(&self, at: usize) -> mlua::Result<Option<Rich>> {
        if let Some(option) = self.reader.option_at(at) {
            return Ok(Some(option_page(option)));
        }
        let tokens = self.reader.tokens;
        let Some(expression) = ending_at(tokens, at + 1) else { return Ok(None) };
        let written = &self.code[tokens[expression.start].start..tokens[at].end()];
        match self.reader.before(at + 1) {
            Some(subject) => self.subject(written, &subject).map(Some),
            // A name that stands for no value may still be one of the documentation's: `agent:execute`.
            None => Ok(documentation().find(written).map(Entry::page)),
        }
    }

    /// The function whose arguments, or table of arguments, are open before the token `end`.
    fn call(&self, mut end: usize) -> Option<Rich> {
        let tokens = self.reader.tokens;
        loop {
            // `f "text"`: the string itself is the argument.
            let open = match tokens.get(end).filter(|token| token.kind == Kind::String) {
                Some(_) if ending_at(tokens, end).is_some() => end,
                _ => enclosing(tokens, end)?.open,
            };
            if let Some(expression) = ending_at(tokens, open)
                && let Some(subject) = self.reader.before(open)
            {
                let written = &self.code[tokens[expression.start].start..tokens[open - 1].end()];
                return self.subject(written, &subject).ok();
            }
            end = open;
        }
    }

    fn subject(&self, written: &str, subject: &Subject<'a>) -> mlua::Result<Rich> {
        match subject {
            Subject::Value(value) => self.value(written, value),
            Subject::Documented(entry) => Ok(entry.page()),
            Subject::Typed(form) => {
                let mut page = Page::of(&format!("{written}: {form}"));
                let class = classes(form).next();
                class.into_iter().for_each(|class| page.paragraph(&class.summary));
                Ok(page.finished())
            }
            Subject::Written(_) => Ok(Page::of(&format!("{written}: table")).finished()),
            Subject::Declared(variable) => Ok(self.declared(variable)),
        }
    }

    fn value(&self, written: &str, value: &Value) -> mlua::Result<Rich> {
        let lua = self.reader.lua;
        if let Some(entry) = documented(lua, value)? {
            return Ok(entry.page());
        }
        if let Value::Function(function) = value {
            return self.function(written, function);
        }
        let mut page = Page::of(&format!("{written}: {}", type_text(lua, value)?));
        let class = class_of(lua, value)?;
        if let Some(class) = class {
            page.paragraph(&class.summary);
            let methods = documentation().methods(class);
            page.code(&methods.iter().map(|method| method.signature()).collect::<Vec<_>>().join("\n"));
        } else {
            page.code(&preview(lua, value)?);
        }
        Ok(page.finished())
    }

    /// A function of the user's: what its source says about it.
    fn function(&self, written: &str, function: &Function) -> mlua::Result<Rich> {
        let mut page = Page::of(&function_signature(self.reader.lua, written, function)?);
        let info = function.info();
        let (Some(chunk), Some(first), Some(last)) = (&info.source, info.line_defined, info.last_line_defined) else {
            page.paragraph("A function of a library.");
            return Ok(page.finished());
        };
        let definition = self.host.sources.borrow().definition(chunk, first, last);
        if let Some(definition) = &definition {
            page.paragraph(&definition.comment);
        }
        let place = chunk.trim_start_matches(['=', '@']);
        page.paragraph(&format!("Defined in {place}, line {first}."));
        if let (Detail::Full, Some(definition)) = (self.detail, definition) {
            page.code(&definition.source);
        }
        Ok(page.finished())
    }

    /// A variable of this very code.
    fn declared(&self, variable: &Variable<'a>) -> Rich {
        let tokens = self.reader.tokens;
        let start = tokens[variable.declared].start;
        let line = self.lines_before + self.code[..start].matches('\n').count() + 1;
        let signature = match variable.parameters {
            Some((first, last)) => {
                let text = tokens[first..last].iter().map(|token| token.text).collect::<String>();
                format!("{}({})", variable.name, text.replace(',', ", "))
            }
            None => variable.name.to_owned(),
        };
        let mut page = Page::of(&signature);
        page.paragraph(&format!("Declared in this code, line {line}."));
        page.finished()
    }
}

fn option_page(option: &Parameter) -> Rich {
    let mark = if option.optional { "?" } else { "" };
    let mut page = Page::of(&format!("{}{mark}: {}", option.name, option.form));
    page.paragraph(&option.text);
    page.finished()
}

/// The answer to a question about a name of which nothing is known.
pub(crate) fn unknown(name: &str) -> String {
    let near: Vec<String> = documentation().near(name).into_iter().map(|near| format!("`{near}`")).collect();
    match near.is_empty() {
        true => format!("nothing is known of `{name}`"),
        false => format!("nothing is known of `{name}`; did you mean {}?", near.join(" or ")),
    }
}

/// The page of a name: `print`, `agent:execute`, `%%chat`, a variable.
pub(crate) fn page_of(lua: &Lua, host: &Host, name: &str, detail: Detail) -> Option<Rich> {
    let magic = || documentation().entries().iter().find(|entry| entry.kind == EntryKind::Magic && entry.name == name);
    match name.starts_with('%') {
        true => magic().map(Entry::page),
        false => inspect(lua, host, name, name.len(), detail),
    }
}

/// A text in the making, plain and in markdown.
struct Page {
    plain: String,
    markdown: String,
}

impl Page {
    fn of(signature: &str) -> Page {
        Page { plain: signature.to_owned(), markdown: format!("```lua\n{signature}\n```") }
    }

    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.plain.push_str(&format!("\n\n{text}"));
            self.markdown.push_str(&format!("\n\n{text}"));
        }
    }

    fn code(&mut self, code: &str) {
        if !code.is_empty() {
            self.plain.push_str(&format!("\n\n{code}"));
            self.markdown.push_str(&format!("\n\n```lua\n{code}\n```"));
        }
    }

    fn finished(self) -> Rich {
        let data = MimeBundle::from_iter([
            ("text/plain".to_owned(), self.plain.into()),
            ("text/markdown".to_owned(), self.markdown.into()),
        ]);
        Rich { data, metadata: MimeBundle::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Detail, question};

    #[test]
    fn a_question_is_a_name_with_marks_on_one_side() {
        assert_eq!(question("print?"), Some(("print", Detail::Brief)));
        assert_eq!(question(" ?LocalLLM.chat \n"), Some(("LocalLLM.chat", Detail::Brief)));
        assert_eq!(question("agent:execute??"), Some(("agent:execute", Detail::Full)));
        assert_eq!(question("%%chat?"), Some(("%%chat", Detail::Brief)));
        for none in ["print", "?print?", "print???", "?", "1?", "f()?", "a b?", "x = 'what?'", ""] {
            assert_eq!(question(none), None, "{none}");
        }
    }
}
