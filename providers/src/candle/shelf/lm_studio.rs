//! GGUF files in a folder of LM Studio's, read in place: `PUBLISHER/REPOSITORY/FILE`.

use std::io;
use std::path::Path;

use super::{File, folder};
use crate::provider::Collection;

/// Every model in the folder `models`.
pub(super) fn files(models: &Path) -> io::Result<Vec<File>> {
    let names = |path: &Path, stem: &str| {
        let folders: Option<Vec<&str>> = path
            .strip_prefix(models)
            .ok()
            .and_then(Path::parent)
            .map(|parent| parent.iter().filter_map(|part| part.to_str()).collect());
        match folders.as_deref() {
            Some([publisher, repository, ..]) => {
                vec![format!("{repository}:{stem}"), format!("{publisher}--{repository}:{stem}")]
            }
            _ => Vec::new(),
        }
    };
    folder::files(models, Collection::LmStudio, &names)
}
