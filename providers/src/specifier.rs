//! The name of a model as users write it: `[provider/]model[:variant][@backend]`.
//! The only parser of it. Whether such a model exists is the registry's business.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nearest::quoted;

/// A parsed model specifier.
///
/// The rightmost `@` starts the backend, the last `/` before it starts the model, and the rest is
/// the provider: `openrouter/deepseek/model` is (`openrouter/deepseek`, `model`). Displaying one
/// and parsing it again gives the same value; it is serialised as that text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelSpecifier {
    provider: Option<String>,
    model: String,
    backend: Option<String>,
}

impl ModelSpecifier {
    /// The specifier of `model` on the backend called `backend`: `local/model@backend`.
    pub fn local(model: &str, backend: &str) -> Result<ModelSpecifier, SpecifierError> {
        format!("local/{model}@{backend}").parse()
    }

    /// What precedes the model: `local`, an instance name, or an instance name and more
    /// (`openrouter/deepseek`).
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// The model with its variant: `llama3.1:8b`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What follows the model's last `:`, e.g. `8b`.
    pub fn variant(&self) -> Option<&str> {
        self.model.rsplit_once(':').map(|(_, variant)| variant)
    }

    /// The instance that is to run the model: `candle` in `local/moonlet@candle`.
    pub fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }
}

impl FromStr for ModelSpecifier {
    type Err = SpecifierError;

    fn from_str(input: &str) -> Result<ModelSpecifier, SpecifierError> {
        let refuse = |problem| SpecifierError { input: quoted(input), problem };
        let text = input.trim();
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.contains(char::is_whitespace) {
            return Err(refuse("it has blanks inside"));
        }
        if text.contains(char::is_control) {
            return Err(refuse("it has control characters inside"));
        }
        let (path, backend) = match text.rsplit_once('@') {
            Some((_, "")) => return Err(refuse("no backend follows the `@`")),
            Some((_, backend)) if backend.contains('/') => {
                return Err(refuse("the backend after the last `@` is a name without `/`"));
            }
            Some((path, backend)) => (path, Some(backend)),
            None => (text, None),
        };
        let (provider, model) = match path.rsplit_once('/') {
            Some((provider, model)) => (Some(provider), model),
            None => (None, path),
        };
        if provider.is_some_and(|provider| provider.split('/').any(str::is_empty)) {
            return Err(refuse("no provider precedes the `/`"));
        }
        if model.is_empty() {
            return Err(refuse("it names no model"));
        }
        if let Some((name, variant)) = model.rsplit_once(':') {
            if name.is_empty() {
                return Err(refuse("no model precedes the `:`"));
            }
            if variant.is_empty() {
                return Err(refuse("no variant follows the `:`"));
            }
        }
        Ok(ModelSpecifier {
            provider: provider.map(str::to_owned),
            model: model.to_owned(),
            backend: backend.map(str::to_owned),
        })
    }
}

impl fmt::Display for ModelSpecifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.provider {
            write!(formatter, "{provider}/")?;
        }
        formatter.write_str(&self.model)?;
        if let Some(backend) = &self.backend {
            write!(formatter, "@{backend}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ModelSpecifier {
    type Error = SpecifierError;

    fn try_from(text: String) -> Result<ModelSpecifier, SpecifierError> {
        text.parse()
    }
}

impl From<ModelSpecifier> for String {
    fn from(specifier: ModelSpecifier) -> String {
        specifier.to_string()
    }
}

/// A text that is not a model specifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{input}` is not a model specifier: {problem}; write `[provider/]model[:variant][@backend]`, such as `local/moonlet@candle`"
)]
pub struct SpecifierError {
    input: String,
    problem: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> (Option<String>, String, Option<String>) {
        let specifier: ModelSpecifier = text.parse().unwrap();
        (specifier.provider().map(str::to_owned), specifier.model().to_owned(), specifier.backend().map(str::to_owned))
    }

