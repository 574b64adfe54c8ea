//! Which models an instance has: the bundled one, those of the store by the names they have there,
//! and every `*.gguf` under its folder by the name of its file. A name is looked up in that list, never joined to a path, so that no name reaches
//! a file outside the folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use perilune_engine::Source;

use crate::config::CandleConfig;
use crate::error::Error;
use crate::provider::Location;
use crate::specifier::ModelSpecifier;
use crate::store::{ModelStore, StoredModel};

/// The name of the bundled model.
const MOONLET: &str = "moonlet";

/// How far below the folder files are looked for, and how many entries are looked at: a folder
/// with more is not one of models.
const DEPTH: usize = 8;
const ENTRIES: usize = 100_000;

/// The models of one instance.
pub(super) struct Shelf {
    directory: Option<PathBuf>,
    must_exist: bool,
    store: Option<ModelStore>,
}

/// A model on the shelf.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) location: Location,
    /// Why it cannot be asked for by that name.
    pub(super) problem: Option<String>,
}

impl Found {
    /// Where the engine reads it.
    pub(super) fn source(&self) -> Source {
        match (&self.location, perilune_engine::moonlet()) {
            (Location::File(path), _) => Source::File(path.clone()),
            (_, bytes) => Source::Bundled(bytes.unwrap_or_default()),
        }
    }
}

/// Refuses a name that no file on a shelf can have.
pub(super) fn check_name(model: &str) -> Result<(), Error> {
    let problem = if model.is_empty() {
        "it is empty"
    } else if model.contains(['/', '\\']) {
        "it has a separator"
    } else if model.starts_with('.') {
        "it starts with a dot"
    } else if model.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "it has blanks or control characters"
    } else {
        return Ok(());
    };
    Err(Error::InvalidModelName { model: model.to_owned(), problem })
}

impl Shelf {
    pub(super) fn new(config: &CandleConfig) -> Shelf {
        Shelf {
            directory: config.model_directory.clone(),
            must_exist: config.model_directory_chosen,
            store: config.store.as_ref().map(ModelStore::new),
        }
    }

    /// The folder of models, or nothing where there is none.
    pub(super) fn directory(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new(""))
    }

    /// The bundled model, if that is its name and this build has it.
    pub(super) fn bundled(&self, name: &str) -> Option<Found> {
        let bytes = perilune_engine::moonlet().filter(|_| name == MOONLET)?;
        Some(Found {
            name: MOONLET.to_owned(),
            size_bytes: bytes.len() as u64,
            location: Location::Bundled,
            problem: None,
        })
    }

    /// Every model: the bundled one first, then the others by name. The store's have their names before
    /// the folder's, of which the one nearest to the top has it; the others say so.
    pub(super) fn scan(&self) -> io::Result<Vec<Found>> {
        let mut files = Vec::new();
        if let Some(directory) = &self.directory {
            let mut entries = 0;
            match walk(directory, 0, &mut entries, &mut files) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.must_exist => {}
                result => result?,
            }
        }
        files.sort_by(|a, b| (a.depth, &a.path).cmp(&(b.depth, &b.path)));

        let mut found: Vec<Found> = self.bundled(MOONLET).into_iter().collect();
        let mut holders: BTreeMap<String, String> =
            found.iter().map(|bundled| (bundled.name.clone(), "the bundled model".to_owned())).collect();
        for model in self.stored() {
            let problem = match holders.get(&model.name) {
                Some(holder) => Some(format!("{holder} has that name; remove it, and pull it by another")),
                None => model.problem,
            };
            holders.entry(model.name.clone()).or_insert_with(|| "a model of the store".to_owned());
            let (size_bytes, location) = (model.size_bytes, Location::File(model.path));
            found.push(Found { name: model.name, size_bytes, location, problem });
        }
        for file in files {
            let stem = file.path.file_stem().unwrap_or_default();
            let name = stem.to_string_lossy().into_owned();
            let problem = if stem.to_str().is_none() || !is_specifiable(&name) {
                Some("its name cannot be written in a model specifier; rename the file".to_owned())
            } else if let Some(holder) = holders.get(&name) {
                Some(format!("{holder} has that name; rename the file"))
            } else {
                holders.insert(name.clone(), format!("`{}`", file.path.display()));
                None
            };
            found.push(Found { name, size_bytes: file.size_bytes, location: Location::File(file.path), problem });
        }
        let bundled = |found: &Found| found.location != Location::Bundled;
        found.sort_by(|a, b| (bundled(a), &a.name).cmp(&(bundled(b), &b.name)));
        Ok(found)
    }

    /// What was pulled. A store that cannot be read keeps nobody from the other models.
    fn stored(&self) -> Vec<StoredModel> {
        let Some(store) = &self.store else { return Vec::new() };
        store.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the models of the store are left out");
            Vec::new()
        })
    }
}

fn is_specifiable(name: &str) -> bool {
    check_name(name).is_ok() && ModelSpecifier::local(name, "backend").is_ok_and(|specifier| specifier.model() == name)
}

struct File {
    path: PathBuf,
    depth: usize,
    size_bytes: u64,
}

/// Collects the GGUF files under a folder. Links to files are followed, links to folders are not:
/// they can lead around in a circle.
fn walk(folder: &Path, depth: usize, entries: &mut usize, files: &mut Vec<File>) -> io::Result<()> {
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
                && let Err(error) = walk(&path, depth + 1, entries, files)
            {
                if *entries > ENTRIES {
                    return Err(error);
                }
                tracing::warn!(folder = %path.display(), %error, "folder of models skipped");
            }
            continue;
        }
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        // A link to nothing, a pipe or a device is no model.
        if is_gguf
            && let Ok(metadata) = std::fs::metadata(&path)
            && metadata.is_file()
        {
            files.push(File { path, depth, size_bytes: metadata.len() });
        }
    }
    Ok(())
}
