//! Which models could be pulled by a short name, and which of them this machine has the memory for.

use serde::Serialize;

use crate::pull::{KnownModel, known_models};

/// Beside the weights, which take about the bytes of their file: keys and values, and what is computed.
const BESIDE_WEIGHTS: u64 = 512 * 1024 * 1024;

/// A model that could be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AvailableModel {
    /// What is known of it.
    #[serde(flatten)]
    pub known: &'static KnownModel,
    /// About how many bytes the file has that is pulled when no quantization is named.
    pub size_bytes: Option<u64>,
    /// Whether the backend's memory budget holds that file, a context beside it; `None` where the budget is not known.
    pub fits: Option<bool>,
    /// The names by which it is in the store already.
    pub stored: Vec<String>,
}

/// The known models, or the recommended ones. `budget` are the bytes that models may take in memory, `stored` the names in
/// the store.
pub(crate) fn available(recommended: bool, budget: Option<u64>, stored: &[String]) -> Vec<AvailableModel> {
    let known = known_models().iter().filter(|known| known.recommended || !recommended);
    known
        .map(|known| {
            let size_bytes = known.sizes.get(&known.quantization).copied();
            let is_it = |name: &&String| {
                name.strip_prefix(&known.name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']))
            };
            AvailableModel {
                known,
                size_bytes,
                fits: budget.zip(size_bytes).map(|(budget, size)| size.saturating_add(BESIDE_WEIGHTS) <= budget),
                stored: stored.iter().filter(is_it).cloned().collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_depends_on_the_budget() {
        let all = available(false, Some(u64::MAX), &[]);
        assert!(all.len() > 1 && all.iter().all(|model| model.fits == Some(true) && model.size_bytes.is_some()));
        assert!(available(false, Some(1), &[]).iter().all(|model| model.fits == Some(false)));
        assert!(available(false, None, &[]).iter().all(|model| model.fits.is_none()));
        let recommended = available(true, None, &[]);
        assert!(!recommended.is_empty() && recommended.len() < all.len());
        assert!(recommended.iter().all(|model| model.known.recommended));
    }

    #[test]
    fn what_is_stored_is_known_by_its_name() {
        let first = &known_models()[0].name;
        let stored = [format!("{first}:Q8_0"), format!("{first}x"), "other".to_owned()];
        assert_eq!(available(false, None, &stored)[0].stored, [format!("{first}:Q8_0")]);
    }
}
