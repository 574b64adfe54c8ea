//! What another kernel's models are called here: by their name there if only one backend has it, else together with the backend,
//! `moonlet@candle`. Both are what the other kernel is asked for, and what `@INSTANCE` is put behind: `local/moonlet@gpu-box`.

use std::collections::BTreeMap;

use perilune_protocol::{ListReply, ListedModel};
use perilune_providers::ModelSpecifier;

/// The provider word of models that a backend holds in memory.
const LOCAL: &str = "local";

/// The names of one listing.
pub(super) struct Names<'a> {
    /// How many backends have a model of each name.
    backends: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn of(list: &'a ListReply) -> Names<'a> {
        let mut backends = BTreeMap::new();
        for model in list.models.iter().filter(|model| is_local(model)) {
            *backends.entry(model.name.as_str()).or_default() += 1;
        }
        Names { backends }
    }

    /// The name of a model of the listing.
    pub(super) fn of_listed(&self, model: &ListedModel) -> String {
        match &model.specifier {
            Some(specifier) if !is_local(model) => specifier.clone(),
            _ => self.of_held(&model.backend, &model.name),
        }
    }

    /// The name of a model that a backend holds.
    pub(super) fn of_held(&self, backend: &str, name: &str) -> String {
        match self.backends.get(name) {
            Some(1) => name.to_owned(),
            _ => format!("{name}@{backend}"),
        }
    }

    /// Whether the other kernel, asked for `name`, might take this model.
    pub(super) fn mean(&self, name: &str, model: &ListedModel) -> bool {
        is_local(model) && (name == model.name || name == format!("{}@{}", model.name, model.backend))
            || name == self.of_listed(model)
    }
}

fn is_local(model: &ListedModel) -> bool {
    let Some(specifier) = &model.specifier else { return true };
    specifier.parse::<ModelSpecifier>().is_ok_and(|specifier| {
        specifier.provider().is_some_and(|provider| provider == LOCAL || provider.starts_with("local/"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(backend: &str, name: &str, specifier: &str) -> ListedModel {
        let specifier = Some(specifier.to_owned());
        ListedModel { backend: backend.to_owned(), name: name.to_owned(), specifier, ..ListedModel::default() }
    }

    #[test]
    fn a_name_says_no_more_than_it_must() {
        let models = vec![
            listed("candle", "moonlet", "local/moonlet@candle"),
            listed("candle", "tiny", "local/tiny@candle"),
            listed("other", "tiny", "local/tiny@other"),
            listed("openrouter", "deepseek/v3", "openrouter/deepseek/v3"),
        ];
        let list = ListReply { models, errors: Vec::new() };
        let names = Names::of(&list);
        let all: Vec<String> = list.models.iter().map(|model| names.of_listed(model)).collect();
        assert_eq!(all, ["moonlet", "tiny@candle", "tiny@other", "openrouter/deepseek/v3"]);
        let meant = |name: &str| list.models.iter().filter(|model| names.mean(name, model)).count();
        assert_eq!(["moonlet", "moonlet@candle", "tiny", "tiny@other", "v3"].map(meant), [1, 1, 2, 1, 0]);
        assert_eq!(meant("openrouter/deepseek/v3"), 1);
    }
}
