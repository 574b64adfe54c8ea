//! Which models an instance has: the bundled one, those of the store by the names they have there, every `*.gguf` under its
//! folders by the name of its file, and what other programs keep, which is read in place and never written. A name is looked up in that list, never joined to a path, so
//! that no name reaches a file outside these folders.

mod folder;
mod headers;
mod hugging_face;
mod lm_studio;
mod ollama;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use perilune_engine::Source;

use crate::config::CandleConfig;
use crate::disk::{disk_space, open_regular};
use crate::error::Error;
use crate::provider::{Collection, Location, PlaceUsage};
use crate::pull::unfinished;
use crate::specifier::ModelSpecifier;
use crate::store::{ModelStore, StoreEntry};
pub(super) use headers::Headers;

/// The name of the bundled model.
const MOONLET: &str = "moonlet";
/// More than any manifest or reference of the collections.
const LARGEST_RECORD: u64 = 1024 * 1024;

/// The models of one instance.
pub(super) struct Shelf {
    directory: Option<PathBuf>,
    must_exist: bool,
    store: Option<ModelStore>,
    collections: Vec<(Collection, PathBuf)>,
}

/// A model on the shelf.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) location: Location,
    /// Whose file it is, and when that was changed; nothing for the bundled one.
    pub(super) collection: Option<Collection>,
    modified: Option<SystemTime>,
    /// Why it cannot be asked for by that name.
    pub(super) problem: Option<String>,
}

/// A file that may be a model.
struct File {
    /// What it may be called: the first of these that no other has.
    names: Vec<String>,
    path: PathBuf,
    size_bytes: u64,
    modified: SystemTime,
    collection: Collection,
}

