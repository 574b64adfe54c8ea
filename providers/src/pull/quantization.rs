//! Which of a repository's files is meant: how a file's name says its quantization, and which files are shards of one model.

use std::collections::BTreeMap;

/// Taken when a repository has several and none is named, the first that is there.
const PREFERRED: &[&str] = &["Q4_K_M", "Q8_0", "Q5_K_M", "Q4_0", "F16", "BF16"];

/// A model of a repository: one file, or its shards in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The files' paths in the repository.
    pub(super) files: Vec<String>,
    /// The quantization that they say.
    pub(super) quantization: Option<String>,
}

impl Choice {
    fn is_in(&self, quantization: &str) -> bool {
        self.quantization.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(quantization))
    }
}

/// Why none is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// There is no GGUF file at all.
    None,
    /// None of that quantization, or none is preferred; these there are.
    OtherThan(Vec<String>),
    /// Several files say the same.
    Several(Vec<String>),
    /// Of the one that is meant, shards are missing.
    Incomplete(String),
}

/// Whether a word is the name of a quantization, such as `Q4_K_M`, `IQ3_XS` or `bf16`.
pub(super) fn is_one(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    if matches!(word.as_str(), "F16" | "BF16" | "F32" | "FP16" | "FP32" | "MXFP4" | "MXFP4_MOE") {
        return true;
    }
    let rest = ["IQ", "TQ", "Q"].iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.contains('_')
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The quantization that a path says, in capitals: in its file's name, or in the name of its folder.
pub(super) fn of_path(path: &str) -> Option<String> {
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    in_name(&model_name(path)).or_else(|| in_name(folder.rsplit('/').next().unwrap_or_default()))
}

/// The name of a file's model: what all its shards have.
pub(super) fn model_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    shard(file).map_or_else(|| stem(file).to_owned(), |(name, _, _)| name)
}

fn in_name(name: &str) -> Option<String> {
    let words = name.split(['-', '.']).rev();
    let found = words.filter_map(|word| {
        // `model_q4_k_m` has no other separator.
        let starts = std::iter::once(0).chain(word.match_indices('_').map(|(at, _)| at + 1));
        starts.map(|start| &word[start..]).find(|word| is_one(word))
    });
    found.map(str::to_ascii_uppercase).next()
}

fn stem(file: &str) -> &str {
    let end = file.len().saturating_sub(".gguf".len());
    match file.get(end..) {
        Some(extension) if extension.eq_ignore_ascii_case(".gguf") => &file[..end],
        _ => file,
    }
}

/// What a shard's name says: `model-00001-of-00003.gguf` is (`model`, 1, 3).
fn shard(file: &str) -> Option<(String, usize, usize)> {
    let (rest, count) = stem(file).rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(count)).then_some(())?;
    Some((name.to_owned(), number.parse().ok()?, count.parse().ok()?))
}

/// The model that is meant among a repository's files, by a quantization or without one.
pub(super) fn choose(paths: &[String], wanted: Option<&str>) -> Result<Choice, NoChoice> {
    let (whole, incomplete) = models(paths);
    choose_among(&whole, wanted).map_err(|none| {
        let lacking = match (&none, wanted) {
            (NoChoice::None, _) => incomplete.first(),
            (NoChoice::OtherThan(_), Some(wanted)) => incomplete.iter().find(|choice| choice.is_in(wanted)),
            _ => None,
        };
        match lacking.and_then(|choice| choice.files.first()) {
            Some(file) => NoChoice::Incomplete(file.clone()),
            None => none,
        }
    })
}

/// The model of a file among a repository's: all its shards, if it is one of several.
pub(super) fn of_file(paths: &[String], file: &str) -> Result<Choice, NoChoice> {
    let (whole, incomplete) = models(paths);
    let has = |choice: &Choice| choice.files.iter().any(|path| path == file);
    match whole.into_iter().find(has) {
        Some(choice) => Ok(choice),
        None if incomplete.iter().any(has) => Err(NoChoice::Incomplete(file.to_owned())),
        // A projector or the like, which only its name brings.
        None => Ok(Choice { files: vec![file.to_owned()], quantization: of_path(file) }),
    }
}

/// The same among models that are known already.
pub(super) fn choose_among(models: &[Choice], wanted: Option<&str>) -> Result<Choice, NoChoice> {
    if models.is_empty() {
        return Err(NoChoice::None);
    }
    let of = |wanted: &str| models.iter().filter(|choice| choice.is_in(wanted)).collect::<Vec<_>>();
    let found = match wanted {
        Some(wanted) => of(wanted),
        None if models.len() == 1 => models.iter().collect(),
        None => PREFERRED.iter().map(|preferred| of(preferred)).find(|found| !found.is_empty()).unwrap_or_default(),
    };
    match found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let mut there: Vec<String> = models.iter().filter_map(|model| model.quantization.clone()).collect();
            there.sort();
            there.dedup();
            Err(NoChoice::OtherThan(there))
        }
        _ => Err(NoChoice::Several(found.iter().filter_map(|choice| choice.files.first().cloned()).collect())),
    }
}

