//! One model or several, of which the first that can answer does: `local/llama3.1:8b, openrouter/deepseek/v3`.

use std::fmt;
use std::iter;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::specifier::{ModelSpecifier, SpecifierError};

/// Models in the order in which they are asked. Written with commas, and serialised as that text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelList {
    first: ModelSpecifier,
    others: Vec<ModelSpecifier>,
}

impl ModelList {
    /// The models in this order; `None` where there are none.
    pub fn new(models: impl IntoIterator<Item = ModelSpecifier>) -> Option<ModelList> {
        let mut models = models.into_iter();
        Some(ModelList { first: models.next()?, others: models.collect() })
    }

    /// The model that is asked first, and that is meant where there can only be one.
    pub fn first(&self) -> &ModelSpecifier {
        &self.first
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ModelSpecifier> {
        iter::once(&self.first).chain(&self.others)
    }
}

impl From<ModelSpecifier> for ModelList {
    fn from(first: ModelSpecifier) -> ModelList {
        ModelList { first, others: Vec::new() }
    }
}

impl FromStr for ModelList {
    type Err = SpecifierError;

    fn from_str(text: &str) -> Result<ModelList, SpecifierError> {
        let mut models = text.split(',').map(str::parse::<ModelSpecifier>);
        let first = models.next().unwrap_or_else(|| text.parse())?;
        Ok(ModelList { first, others: models.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for ModelList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.first)?;
        self.others.iter().try_for_each(|model| write!(formatter, ", {model}"))
    }
}

impl TryFrom<String> for ModelList {
    type Error = SpecifierError;

    fn try_from(text: String) -> Result<ModelList, SpecifierError> {
        text.parse()
    }
}

impl From<ModelList> for String {
    fn from(models: ModelList) -> String {
        models.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_models_and_none_may_be_missing() {
        let list: ModelList = "local/a:8b@box ,b".parse().unwrap();
        let models: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(models, ["local/a:8b@box", "b"]);
        assert_eq!(list.to_string().parse(), Ok(list));
        for (text, problem) in [("", "it is empty"), ("a,", "it is empty"), ("a,b c", "it has blanks inside")] {
            let error = text.parse::<ModelList>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
