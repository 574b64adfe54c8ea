//! What a user asks to be pulled: a known name, a repository of the Hub, an address or a path.

use std::path::PathBuf;

use reqwest::Url;

use super::error::PullError;
use super::known::{self, KnownModel, known_models};
use super::quantization;
use crate::nearest::{nearest, quoted};

/// A parsed request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    pub(super) origin: Origin,
    /// The quantization that was asked for.
    pub(super) quantization: Option<String>,
    /// The name to store it under, where the request says it; else what comes says it.
    pub(super) name: Option<String>,
}

/// Where the file is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// In a repository of the Hub; `file` is its path there, if it was named.
    Hub { repository: String, file: Option<String>, license: Option<&'static str> },
    /// At an address.
    Url(Url),
    /// On this machine.
    File(PathBuf),
}

/// Reads a request. `quantization` stands for what the text may say itself.
pub(super) fn parse(spec: &str, quantization: Option<&str>) -> Result<Spec, PullError> {
    let refuse = |problem: String| PullError::Spec { spec: spec.to_owned(), problem };
    if let Some(wanted) = quantization
        && !quantization::is_one(wanted)
    {
        return Err(refuse(format!("`{}` is no quantization, as `Q4_K_M` is", quoted(wanted))));
    }
    let text = spec.trim();
    if text.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    if let Some(rest) = text.strip_prefix("hf:").or_else(|| text.strip_prefix("hf.co/")) {
        return hub(rest, quantization).map_err(refuse);
    }
    if text.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:/")) {
        let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
        let path =
            path.ok_or_else(|| refuse("it names a file of another machine; `file:///PATH` is one of this".to_owned()))?;
        return Ok(Spec { origin: Origin::File(path), quantization: quantization.map(str::to_owned), name: None });
    }
    if text.contains("://") {
        let url = Url::parse(text).map_err(|error| refuse(format!("it is no address: {error}")))?;
        return Ok(Spec { origin: Origin::Url(url), quantization: quantization.map(str::to_owned), name: None });
    }
    let is_path =
        text.starts_with(['/', '.']) || text.starts_with("~/") || text.to_ascii_lowercase().ends_with(".gguf");
    if is_path {
        let path = match (text.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        return Ok(Spec { origin: Origin::File(path), quantization: quantization.map(str::to_owned), name: None });
    }
    // A specifier of this store's own means the model that it names.
    let text = text.strip_prefix("local/").unwrap_or(text);
    let text = match text.rsplit_once('@') {
        Some((name, "candle")) => name,
        Some((_, backend)) => return Err(PullError::Backend { backend: backend.to_owned() }),
        None => text,
    };
    let (known, said) = known::find(text).ok_or_else(|| {
        let names = known_models().iter().map(|known| known.name.as_str());
        PullError::UnknownName { name: text.to_owned(), near: nearest(text, names) }
    })?;
    of_known(known, text, said, quantization).map_err(refuse)
}

fn of_known(known: &'static KnownModel, text: &str, said: Option<&str>, wanted: Option<&str>) -> Result<Spec, String> {
    if let (Some(said), Some(wanted)) = (said, wanted)
        && !said.eq_ignore_ascii_case(wanted)
    {
        return Err(format!("it says `{said}`, and `{wanted}` was asked for besides"));
    }
    let name = match (said, wanted) {
        (None, Some(wanted)) => known::with_quantization(known, &wanted.to_ascii_uppercase()),
        _ => text.to_owned(),
    };
    Ok(Spec {
        origin: Origin::Hub { repository: known.repository.clone(), file: None, license: Some(&known.license) },
        quantization: Some(said.or(wanted).unwrap_or(&known.quantization).to_owned()),
        name: Some(name),
    })
}

