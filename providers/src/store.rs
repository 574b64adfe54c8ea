//! The model store: model files that this program fetched, each whole and under the SHA-256 of its content, and the names
//! that they go by. Several processes may use one store at once. Where files come from is not known here.
//!
//! ```text
//! store/
//!   blobs/sha256-<64 hexadecimal digits>   model files; one comes by a rename, never changes, and goes whole
//!   names/<name>.json                      what is known of a model by that name; several may mean one blob
//!   parts/                                 what is on its way
//!   lock                                   held while names or blobs change
//! ```

mod error;
mod name;
mod record;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub use error::StoreError;
pub use name::check_store_name;
pub use record::{NewModel, Sha256Digest, StoredModel};

use crate::disk::{allocated, open_regular};
use crate::nearest::nearest;
use record::Record;

/// What a GGUF file begins with.
const MAGIC: &[u8; 4] = b"GGUF";

/// A folder of model files. It need not exist before the first model comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStore {
    root: PathBuf,
}

/// A name of the store.
#[derive(Clone, Debug)]
pub struct StoreEntry {
    /// The name.
    pub name: String,
    /// The file that says what goes by it.
    pub record: PathBuf,
    /// What goes by it, or why that cannot be told.
    pub model: Result<StoredModel, StoreError>,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The model as it was.
    pub model: StoredModel,
    /// Bytes of disk that are free now; none while another name means the same file.
    pub freed_bytes: u64,
    /// The other names of the same file.
    pub kept_as: Vec<String>,
}

/// Bytes of disk that a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Model files, each counted once.
    pub models: u64,
    /// What is on its way or was left unfinished.
    pub parts: u64,
}