impl File {
    /// A regular file without a name; a link to nothing, a pipe or a device is no model.
    fn at(path: PathBuf, collection: Collection) -> Option<File> {
        let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(File { names: Vec::new(), path, size_bytes: metadata.len(), modified, collection })
    }
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
            collections: config.collections.clone(),
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
            collection: None,
            modified: None,
            problem: None,
        })
    }

    /// Every model: the bundled one first, then the others by name. The store's have their names before files; of several
    /// files with one name the first has it, in the order of the collections and within one from the top; the others have a
    /// longer one, or say why they have none.
    pub(super) fn scan(&self) -> io::Result<Vec<Found>> {
        let mut found: Vec<Found> = self.bundled(MOONLET).into_iter().collect();
        let mut holders: BTreeMap<String, String> =
            found.iter().map(|bundled| (bundled.name.clone(), "the bundled model".to_owned())).collect();
        for StoreEntry { name, record, model } in self.stored() {
            let model = match model {
                Ok(model) => model,
                Err(damaged) => {
                    found.push(Found {
                        name,
                        size_bytes: 0,
                        location: Location::File(record),
                        collection: Some(Collection::Store),
                        modified: None,
                        problem: Some(damaged.to_string()),
                    });
                    continue;
                }
            };
            let problem = match holders.get(&model.name) {
                Some(holder) => Some(format!("{holder} has that name; copy it to another, and remove it by this one")),
                None => model.problem,
            };
            holders.entry(model.name.clone()).or_insert_with(|| "a model of the store".to_owned());
            let modified = std::fs::metadata(&model.path).and_then(|metadata| metadata.modified()).ok();
            found.push(Found {
                name: model.name,
                size_bytes: model.size_bytes,
                location: Location::File(model.path),
                collection: Some(Collection::Store),
                modified,
                problem,
            });
        }
        for file in self.files()? {
            let shown = file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut names = file.names.into_iter().filter(|name| is_specifiable(name)).peekable();
            let first = names.peek().cloned();
            let (name, problem) = match (names.find(|name| !holders.contains_key(name)), first) {
                (Some(name), _) => {
                    holders.insert(name.clone(), format!("`{}`", file.path.display()));
                    (name, None)
                }
                (None, Some(taken)) => {
                    let problem = format!("{} has that name; {}", holders[&taken], remedy(file.collection));
                    (taken, Some(problem))
                }
                (None, None) => {
                    let problem = "its name cannot be written in a model specifier";
                    (shown, Some(format!("{problem}; {}", remedy(file.collection))))
                }
            };
            found.push(Found {
                name,
                size_bytes: file.size_bytes,
                location: Location::File(file.path),
                collection: Some(file.collection),
                modified: Some(file.modified),
                problem,
            });
        }
        let bundled = |found: &Found| found.location != Location::Bundled;
        found.sort_by(|a, b| (bundled(a), &a.name).cmp(&(bundled(b), &b.name)));
        Ok(found)
    }

    /// What keeps models from being found: a folder of `model_paths` that is not there, or a record of the store that says nothing.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut chosen = self.collections.iter().filter(|(collection, _)| *collection == Collection::Path);
        if let Some((_, missing)) = chosen.find(|(_, path)| !path.is_dir()) {
            return Some(format!("`{}` in `model_paths` is not a folder that is there", missing.display()));
        }
        self.stored().into_iter().find_map(|entry| Some(entry.model.err()?.to_string()))
    }

    /// The store of models that were pulled.
    pub(super) fn store(&self) -> Option<&ModelStore> {
        self.store.as_ref()
    }

    /// What each place takes on disk. Those of ours are told before there is anything in them, those of others where they are
    /// there, and these count for the models that are listed of them.
    pub(super) fn usage(&self) -> io::Result<Vec<PlaceUsage>> {
        let files = self.files()?;
        let stored = self.store.iter().map(|store| {
            let taken = store.usage().map_err(io::Error::other)?;
            let models = self.stored().len() as u64;
            let unfinished = unfinished(&store.parts());
            let place = place(Collection::Store, store.root(), models, taken.models);
            Ok(PlaceUsage { part_bytes: taken.parts, unfinished, ..place })
        });
        let folder = self.directory.iter().map(|path| (Collection::Folder, path.as_path()));
        let others = self.collections.iter().map(|(collection, path)| (*collection, path.as_path()));
        let others = folder.chain(others.filter(|(_, path)| path.exists())).map(|(collection, path)| {
            let here = files.iter().filter(|file| file.collection == collection && file.path.starts_with(path));
            // Several of Ollama's names may mean one file.
            let sizes: BTreeMap<&Path, u64> = here.clone().map(|file| (file.path.as_path(), file.size_bytes)).collect();
            Ok(place(collection, path, here.count() as u64, sizes.values().sum()))
        });
        stored.chain(others).collect()
    }

    /// What was pulled. A store that cannot be read keeps nobody from the other models.
    fn stored(&self) -> Vec<StoreEntry> {
        let Some(store) = &self.store else { return Vec::new() };
        store.entries().unwrap_or_else(|error| {
            tracing::warn!(%error, "the models of the store are left out");
            Vec::new()
        })
    }

    /// The files of every collection, in the order in which they get their names. The folder that the user chose must be
    /// there; the others may be missing, and one that cannot be read is left out.
    fn files(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        if let Some(directory) = &self.directory {
            match folder::files(directory, Collection::Folder, &|_, _| Vec::new()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.must_exist => {}
                found => files.extend(found?),
            }
        }
        for (collection, place) in &self.collections {
            let found = match collection {
                Collection::HuggingFace => hugging_face::files(place),
                Collection::Ollama => ollama::files(place),
                Collection::LmStudio => lm_studio::files(place),
                Collection::Folder | Collection::Store | Collection::Path => {
                    folder::files(place, *collection, &|_, _| Vec::new())
                }
            };
            match found {
                Ok(found) => files.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound && *collection != Collection::Path => {}
                Err(error) => {
                    tracing::warn!(folder = %place.display(), %collection, %error, "collection of models left out");
                }
            }
        }
        Ok(files)
    }
}

fn place(collection: Collection, path: &Path, models: u64, bytes: u64) -> PlaceUsage {
    let (ours, disk) = (collection == Collection::Store, disk_space(path).ok());
    PlaceUsage { collection, path: path.to_owned(), models, bytes, part_bytes: 0, unfinished: Vec::new(), ours, disk }
}

/// What gives a model a name that is free.
fn remedy(collection: Collection) -> &'static str {
    match collection {
        Collection::Folder | Collection::Store | Collection::Path => "rename the file",
        Collection::HuggingFace | Collection::Ollama | Collection::LmStudio => {
            "put a link to it into `model_directory`, by another name"
        }
    }
}

/// What a folder holds, by name, without what is hidden.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    entries.sort();
    Ok(entries)
}

/// The text of a small regular file; `None` where it is not one.
fn read_small(path: &Path) -> Option<String> {
    let mut text = String::new();
    open_regular(path).ok()?.take(LARGEST_RECORD).read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_specifiable(name: &str) -> bool {
    check_name(name).is_ok() && ModelSpecifier::local(name, "backend").is_ok_and(|specifier| specifier.model() == name)
}