/// `OWNER/REPOSITORY`, `OWNER/REPOSITORY:QUANTIZATION` or `OWNER/REPOSITORY/PATH.gguf`.
fn hub(rest: &str, wanted: Option<&str>) -> Result<Spec, String> {
    let (path, said) = match rest.split_once(':') {
        Some((path, said)) => (path, Some(said)),
        None => (rest, None),
    };
    if let Some(said) = said
        && !quantization::is_one(said)
    {
        return Err(format!("`{}` is no quantization, as `Q4_K_M` is", quoted(said)));
    }
    if let (Some(said), Some(wanted)) = (said, wanted)
        && !said.eq_ignore_ascii_case(wanted)
    {
        return Err(format!("it says `{said}`, and `{wanted}` was asked for besides"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    let allowed = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_graphic() && !"?#%\\:".contains(c))
    };
    if parts.len() < 2 || !parts.iter().all(allowed) {
        return Err("a repository is `OWNER/REPOSITORY`".to_owned());
    }
    let file = (parts.len() > 2).then(|| parts[2..].join("/"));
    if let Some(file) = &file
        && !file.to_ascii_lowercase().ends_with(".gguf")
    {
        return Err(format!("`{}` does not end with `.gguf`", quoted(file)));
    }
    Ok(Spec {
        origin: Origin::Hub { repository: parts[..2].join("/"), file, license: None },
        quantization: said.or(wanted).map(str::to_owned),
        name: None,
    })
}

/// A name for what came, made of a file's or a repository's.
pub(super) fn name_of(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(allowed).take(150).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

/// A file's name without `.gguf`.
pub(super) fn stem(file: &str) -> &str {
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let end = file.len().saturating_sub(5);
    match file.get(end..) {
        Some(extension) if extension.eq_ignore_ascii_case(".gguf") => &file[..end],
        _ => file,
    }
}

/// A repository's name without what says that it holds GGUF files.
pub(super) fn repository_name(repository: &str) -> &str {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let end = name.len().saturating_sub(5);
    match name.get(end..) {
        Some(suffix) if suffix.eq_ignore_ascii_case("-gguf") && end > 0 => &name[..end],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_told_from_the_others() {
        let hub = |repository: &str, file: Option<&str>| Origin::Hub {
            repository: repository.to_owned(),
            file: file.map(str::to_owned),
            license: None,
        };
        assert_eq!(parse("hf:lab/m-GGUF:q8_0", None).unwrap().origin, hub("lab/m-GGUF", None));
        assert_eq!(parse("hf:lab/m-GGUF:q8_0", None).unwrap().quantization.as_deref(), Some("q8_0"));
        assert_eq!(parse("hf:lab/m/x/y.gguf", None).unwrap().origin, hub("lab/m", Some("x/y.gguf")));
        assert!(matches!(parse("https://a/b.gguf", None).unwrap().origin, Origin::Url(_)));
        for path in ["/a/b", "./b", "b.GGUF"] {
            assert!(matches!(parse(path, None).unwrap().origin, Origin::File(_)), "{path}");
        }
        for address in ["file:///a/b%20c", "FILE:/a/b c", "file://localhost/a/b c"] {
            assert_eq!(parse(address, None).unwrap().origin, Origin::File("/a/b c".into()), "{address}");
        }
        let known = parse("tinyllama", Some("q8_0")).unwrap();
        assert_eq!((known.name.as_deref(), known.quantization.as_deref()), (Some("tinyllama:Q8_0"), Some("q8_0")));
        assert!(matches!(parse("qwen3:0.6b@box", None), Err(PullError::Backend { backend }) if backend == "box"));
        let known = parse("local/qwen3:0.6b@candle", None).unwrap();
        assert_eq!((known.name.as_deref(), known.quantization.as_deref()), (Some("qwen3:0.6b"), Some("Q8_0")));
    }

    #[test]
    fn what_says_nothing_is_refused_with_what_works() {
        for (spec, quantization) in [
            ("", None),
            ("hf:lab", None),
            ("file://elsewhere/m.gguf", None),
            ("hf:lab/../x", None),
            ("hf:lab/m:nonsense", None),
            ("hf:lab/m:Q8_0", Some("Q4_0")),
            ("hf:lab/m/x.safetensors", None),
            ("hf:lab/m?x", None),
            ("tinyllama", Some("big")),
            ("tinyllama:Q8_0", Some("Q4_0")),
        ] {
            let error = parse(spec, quantization).unwrap_err().to_string();
            assert!(error.contains("does not say what to pull"), "{spec}: {error}");
        }
        let error = parse("tinylama", None).unwrap_err().to_string();
        assert!(error.contains("did you mean `tinyllama`"), "{error}");
    }

    #[test]
    fn names_are_made_of_what_comes() {
        assert_eq!(name_of(stem("dir/My Model (v2).GGUF")), "My-Model--v2");
        assert_eq!(name_of("..."), "model");
        assert_eq!(repository_name("lab/Tiny-GGUF"), "Tiny");
        assert_eq!(repository_name("lab/-GGUF"), "-GGUF");
    }
}