/// The models among a repository's files, shards put together, and those of which shards are missing; projectors and importance
/// matrices are none.
fn models(paths: &[String]) -> (Vec<Choice>, Vec<Choice>) {
    let mut models: BTreeMap<String, BTreeMap<usize, (usize, String)>> = BTreeMap::new();
    for path in paths {
        let file = path.rsplit('/').next().unwrap_or(path);
        let lower = file.to_ascii_lowercase();
        if !lower.ends_with(".gguf") || lower.contains("mmproj") || lower.contains("imatrix") {
            continue;
        }
        let (number, count) = shard(file).map_or((1, 1), |(_, number, count)| (number, count));
        let of = if count == 1 { path.clone() } else { path[..path.len() - "-00001-of-00001.gguf".len()].to_owned() };
        models.entry(of).or_default().insert(number, (count, path.clone()));
    }
    let is_whole = |shards: &BTreeMap<usize, (usize, String)>| {
        let count = shards.values().map(|(count, _)| *count).max().unwrap_or_default();
        shards.keys().copied().eq(1..=count)
    };
    let choice = |shards: BTreeMap<usize, (usize, String)>| {
        let files: Vec<String> = shards.into_values().map(|(_, path)| path).collect();
        Choice { quantization: files.first().and_then(|file| of_path(file)), files }
    };
    let (whole, incomplete): (Vec<_>, Vec<_>) = models.into_values().partition(is_whole);
    (whole.into_iter().map(choice).collect(), incomplete.into_iter().map(choice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_name_says_its_quantization() {
        for (path, quantization) in [
            ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", Some("Q4_K_M")),
            ("qwen2.5-0.5b-instruct-q8_0.gguf", Some("Q8_0")),
            ("Qwen3-8B-Q4_K_M-00001-of-00002.gguf", Some("Q4_K_M")),
            ("UD-IQ2_XXS/model-00001-of-00003.gguf", Some("IQ2_XXS")),
            ("model_q4_k_m.gguf", Some("Q4_K_M")),
            ("gpt-oss-20b-mxfp4.gguf", Some("MXFP4")),
            ("llama-BF16.gguf", Some("BF16")),
            ("Qwen3-8B.gguf", None),
            ("q4.gguf", None),
        ] {
            assert_eq!(of_path(path).as_deref(), quantization, "{path}");
        }
    }

    #[test]
    fn the_named_one_is_chosen_and_else_the_preferred() {
        let files = paths(&[
            "README.md",
            "m-Q4_K_M.gguf",
            "m-Q8_0-00001-of-00002.gguf",
            "m-Q8_0-00002-of-00002.gguf",
            "mmproj-m-F16.gguf",
            "m-Q2_K.gguf",
        ]);
        let chosen = |wanted| choose(&files, wanted).map(|choice| choice.files);
        assert_eq!(chosen(Some("q4_k_m")), Ok(paths(&["m-Q4_K_M.gguf"])));
        assert_eq!(chosen(None), Ok(paths(&["m-Q4_K_M.gguf"])));
        assert_eq!(chosen(Some("Q8_0")), Ok(paths(&["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"])));
        assert_eq!(chosen(Some("Q6_K")), Err(NoChoice::OtherThan(paths(&["Q2_K", "Q4_K_M", "Q8_0"]))));
    }

    #[test]
    fn what_is_not_clear_is_not_guessed() {
        assert_eq!(choose(&paths(&["model.safetensors"]), None), Err(NoChoice::None));
        assert_eq!(choose(&paths(&["only.gguf"]), None).unwrap().quantization, None);
        let twice = paths(&["a/m-Q8_0.gguf", "b/m-Q8_0.gguf"]);
        assert_eq!(choose(&twice, None), Err(NoChoice::Several(twice.clone())));
        let missing = paths(&["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"]);
        let incomplete = Err(NoChoice::Incomplete(missing[0].clone()));
        assert_eq!(choose(&missing, None), incomplete);
        // What others lack is in nobody's way.
        let beside = [missing, paths(&["m-Q4_K_M.gguf", "m-Q2_K.gguf"])].concat();
        assert_eq!(choose(&beside, None).unwrap().files, ["m-Q4_K_M.gguf"]);
        assert_eq!(choose(&beside, Some("Q2_K")).unwrap().files, ["m-Q2_K.gguf"]);
        assert_eq!(choose(&beside, Some("Q8_0")), incomplete);
    }
}