    #[test]
    fn every_part_lands_where_it_belongs() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("moonlet"), (None, "moonlet".into(), None));
        assert_eq!(parts(" local/llama3.1:8b@ollama\n"), (some("local"), "llama3.1:8b".into(), some("ollama")));
        assert_eq!(parts("openrouter/deepseek/model"), (some("openrouter/deepseek"), "model".into(), None));
        assert_eq!(parts("m@a@b"), (None, "m@a".into(), some("b")));
        let specifier: ModelSpecifier = "llama3.1:8b".parse().unwrap();
        assert_eq!(specifier.variant(), Some("8b"));
        assert_eq!("m".parse::<ModelSpecifier>().unwrap().variant(), None);
    }

    #[test]
    fn errors_quote_the_input_and_say_what_works() {
        for (input, problem) in [
            ("", "it is empty"),
            (" \t", "it is empty"),
            ("m@", "no backend follows the `@`"),
            ("/m", "no provider precedes the `/`"),
            ("p//m", "no provider precedes the `/`"),
            ("p/", "it names no model"),
            ("@b", "it names no model"),
            ("p/@b", "it names no model"),
            ("my model", "it has blanks inside"),
            ("p/m @b", "it has blanks inside"),
            ("m@b/c", "the backend after the last `@` is a name without `/`"),
            (":8b", "no model precedes the `:`"),
            ("m:@b", "no variant follows the `:`"),
            ("m\u{0}", "it has control characters inside"),
        ] {
            let error = input.parse::<ModelSpecifier>().unwrap_err().to_string();
            let quoted = quoted(input);
            assert_eq!(
                error,
                format!(
                    "`{quoted}` is not a model specifier: {problem}; write \
                     `[provider/]model[:variant][@backend]`, such as `local/moonlet@candle`"
                )
            );
        }
    }

    #[test]
    fn serialised_as_text() {
        let specifier: ModelSpecifier = "local/m:v@b".parse().unwrap();
        let json = serde_json::to_string(&specifier).unwrap();
        assert_eq!(json, "\"local/m:v@b\"");
        assert_eq!(serde_json::from_str::<ModelSpecifier>(&json).unwrap(), specifier);
        assert!(serde_json::from_str::<ModelSpecifier>("\"m@\"").is_err());
    }

    proptest! {
        #[test]
        fn parts_that_are_put_together_come_apart_again(
            provider in prop::option::of("[a-z0-9.:-]{1,8}(/[a-z0-9.-]{1,8}){0,2}"),
            name in "[a-zA-Z0-9._-]{1,12}",
            variant in prop::option::of("[a-zA-Z0-9._-]{1,8}"),
            backend in prop::option::of("[a-z0-9-]{1,8}"),
            blanks in "[ \t]{0,3}",
        ) {
            let model = match &variant {
                Some(variant) => format!("{name}:{variant}"),
                None => name,
            };
            let mut text = match &provider {
                Some(provider) => format!("{provider}/{model}"),
                None => model.clone(),
            };
            if let Some(backend) = &backend {
                text = format!("{text}@{backend}");
            }
            let specifier: ModelSpecifier = format!("{blanks}{text}{blanks}").parse().unwrap();
            prop_assert_eq!(specifier.provider(), provider.as_deref());
            prop_assert_eq!(specifier.model(), model);
            prop_assert_eq!(specifier.variant(), variant.as_deref());
            prop_assert_eq!(specifier.backend(), backend.as_deref());
            prop_assert_eq!(specifier.to_string(), text);
        }

        #[test]
        fn whatever_parses_displays_as_itself(text in "[ a-b/@:é\\t]{0,12}") {
            match text.parse::<ModelSpecifier>() {
                Ok(specifier) => {
                    prop_assert_eq!(specifier.to_string(), text.trim());
                    prop_assert_eq!(specifier.to_string().parse(), Ok(specifier));
                }
                Err(error) => {
                    let quoted = format!("`{}`", quoted(&text));
                    prop_assert!(error.to_string().starts_with(&quoted));
                }
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<ModelSpecifier>();
        }
    }
}
