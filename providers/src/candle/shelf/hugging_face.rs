//! GGUF files in the cache of Hugging Face's own programs, read in place:
//! `models--OWNER--REPOSITORY/snapshots/REVISION/FILE`, which links to a blob, and `refs/BRANCH`, which holds a revision.
//! The layout: <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::{File, entries, folder, read_small};
use crate::provider::Collection;

/// Letters of a revision that tell it from others.
const REVISION: usize = 7;

/// The files of every repository in the cache `hub`, those of its main branch first; a file that several revisions share
/// once.
pub(super) fn files(hub: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for repository in entries(hub)? {
        let name = repository.file_name().and_then(|name| name.to_str());
        if let Some((owner, name)) = name.and_then(|name| name.strip_prefix("models--")).map(owner_and_name) {
            files.extend(of_repository(&repository, owner, name));
        }
    }
    Ok(files)
}

/// `owner--name`; some of the oldest repositories have no owner.
fn owner_and_name(folder: &str) -> (Option<&str>, &str) {
    folder.split_once("--").map_or((None, folder), |(owner, name)| (Some(owner), name))
}

fn of_repository(repository: &Path, owner: Option<&str>, name: &str) -> Vec<File> {
    let main = read_small(&repository.join("refs/main")).unwrap_or_default();
    // What is not there has no files.
    let mut revisions: Vec<PathBuf> = entries(&repository.join("snapshots")).unwrap_or_default();
    revisions.sort_by_key(|revision| revision.file_name().is_none_or(|name| name != main.trim()));
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for revision in revisions {
        let short: String = revision.file_name().unwrap_or_default().to_string_lossy().chars().take(REVISION).collect();
        let names = |_: &Path, stem: &str| {
            let mut names = vec![format!("{name}:{stem}")];
            names.extend(owner.map(|owner| format!("{owner}--{name}:{stem}")));
            names.push(format!("{}--{name}:{stem}.{short}", owner.unwrap_or("")));
            names
        };
        match folder::files(&revision, Collection::HuggingFace, &names) {
            Ok(found) => files.extend(found.into_iter().filter(|file| {
                // Where it cannot be told whether it is another's file it is one of its own.
                file.path.canonicalize().map_or(true, |path| seen.insert(path))
            })),
            Err(error) => tracing::warn!(folder = %revision.display(), %error, "snapshot skipped"),
        }
    }
    files
}