impl ModelStore {
    /// The store in that folder.
    pub fn new(root: impl Into<PathBuf>) -> ModelStore {
        ModelStore { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where files lie that are on their way; on the file system of the models, so that a rename brings them in.
    pub fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    /// Every model, by name. One whose file is missing or has another size than it came with says so.
    /// One whose record cannot be read is left out.
    pub fn list(&self) -> Result<Vec<StoredModel>, StoreError> {
        Ok(self.entries()?.into_iter().filter_map(|entry| entry.model.ok()).collect())
    }

    /// Every name, in order, also those whose records cannot be read.
    pub fn entries(&self) -> Result<Vec<StoreEntry>, StoreError> {
        let records = files_of(&self.names())?.into_iter();
        let entries = records.filter_map(|record| {
            let name = name::of_record(&record)?;
            // What was removed since the folder was read is not there.
            let model = self.read(&name, &record).transpose()?;
            Some(StoreEntry { name, record, model })
        });
        let mut entries: Vec<StoreEntry> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The model of that name, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<StoredModel>, StoreError> {
        check_store_name(name)?;
        self.read(name, &self.record(name))
    }

    /// The path of a file with that content, if the store has it.
    pub fn blob(&self, digest: &Sha256Digest) -> Option<PathBuf> {
        let path = self.blobs().join(digest.file_name());
        self.own_file(&path).is_ok().then_some(path)
    }

    /// Takes a whole file in and gives it a name, which a model of other content must not have unless `replace`. The file,
    /// in [`ModelStore::parts`], is moved; that its content has this digest is the caller's to know.
    pub fn add(
        &self,
        file: &Path,
        digest: &Sha256Digest,
        model: NewModel,
        replace: bool,
    ) -> Result<StoredModel, StoreError> {
        check_store_name(&model.name)?;
        check_magic(file)?;
        let write = |error| StoreError::write(file, error);
        File::open(file).and_then(|file| file.sync_all()).map_err(write)?;
        let _lock = self.lock()?;
        self.check_free(&model.name, digest, replace)?;
        let blobs = self.blobs();
        fs::create_dir_all(&blobs).map_err(|error| StoreError::write(&blobs, error))?;
        fs::rename(file, blobs.join(digest.file_name())).map_err(write)?;
        sync_folder(&blobs)?;
        self.record_model(digest, model)
    }

    /// Gives a file that the store has a name, as [`ModelStore::add`] does; `None` if it is not there.
    pub fn name(
        &self,
        digest: &Sha256Digest,
        model: NewModel,
        replace: bool,
    ) -> Result<Option<StoredModel>, StoreError> {
        check_store_name(&model.name)?;
        let _lock = self.lock()?;
        if self.blob(digest).is_none() {
            return Ok(None);
        }
        self.check_free(&model.name, digest, replace)?;
        self.record_model(digest, model).map(Some)
    }

    /// Gives a model another name beside the one it has; both mean one file.
    pub fn copy(&self, from: &str, to: &str) -> Result<StoredModel, StoreError> {
        check_store_name(to)?;
        let _lock = self.lock()?;
        let model = self.get(from)?.ok_or_else(|| self.unknown(from))?;
        self.check_free(to, &model.digest, false)?;
        let StoredModel { source, revision, quantization, license, .. } = model;
        self.record_model(&model.digest, NewModel { name: to.to_owned(), source, revision, quantization, license })
    }

    /// Takes a name away, and its file with the last name of it. Only what is a regular file in this store goes: a link
    /// where the file should be is refused.
    pub fn remove(&self, name: &str) -> Result<Removed, StoreError> {
        check_store_name(name)?;
        let _lock = self.lock()?;
        let removed = self.removal(name)?;
        // The name first: a name without a file would be listed, a file without a name is not, and goes with the next.
        let record = self.record(name);
        fs::remove_file(&record).map_err(|error| StoreError::write(&record, error))?;
        sync_folder(&self.names())?;
        self.sweep()?;
        Ok(removed)
    }

    /// What [`ModelStore::remove`] would do, or why it would not.
    pub fn removal(&self, name: &str) -> Result<Removed, StoreError> {
        let model = self.get(name)?.ok_or_else(|| self.unknown(name))?;
        self.own_file(&self.record(name))?;
        let size = match fs::symlink_metadata(&model.path) {
            Ok(_) => self.own_file(&model.path)?,
            Err(_) => 0,
        };
        let same = |other: &StoredModel| other.digest == model.digest && other.name != name;
        let kept_as: Vec<String> = self.list()?.into_iter().filter(same).map(|other| other.name).collect();
        let freed_bytes = if kept_as.is_empty() { size } else { 0 };
        Ok(Removed { model, freed_bytes, kept_as })
    }

    /// What it takes on disk.
    pub fn usage(&self) -> Result<StoreUsage, StoreError> {
        let sum = |folder: PathBuf, size: fn(&fs::Metadata) -> u64| {
            let files = files_of(&folder)?;
            Ok(files.iter().filter_map(|path| Some(size(&fs::symlink_metadata(path).ok()?))).sum())
        };
        Ok(StoreUsage { models: sum(self.blobs(), fs::Metadata::len)?, parts: sum(self.parts(), allocated)? })
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    fn record(&self, name: &str) -> PathBuf {
        self.names().join(name::record_file(name))
    }

    /// Held while names or blobs change, by one of all threads and processes; nobody holds it for long.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let lock = || {
            fs::create_dir_all(&self.root)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error| StoreError::write(&path, error))
    }

    fn read(&self, name: &str, path: &Path) -> Result<Option<StoredModel>, StoreError> {
        let mut text = Vec::new();
        match open_regular(path).and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::read(path, error)),
        }
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| StoreError::Record { path: path.to_owned(), problem: error.to_string() })?;
        let file = self.blobs().join(record.sha256.file_name());
        let problem = match self.own_file(&file) {
            Ok(size) if size == record.size_bytes => None,
            Ok(size) => Some(format!(
                "its file has {size} bytes and came with {}; pull it again with `--force`",
                record.size_bytes
            )),
            // A removal takes the record first.
            Err(_) if !path.exists() => return Ok(None),
            Err(_) => Some("its file is missing; pull it again, or remove it".to_owned()),
        };
        Ok(Some(record.into_model(name, file, problem)))
    }

    /// Writes down what a file that is there is called. The lock is held.
    fn record_model(&self, digest: &Sha256Digest, model: NewModel) -> Result<StoredModel, StoreError> {
        let names = self.names();
        fs::create_dir_all(&names).map_err(|error| StoreError::write(&names, error))?;
        let file = self.blobs().join(digest.file_name());
        let size_bytes = self.own_file(&file)?;
        let name = model.name.clone();
        let record = Record::new(digest, size_bytes, model);
        let path = self.record(&name);
        // Nobody else writes this file now; one that a killed process left is written over.
        let unfinished = path.with_extension("new");
        let write = || {
            let mut out = File::create(&unfinished)?;
            out.write_all(&serde_json::to_vec_pretty(&record)?)?;
            out.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| StoreError::write(&path, error))?;
        sync_folder(&names)?;
        // What the name meant before may have no other.
        self.sweep()?;
        Ok(record.into_model(&name, file, None))
    }

    /// Refuses a name that another content has.
    pub(crate) fn check_free(&self, name: &str, digest: &Sha256Digest, replace: bool) -> Result<(), StoreError> {
        match self.get(name)? {
            Some(there) if there.digest != *digest && !replace => {
                Err(StoreError::NameTaken { name: name.to_owned(), source_of_it: there.source })
            }
            _ => Ok(()),
        }
    }

    fn unknown(&self, name: &str) -> StoreError {
        let names: Vec<String> = self.list().unwrap_or_default().into_iter().map(|model| model.name).collect();
        StoreError::Unknown {
            name: name.to_owned(),
            near: nearest(name, names.iter().map(String::as_str)),
            root: self.root.clone(),
        }
    }

    /// The size of a regular file of this store: no link, and in none of its folders by way of one.
    fn own_file(&self, path: &Path) -> Result<u64, StoreError> {
        let refuse = |problem| StoreError::NotOurs { path: path.to_owned(), root: self.root.clone(), problem };
        let metadata = fs::symlink_metadata(path).map_err(|error| StoreError::read(path, error))?;
        if metadata.is_symlink() {
            return Err(refuse("it is a link"));
        }
        if !metadata.is_file() {
            return Err(refuse("it is not a regular file"));
        }
        let root = fs::canonicalize(&self.root).map_err(|error| StoreError::read(&self.root, error))?;
        let place = fs::canonicalize(path).map_err(|error| StoreError::read(path, error))?;
        if !place.starts_with(&root) {
            return Err(refuse("it lies outside, by way of a link"));
        }
        Ok(metadata.len())
    }

    /// Deletes the files that no name means. The lock is held, so none is about to get one.
    fn sweep(&self) -> Result<(), StoreError> {
        let mut meant = BTreeSet::new();
        for record in files_of(&self.names())? {
            let Some(name) = name::of_record(&record) else { continue };
            match self.read(&name, &record) {
                Ok(model) => meant.extend(model.map(|model| model.path)),
                Err(error) => {
                    tracing::warn!(%error, "files without a name stay, because this may be the name of one");
                    return Ok(());
                }
            }
        }
        for path in files_of(&self.blobs())? {
            if !meant.contains(&path) && self.own_file(&path).is_ok() {
                fs::remove_file(&path).map_err(|error| StoreError::write(&path, error))?;
            }
        }
        Ok(())
    }
}

/// The entries of a folder, which need not be there.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files.map_err(|error| StoreError::read(folder, error)),
    }
}

/// Makes what was renamed in a folder last through a loss of power.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| StoreError::write(folder, error))
}

/// Refuses a file that is not GGUF, whatever its name says.
pub(crate) fn check_magic(file: &Path) -> Result<(), StoreError> {
    let mut first = Vec::new();
    let read = open_regular(file).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut first));
    read.map_err(|error| StoreError::read(file, error))?;
    check_first_bytes(&first, &file.display().to_string())
}

/// Refuses what does not begin as GGUF does.
pub(crate) fn check_first_bytes(first: &[u8], place: &str) -> Result<(), StoreError> {
    if first.starts_with(MAGIC) {
        return Ok(());
    }
    Err(StoreError::NotGguf { place: place.to_owned(), begins: first.iter().take(MAGIC.len()).copied().collect() })
}

#[cfg(test)]
mod tests;
