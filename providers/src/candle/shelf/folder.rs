//! GGUF files below a folder, by the names of the files.

use std::io;
use std::path::{Path, PathBuf};

use super::File;
use crate::provider::Collection;

/// How far below the folder files are looked for, and how many entries are looked at: a folder
/// with more is not one of models.
const DEPTH: usize = 8;
const ENTRIES: usize = 100_000;

/// Every GGUF file below `folder`, those nearest to the top first. `names` says which names one may have beside that of its
/// file, given its path and that name.
pub(super) fn files(
    folder: &Path,
    collection: Collection,
    names: &dyn Fn(&Path, &str) -> Vec<String>,
) -> io::Result<Vec<File>> {
    let mut paths = Vec::new();
    walk(folder, 0, &mut 0, &mut paths)?;
    paths.sort();
    let files = paths.into_iter().filter_map(|(_, path)| {
        // It was a file a moment ago.
        let mut file = File::at(path, collection)?;
        if let Some(own) = file.path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) {
            file.names = names(&file.path, &own);
            file.names.insert(0, own);
        }
        Some(file)
    });
    Ok(files.collect())
}

/// Collects the GGUF files under a folder. Links to files are followed, links to folders are not:
/// they can lead around in a circle.
fn walk(folder: &Path, depth: usize, entries: &mut usize, paths: &mut Vec<(usize, PathBuf)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        *entries += 1;
        if *entries > ENTRIES {
            let problem = format!("it holds more than {ENTRIES} entries; choose a folder of models");
            return Err(io::Error::other(problem));
        }
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if depth < DEPTH
                && let Err(error) = walk(&path, depth + 1, entries, paths)
            {
                if *entries > ENTRIES {
                    return Err(error);
                }
                tracing::warn!(folder = %path.display(), %error, "folder of models skipped");
            }
            continue;
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            paths.push((depth, path));
        }
    }
    Ok(())
}
