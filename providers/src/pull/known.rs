//! Models that go by a short name: `tinyllama`, `qwen3:0.6b`. The list is a data file of ours.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A model that can be pulled by its short name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KnownModel {
    /// The name, with or without a variant.
    pub name: String,
    /// The repository of the Hugging Face Hub that has its files.
    pub repository: String,
    /// The quantization that is meant when none is named.
    pub quantization: String,
    /// Number of weights.
    pub parameters: u64,
    /// Its licence.
    pub license: String,
    /// Whether it answers well for its size.
    #[serde(default)]
    pub recommended: bool,
    /// About how many bytes its file has, by quantization; the repository may have others.
    pub sizes: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct File {
    model: Vec<KnownModel>,
}

/// Every model that goes by a short name.
pub fn known_models() -> &'static [KnownModel] {
    static KNOWN: OnceLock<Vec<KnownModel>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let file: Result<File, _> = toml::from_str(include_str!("known_models.toml"));
        file.expect("the list is compiled in, and read by a test").model
    })
}

/// The model that a name means, and the quantization if the name says one: `qwen3:0.6b` has a variant of its own, to which
/// `-Q8_0` may be added; `tinyllama` has none, so that `tinyllama:Q8_0` says one.
pub(super) fn find(name: &str) -> Option<(&'static KnownModel, Option<&str>)> {
    let exactly = known_models().iter().find(|known| known.name == name).map(|known| (known, None));
    exactly.or_else(|| {
        known_models().iter().find_map(|known| {
            let rest = name.strip_prefix(&known.name)?;
            let quantization = if known.name.contains(':') { rest.strip_prefix('-') } else { rest.strip_prefix(':') }?;
            super::quantization::is_one(quantization).then_some((known, Some(quantization)))
        })
    })
}

/// The name under which a known model is stored with a quantization that its name does not say.
pub(super) fn with_quantization(known: &KnownModel, quantization: &str) -> String {
    let separator = if known.name.contains(':') { '-' } else { ':' };
    format!("{}{separator}{quantization}", known.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::check_store_name;

    #[test]
    fn every_entry_holds_together() {
        let mut names = BTreeSet::new();
        for known in known_models() {
            check_store_name(&known.name).unwrap();
            assert!(names.insert(&known.name), "`{}` stands twice", known.name);
            assert_eq!(known.repository.split('/').filter(|part| !part.is_empty()).count(), 2, "{known:?}");
            assert!(known.sizes.contains_key(&known.quantization), "{known:?}");
            for (quantization, bytes) in &known.sizes {
                assert!(super::super::quantization::is_one(quantization), "{known:?}");
                // From 2 bits a weight to 16 and some.
                let bits = *bytes as f64 * 8.0 / known.parameters as f64;
                assert!((2.0..18.0).contains(&bits), "{} {quantization}: {bits}", known.name);
            }
        }
    }

    #[test]
    fn a_name_may_say_its_quantization() {
        let found = |name| find(name).map(|(known, quantization)| (known.name.as_str(), quantization));
        assert_eq!(found("tinyllama"), Some(("tinyllama", None)));
        assert_eq!(found("tinyllama:Q4_K_M"), Some(("tinyllama", Some("Q4_K_M"))));
        assert_eq!(found("qwen3:0.6b"), Some(("qwen3:0.6b", None)));
        assert_eq!(found("qwen3:0.6b-Q8_0"), Some(("qwen3:0.6b", Some("Q8_0"))));
        assert_eq!(found("smollm2:135m"), Some(("smollm2:135m", None)));
        assert_eq!(found("tinyllama:latest"), None);
        assert_eq!(found("qwen3"), None);
        assert_eq!(with_quantization(find("qwen3:0.6b").unwrap().0, "Q4_0"), "qwen3:0.6b-Q4_0");
        assert_eq!(with_quantization(find("mistral").unwrap().0, "Q4_0"), "mistral:Q4_0");
    }
}
