//! The Hugging Face Hub as its own tools see it: where it is, who asks, what a repository has, and what its cache on this machine holds.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` mean what they mean to `huggingface_hub`.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo, RepoType};
use reqwest::Url;
use serde::Deserialize;

use super::error::PullError;
use super::fetch::{Failure, Fetcher};
use crate::store::Sha256Digest;

const ENDPOINT: &str = "https://huggingface.co";
/// The branch that is meant when nobody says another.
const REVISION: &str = "main";
/// Larger than the list of the largest repository of GGUF files.
const MOST_LISTING: usize = 32 * 1024 * 1024;

/// Where the Hub is for this process.
#[derive(Clone)]
pub(super) struct HubSettings {
    pub(super) endpoint: Result<Url, String>,
    pub(super) token: Option<String>,
    pub(super) cache: PathBuf,
    pub(super) offline: bool,
}

/// A repository at one commit.
pub(super) struct Repository {
    pub(super) name: String,
    pub(super) commit: String,
    pub(super) files: Vec<RepositoryFile>,
    pub(super) license: Option<String>,
}

/// A file of a repository.
pub(super) struct RepositoryFile {
    pub(super) path: String,
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Sha256Digest>,
}

impl HubSettings {
    pub(super) fn from_environment() -> HubSettings {
        HubSettings::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>, user: Option<PathBuf>) -> HubSettings {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let user = user.unwrap_or_default();
        let cache_home = set("XDG_CACHE_HOME").map_or_else(|| user.join(".cache"), PathBuf::from);
        let home = set("HF_HOME").map_or_else(|| cache_home.join("huggingface"), PathBuf::from);
        let cache = set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = set("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let chosen = set("HF_ENDPOINT");
        let endpoint = chosen.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/');
        let endpoint = match Url::parse(endpoint) {
            Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => Ok(url),
            _ => Err("`HF_ENDPOINT` is no address such as `https://huggingface.co`".to_owned()),
        };
        let yes = |value: String| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        HubSettings { endpoint, token, cache, offline: set("HF_HUB_OFFLINE").is_some_and(yes) }
    }

    fn endpoint(&self) -> Result<Url, PullError> {
        self.endpoint.clone().map_err(|problem| PullError::Refused { address: "HF_ENDPOINT".to_owned(), problem })
    }

    /// What a repository has on its main branch.
    pub(super) async fn repository(&self, fetcher: &Fetcher, name: &str) -> Result<Repository, Failure> {
        let mut url =
            path_of(self.endpoint().map_err(Failure::lasting)?, &["api", "models"], &[name, "revision", REVISION]);
        // With it, sizes and digests.
        url.set_query(Some("blobs=true"));
        let listing: Listing = fetcher.json(&url, MOST_LISTING).await?;
        // A path is a part of an address, and of one in the cache: one that leads elsewhere is no file of the repository.
        let within = |sibling: &Sibling| !sibling.rfilename.split('/').any(|part| matches!(part, "" | "." | ".."));
        let files = listing.siblings.into_iter().filter(within).map(|sibling| RepositoryFile {
            path: sibling.rfilename,
            size: sibling.lfs.as_ref().and_then(|lfs| lfs.size).or(sibling.size),
            digest: sibling.lfs.and_then(|lfs| lfs.sha256?.parse().ok()),
        });
        Ok(Repository {
            name: name.to_owned(),
            commit: listing.sha,
            files: files.collect(),
            license: listing.card_data.and_then(|card| card.license.as_str().map(str::to_owned)),
        })
    }

    /// Where a file of a commit is.
    pub(super) fn file(&self, repository: &Repository, path: &str) -> Result<Url, PullError> {
        Ok(path_of(self.endpoint()?, &[], &[&repository.name, "resolve", &repository.commit, path]))
    }

    /// What the cache of Hugging Face's own tools has of a repository's main branch, by the files' paths there.
    pub(super) fn cached(&self, name: &str) -> Option<Repository> {
        let main = self.cache.join(Repo::model(name.to_owned()).folder_name()).join("refs").join(REVISION);
        let commit = std::fs::read_to_string(main).ok()?.trim().to_owned();
        let snapshot = Cache::new(self.cache.clone()).model(name.to_owned()).pointer_path(&commit);
        let mut paths = Vec::new();
        collect(&snapshot, "", 0, &mut paths);
        // The cache names large files by their digests.
        let digest = |path: &str| {
            let blob = std::fs::canonicalize(snapshot.join(path)).ok()?;
            blob.file_name()?.to_str()?.parse::<Sha256Digest>().ok()
        };
        let files = paths.into_iter().map(|path| RepositoryFile { digest: digest(&path), path, size: None }).collect();
        Some(Repository { name: name.to_owned(), commit, files, license: None })
    }

    /// A file of a commit, if the cache has it.
    pub(super) fn cached_file(&self, repository: &Repository, path: &str) -> Option<PathBuf> {
        let at = Repo::with_revision(repository.name.clone(), RepoType::Model, repository.commit.clone());
        let file = Cache::new(self.cache.clone()).repo(at).pointer_path(&repository.commit).join(path);
        std::fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()).then_some(file)
    }
}

/// A repository's folders are few and shallow.
const DEEPEST: usize = 4;

fn collect(folder: &Path, prefix: &str, depth: usize, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // The files are links into the cache's own blobs; folders are folders.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEEPEST => collect(&entry.path(), &path, depth + 1, paths),
            Ok(kind) if !kind.is_dir() => paths.push(path),
            _ => {}
        }
    }
}

/// An address below the endpoint. `first` and the parts of `then`, divided at their slashes, are its segments.
fn path_of(mut endpoint: Url, first: &[&str], then: &[&str]) -> Url {
    if let Ok(mut segments) = endpoint.path_segments_mut() {
        segments.pop_if_empty().extend(first).extend(then.iter().flat_map(|part| part.split('/')));
    }
    endpoint
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card_data: Option<CardData>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize)]
struct CardData {
    /// A word, or a list of them.
    #[serde(default)]
    license: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let variables = variables.to_vec();
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        HubSettings::from_variables(find, Some("/home/a".into()))
    }

    #[test]
    fn the_environment_means_what_it_means_to_others() {
        let default = settings(&[]);
        assert_eq!(default.endpoint.unwrap().as_str(), "https://huggingface.co/");
        assert_eq!(default.cache, PathBuf::from("/home/a/.cache/huggingface/hub"));
        assert!(!default.offline);
        assert_eq!(settings(&[("HF_HOME", "/x")]).cache, PathBuf::from("/x/hub"));
        assert_eq!(settings(&[("HF_HOME", "/x"), ("HF_HUB_CACHE", "/y")]).cache, PathBuf::from("/y"));
        assert_eq!(settings(&[("HF_TOKEN", " t\n")]).token.as_deref(), Some("t"));
        assert!(settings(&[("HF_HUB_OFFLINE", "1")]).offline);
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(settings(&[("HF_ENDPOINT", "nonsense")]).endpoint.is_err());
        let mirror = settings(&[("HF_ENDPOINT", "http://mirror:8080/hub/")]);
        let repository =
            Repository { name: "lab/m".to_owned(), commit: "c0".to_owned(), files: Vec::new(), license: None };
        let file = mirror.file(&repository, "a b/m.gguf").unwrap();
        assert_eq!(file.as_str(), "http://mirror:8080/hub/lab/m/resolve/c0/a%20b/m.gguf");
    }
}
