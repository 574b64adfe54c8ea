//! Where other programs keep model files on this machine. They are read in place.

use std::path::PathBuf;

use crate::provider::Collection;

/// Where Ollama's service keeps its models on Linux when its own installer made it.
const OLLAMA_SERVICE: &str = "/usr/share/ollama/.ollama/models";

/// The folders of the Hugging Face cache, Ollama and LM Studio, as this process's environment has them; they need not exist.
///
/// <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>,
/// <https://docs.ollama.com/faq> (`OLLAMA_MODELS`).
pub(crate) fn from_environment() -> Vec<(Collection, PathBuf)> {
    from_variables(|name| match name {
        "HOME" => std::env::home_dir(),
        name => std::env::var_os(name).map(PathBuf::from),
    })
}

fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<(Collection, PathBuf)> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    let at_home = |name: &str| set("HOME").map(|home| home.join(name));
    let hub = set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| at_home(".cache/huggingface/hub"));
    let ollama = match set("OLLAMA_MODELS") {
        Some(models) => vec![models],
        None => at_home(".ollama/models").into_iter().chain([PathBuf::from(OLLAMA_SERVICE)]).collect(),
    };
    let lm_studio = [".lmstudio/models", ".cache/lm-studio/models"].into_iter().filter_map(at_home);

    let hub = hub.into_iter().map(|place| (Collection::HuggingFace, place));
    let ollama = ollama.into_iter().map(|place| (Collection::Ollama, place));
    hub.chain(ollama).chain(lm_studio.map(|place| (Collection::LmStudio, place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let places = from_variables(variable);
        places.into_iter().map(|(collection, place)| format!("{collection} {}", place.display())).collect()
    }

    #[test]
    fn each_programs_own_variables_move_its_folder() {
        assert_eq!(
            places(&[("HOME", "/h")]),
            [
                "hugging_face /h/.cache/huggingface/hub",
                "ollama /h/.ollama/models",
                "ollama /usr/share/ollama/.ollama/models",
                "lm_studio /h/.lmstudio/models",
                "lm_studio /h/.cache/lm-studio/models",
            ]
        );
        assert_eq!(
            places(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x"), ("OLLAMA_MODELS", "/o")]),
            ["hugging_face /hf/hub", "ollama /o"]
        );
        assert_eq!(
            places(&[("HF_HUB_CACHE", "/hub"), ("HF_HOME", "/hf"), ("OLLAMA_MODELS", "/o")])[0],
            "hugging_face /hub"
        );
        assert_eq!(places(&[("XDG_CACHE_HOME", "/x"), ("OLLAMA_MODELS", "/o")])[0], "hugging_face /x/huggingface/hub");
    }
}
