//! What is expected at a place in code: the type of an argument or of a field of a table, as the
//! documentation of the function tells it that is called there.

use crate::documentation::{Entry, Parameter, documentation};
use crate::editor::expression::{Enclosing, enclosing};
use crate::editor::subject::{Reader, classes, element};
use crate::lexer::Kind;

/// Tables within tables are followed so far.
const NESTING: usize = 8;

impl<'a> Reader<'_, '_, 'a> {
    /// The type expected of the value that starts at the token `at`.
    pub(crate) fn expected(&self, at: usize) -> Option<&'static str> {
        self.expected_within(at, NESTING)
    }

    fn expected_within(&self, at: usize, nesting: usize) -> Option<&'static str> {
        let nesting = nesting.checked_sub(1)?;
        // `f "text"` and `f { ... }`
        if self.tokens.get(at).is_some_and(|token| token.kind == Kind::String || token.is("{"))
            && let Some(entry) = self.function_at(at)
        {
            return argument(entry, 0).map(|parameter| parameter.form.as_str());
        }
        let place = enclosing(self.tokens, at)?;
        if self.tokens[place.open].is("(") {
            let entry = self.function_at(place.open)?;
            return argument(entry, place.before).map(|parameter| parameter.form.as_str());
        }
        let form = self.expected_within(place.open, nesting)?;
        match place.field {
            Some(name) => field(form, name).map(|field| field.form.as_str()),
            None => element(form),
        }
    }

    /// The table around the place before the token `end`, if it is one of documented options and a
    /// name is to come there: the options, and those given already.
    pub(crate) fn options(&self, end: usize) -> Option<(Vec<&'static Parameter>, Enclosing<'a>)> {
        let place = enclosing(self.tokens, end)?;
        if !self.tokens[place.open].is("{") || place.field.is_some() {
            return None;
        }
        let last = self.tokens.get(end.checked_sub(1)?)?;
        if !(last.is("{") || last.is(",") || last.is(";")) {
            return None;
        }
        let form = self.expected(place.open)?;
        let options: Vec<_> = classes(form)
            .filter_map(|class| class.class.as_deref())
            .flat_map(|name| documentation().fields(name))
            .collect();
        (!options.is_empty()).then_some((options, place))
    }

    /// The option that is written at the token `at`, as a key of a table of options.
    pub(crate) fn option_at(&self, at: usize) -> Option<&'static Parameter> {
        let place = enclosing(self.tokens, at)?;
        let key = self.tokens[place.open].is("{") && self.tokens.get(at + 1).is_some_and(|next| next.is("="));
        if !key {
            return None;
        }
        field(self.expected(place.open)?, self.tokens[at].text)
    }
}

/// The parameter that takes the argument of that number; the last one of `...` takes the rest.
fn argument(entry: &'static Entry, number: usize) -> Option<&'static Parameter> {
    let rest = entry.parameters.last().filter(|last| last.name == "...");
    entry.parameters.get(number).or(rest)
}

fn field(form: &str, name: &str) -> Option<&'static Parameter> {
    let fields =
        classes(form).filter_map(|class| class.class.as_deref()).flat_map(|class| documentation().fields(class));
    fields.into_iter().find(|field| field.name == name)
}
