//! A pull, from its spec to the model in the store.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Url;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::address::shown;
use super::error::PullError;
use super::fetch::Failure;
use super::hub::Repository;
use super::part::{Lock, digest_of};
use super::progress::{Listener, Meter, PullStage};
use super::quantization::Choice;
use super::spec::{self, Spec};
use super::transfer::{Came, Patience, Transfer, Wanted, check_space, unless_cancelled, wait_for_lock};
use super::{Shared, Whom, quantization, shards};
use crate::error::ErrorKind;
use crate::nearest::quoted;
use crate::store::{ModelStore, NewModel, Sha256Digest, StoreError, StoredModel, check_magic, check_store_name};

/// Attempts to hear what a repository has.
const LISTING_ATTEMPTS: u32 = 3;

/// One file of a model that is to come.
struct WantedFile {
    url: Result<Url, PullError>,
    path: String,
    size: Option<u64>,
    digest: Option<Sha256Digest>,
}

/// What came into the store, or was there.
pub(super) struct Kept {
    pub(super) model: StoredModel,
    pub(super) was_there: bool,
}

/// One pull.
pub(super) struct Pull<'a> {
    pub(super) shared: &'a Shared,
    pub(super) store: &'a ModelStore,
    pub(super) listener: &'a Listener,
    pub(super) cancel: &'a CancellationToken,
    pub(super) force: bool,
}

impl Pull<'_> {
    pub(super) async fn pull_hub(
        &self,
        name: &str,
        file: Option<&str>,
        license: Option<&str>,
        spec: &Spec,
    ) -> Result<Kept, PullError> {
        if let Some(there) = self.stored_from(&format!("hf:{name}/{}", file.unwrap_or_default()), spec)? {
            return Ok(there);
        }
        let hub = &self.shared.hub;
        let (repository, online) = if hub.offline {
            if let Some(there) = self.stored_of(name, file, spec)? {
                return Ok(there);
            }
            (hub.cached(name).ok_or_else(|| self.offline(format!("hf:{name}")))?, false)
        } else {
            (unless_cancelled(self.cancel, self.listing(name)).await?, true)
        };
        let paths: Vec<String> = repository.files.iter().map(|file| file.path.clone()).collect();
        let choice = match file {
            Some(file) if paths.iter().any(|path| path == file) => quantization::of_file(&paths, file),
            Some(file) => {
                let problem = format!("has no file `{}`", quoted(file));
                return Err(PullError::NoFile { of: name.to_owned(), problem });
            }
            None => quantization::choose(&paths, spec.quantization.as_deref()),
        };
        let choice = choice.map_err(|why| PullError::no_choice(name, spec.quantization.as_deref(), why))?;
        let derived = || match (&choice.quantization, file) {
            (_, Some(file)) => spec::name_of(&quantization::model_name(file)),
            (Some(quantization), None) => format!("{}:{quantization}", spec::name_of(spec::repository_name(name))),
            (None, None) => spec::name_of(spec::repository_name(name)),
        };
        let model = NewModel {
            name: spec.name.clone().unwrap_or_else(derived),
            source: format!("hf:{name}/{}", choice.files.first().map_or("", String::as_str)),
            revision: Some(repository.commit.clone()),
            quantization: choice.quantization.clone(),
            license: license.map(str::to_owned).or_else(|| repository.license.clone()),
        };
        self.check_unused(&model.name)?;
        let files = choice.files.iter().map(|path| {
            let listed = repository.files.iter().find(|file| file.path == *path);
            WantedFile {
                url: hub.file(&repository, path),
                path: path.clone(),
                size: listed.and_then(|file| file.size),
                digest: listed.and_then(|file| file.digest.clone()),
            }
        });
        let files: Vec<WantedFile> = files.collect();
        // One file under its own digest may be there by another name. Of shards, only what they were joined to is.
        if let [WantedFile { digest: Some(digest), .. }] = &files[..]
            && !self.force
            && let Some(model) = self.store.name(digest, model.clone(), false)?
        {
            return Ok(Kept { model, was_there: true });
        }
        match &files[..] {
            [WantedFile { digest: Some(digest), .. }] => self.store.check_free(&model.name, digest, self.force)?,
            _ => self.check_source(&model)?,
        }
        self.bring_files(&repository, files, model, online).await
    }

    /// What a repository has, asked for more than once if need be.
    async fn listing(&self, name: &str) -> Result<Repository, PullError> {
        let fetcher = self.shared.fetcher(Whom::Hub)?;
        let mut attempts = Patience::new(LISTING_ATTEMPTS);
        loop {
            match self.shared.hub.repository(fetcher, name).await {
                Ok(repository) => return Ok(repository),
                Err(failure) => attempts.wait(self.explained(failure, name)).await?,
            }
        }
    }

    /// A repository that is not there is a model that is not there.
    fn explained(&self, failure: Failure, name: &str) -> Failure {
        match failure.error {
            PullError::Server { kind: ErrorKind::ModelNotFound, .. } => {
                let problem = format!(
                    "is not a repository of {}",
                    self.shared.hub.endpoint.as_ref().map_or_else(String::clone, shown)
                );
                Failure::lasting(PullError::NoFile { of: name.to_owned(), problem })
            }
            error => Failure { error, ..failure },
        }
    }

    /// Brings every file of a model, from the cache of Hugging Face's tools where that has it, and makes them one.
    async fn bring_files(
        &self,
        repository: &Repository,
        files: Vec<WantedFile>,
        model: NewModel,
        online: bool,
    ) -> Result<Kept, PullError> {
        let single = files.len() == 1;
        let mut came = Vec::new();
        for file in &files {
            let cached = self.shared.hub.cached_file(repository, &file.path);
            match (cached, online) {
                (Some(cached), _) if !self.force || !online => {
                    let copied = Brought::Copy(self.take_copy(&cached, &file.path, Copying::ByLink).await?);
                    if file.digest.as_ref().is_none_or(|expected| expected == copied.digest()) {
                        came.push(copied);
                        continue;
                    }
                    tracing::warn!(file = %cached.display(), "the file in the Hugging Face cache is damaged and left alone");
                    copied.discard();
                    if !online {
                        return Err(self.offline(format!("hf:{}/{}, as it was fetched,", repository.name, file.path)));
                    }
                }
                (None, false) => return Err(self.offline(format!("hf:{}/{}", repository.name, file.path))),
                _ => {}
            }
            let url = file.url.clone()?;
            let wanted = Wanted {
                // Without a digest, the commit's address is a name of one content, too.
                key: file.digest.as_ref().map_or_else(|| key_of(url.as_str()), ToString::to_string),
                url,
                file: file.path.clone(),
                size: file.size,
                digest: file.digest.clone(),
                most: u64::MAX,
            };
            let there = || {
                single && !self.force && wanted.digest.as_ref().is_some_and(|digest| self.store.blob(digest).is_some())
            };
            match self.transfer(Whom::Hub)?.bring(&wanted, &there).await? {
                Some(part) => came.push(Brought::Part(part)),
                None => {
                    if let Some(digest) = &wanted.digest
                        && let Some(model) = self.store.name(digest, model.clone(), self.force)?
                    {
                        return Ok(Kept { model, was_there: true });
                    }
                }
            }
        }
        if came.len() > 1 {
            let shards = came.iter().map(|shard| shard.path().to_owned()).collect();
            let joined = self.join(shards, &model).await?;
            let kept = self.keep(Brought::Copy(joined), model)?;
            came.into_iter().for_each(Brought::discard);
            return Ok(kept);
        }
        let Some(one) = came.pop() else {
            return Err(PullError::NoFile {
                of: repository.name.clone(),
                problem: "lost its file while it came".to_owned(),
            });
        };
        self.keep(one, model)
    }

    pub(super) async fn pull_address(&self, url: &Url, spec: &Spec) -> Result<Kept, PullError> {
        let source = shown(url);
        if let Some(there) = self.stored_from(&source, spec)? {
            return Ok(there);
        }
        let file = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let model = self.model_of(&file, source.clone(), spec);
        self.check_unused(&model.name)?;
        self.check_source(&model)?;
        let wanted = Wanted {
            key: key_of(url.as_str()),
            url: url.clone(),
            file,
            size: None,
            digest: None,
            most: self.shared.downloads.most_bytes,
        };
        let before: Vec<StoredModel> = self.store.list()?;
        // Nothing but the address tells that another pull brought the same file, while this one waited for it.
        let now = || {
            let from_there = |model: &StoredModel| model.source == source && !before.contains(model);
            self.store.list().ok()?.into_iter().find(from_there).map(|model| model.digest)
        };
        let there = || now().is_some();
        match self.transfer(Whom::Anybody)?.bring(&wanted, &there).await? {
            Some(part) => self.keep(Brought::Part(part), model),
            None => {
                let named = now().map(|digest| self.store.name(&digest, model, self.force)).transpose()?.flatten();
                let model = named.ok_or_else(|| PullError::NoFile {
                    of: source.clone(),
                    problem: "was removed while it came".to_owned(),
                })?;
                Ok(Kept { model, was_there: true })
            }
        }
    }

    pub(super) async fn pull_file(&self, path: &Path, spec: &Spec) -> Result<Kept, PullError> {
        let path = std::path::absolute(path).map_err(|error| PullError::disk(path, error))?;
        check_magic(&path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = self.model_of(&file, format!("file:{}", path.display()), spec);
        check_store_name(&model.name)?;
        self.check_unused(&model.name)?;
        self.keep(Brought::Copy(self.take_copy(&path, &file, Copying::Bytes).await?), model)
    }

    /// A model that a file's name names.
    fn model_of(&self, file: &str, source: String, spec: &Spec) -> NewModel {
        NewModel {
            name: spec.name.clone().unwrap_or_else(|| spec::name_of(spec::stem(file))),
            source,
            revision: None,
            quantization: spec.quantization.clone().or_else(|| quantization::of_path(file)),
            license: None,
        }
    }

    /// The model of the name that is asked for, if it came from there and is whole.
    fn stored_from(&self, source: &str, spec: &Spec) -> Result<Option<Kept>, PullError> {
        let Some(name) = spec.name.as_deref().filter(|_| !self.force) else { return Ok(None) };
        let Some(model) = self.store.get(name)? else { return Ok(None) };
        let same = model.source.starts_with(source)
            && spec.quantization.as_ref().is_none_or(|wanted| {
                model.quantization.as_ref().is_some_and(|there| there.eq_ignore_ascii_case(wanted))
            });
        Ok((same && model.problem.is_none()).then_some(Kept { model, was_there: true }))
    }

    /// The model of a repository, if the store has it by whatever name: what serves where the Hub may not be asked.
    fn stored_of(&self, repository: &str, file: Option<&str>, spec: &Spec) -> Result<Option<Kept>, PullError> {
        if self.force {
            return Ok(None);
        }
        // By the file: several names of one are one choice.
        let mut models = BTreeMap::new();
        for model in self.store.list()?.into_iter().filter(|model| model.problem.is_none()) {
            let of_repository = model.source.strip_prefix(&format!("hf:{repository}/")).map(str::to_owned);
            if let Some(path) = of_repository.filter(|path| file.is_none_or(|file| file == path)) {
                models.entry(path).or_insert(model);
            }
        }
        let choice = |(path, model): (&String, &StoredModel)| Choice {
            files: vec![path.clone()],
            quantization: model.quantization.clone(),
        };
        let choices: Vec<Choice> = models.iter().map(choice).collect();
        let chosen = quantization::choose_among(&choices, spec.quantization.as_deref()).ok();
        let Some(model) = chosen.and_then(|chosen| models.remove(chosen.files.first()?)) else { return Ok(None) };
        let model = match &spec.name {
            Some(name) if *name != model.name => {
                self.check_unused(name)?;
                self.store.copy(&model.name, name)?
            }
            _ => model,
        };
        Ok(Some(Kept { model, was_there: true }))
    }

    fn offline(&self, what: String) -> PullError {
        PullError::Offline { what, cache: self.shared.hub.cache.clone(), force: self.force }
    }

    /// Refuses a new name that would hide a model which is not the store's.
    fn check_unused(&self, name: &str) -> Result<(), PullError> {
        if self.store.get(name)?.is_some() {
            return Ok(());
        }
        match (self.shared.name_in_use)(name) {
            Some(place) => Err(PullError::NameInUse { name: name.to_owned(), place }),
            None => Ok(()),
        }
    }

    /// Refuses a name that a model from elsewhere has, before any of it comes whose content is not known yet.
    fn check_source(&self, model: &NewModel) -> Result<(), PullError> {
        match self.store.get(&model.name)? {
            Some(there) if there.source != model.source && !self.force => {
                Err(StoreError::NameTaken { name: there.name, source_of_it: there.source }.into())
            }
            _ => Ok(()),
        }
    }

    fn transfer(&self, whom: Whom) -> Result<Transfer<'_>, PullError> {
        Ok(Transfer {
            fetcher: self.shared.fetcher(whom)?,
            folder: self.parts()?,
            connections: self.shared.downloads.connections,
            listener: self.listener,
            cancel: self.cancel,
        })
    }

    fn parts(&self) -> Result<PathBuf, PullError> {
        let parts = self.store.parts();
        std::fs::create_dir_all(&parts).map_err(|error| PullError::disk(&parts, error))?;
        Ok(parts)
    }

    /// Moves what came into the store.
    fn keep(&self, came: Brought, model: NewModel) -> Result<Kept, PullError> {
        let was_there = self.store.blob(came.digest()).is_some() && !self.force;
        let added = self.store.add(came.path(), came.digest(), model, self.force);
        // A name that another model has is no reason to fetch the file again.
        if added.is_ok() || matches!(came, Brought::Copy(_)) {
            came.discard();
        }
        Ok(Kept { model: added?, was_there })
    }

    /// A copy of a file among the parts, and its digest.
    async fn take_copy(&self, from: &Path, file: &str, how: Copying) -> Result<Copied, PullError> {
        let folder = self.parts()?;
        // The cache of Hugging Face's tools has links.
        let from = std::fs::canonicalize(from).map_err(|error| PullError::disk(from, error))?;
        let size = std::fs::metadata(&from).map_err(|error| PullError::disk(&from, error))?.len();
        let key = key_of(&from.to_string_lossy());
        let waiting = wait_for_lock(&folder, &key, self.listener, file, Some(size));
        let lock = unless_cancelled(self.cancel, waiting).await?;
        check_space(&folder, file, size)?;
        let (mut meter, cancel) =
            (Meter::new(self.listener, PullStage::Copying, file, Some(size)), self.cancel.clone());
        let path = folder.join(format!("{key}.copy"));
        let copying = tokio::task::spawn_blocking(move || {
            // One that a killed process left may be a link, which must not be written through.
            let _ = std::fs::remove_file(&path);
            let linked = how == Copying::ByLink && std::fs::hard_link(&from, &path).is_ok();
            let copied = if linked { Ok(size) } else { std::fs::copy(&from, &path) };
            let copied = copied.map_err(|error| PullError::disk(&from, error));
            let digest = copied.and_then(|_| {
                let digest = digest_of(&path, &mut |bytes| {
                    meter.tell(bytes);
                    !cancel.is_cancelled()
                });
                digest?.ok_or(PullError::Cancelled)
            });
            match digest {
                Ok(digest) => Ok(Copied { _lock: lock, path, digest }),
                Err(error) => {
                    let _ = std::fs::remove_file(&path);
                    Err(error)
                }
            }
        });
        copying.await.map_err(|error| PullError::disk(&folder, io::Error::other(error)))?
    }

    /// One file of a model's shards.
    async fn join(&self, shards: Vec<PathBuf>, model: &NewModel) -> Result<Copied, PullError> {
        let folder = self.parts()?;
        let size = shards.iter().filter_map(|shard| Some(std::fs::metadata(shard).ok()?.len())).sum();
        check_space(&folder, &model.name, size)?;
        let (mut meter, cancel) =
            (Meter::new(self.listener, PullStage::Copying, &model.name, Some(size)), self.cancel.clone());
        // Whoever else joins these shards waits for the first of them.
        let key = key_of(&model.source);
        let path = folder.join(format!("{key}.joined"));
        let waiting = wait_for_lock(&folder, &key, self.listener, &model.name, Some(size));
        let lock = unless_cancelled(self.cancel, waiting).await?;
        let of = model.name.clone();
        let joining = tokio::task::spawn_blocking(move || {
            let damaged = |error: io::Error| PullError::Shards { of: of.clone(), problem: error.to_string() };
            let joined = shards::join(&shards, &path, &mut |bytes| {
                meter.tell(bytes);
                !cancel.is_cancelled()
            });
            let digest = match joined.map_err(damaged) {
                Ok(true) => digest_of(&path, &mut |_| !cancel.is_cancelled()),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            match digest.and_then(|digest| digest.ok_or(PullError::Cancelled)) {
                Ok(digest) => Ok(Copied { _lock: lock, path, digest }),
                Err(error) => {
                    let _ = std::fs::remove_file(&path);
                    Err(error)
                }
            }
        });
        joining.await.map_err(|error| PullError::disk(&folder, io::Error::other(error)))?
    }
}

/// How a file of this machine comes among the parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copying {
    /// As another name of the same file where the file system can, for files that nobody changes.
    ByLink,
    /// Byte by byte.
    Bytes,
}

/// What was made among the parts: a copy of a file of this machine, or one file of shards.
struct Copied {
    _lock: Lock,
    path: PathBuf,
    digest: Sha256Digest,
}

/// A file among the parts that is whole.
enum Brought {
    Part(Came),
    Copy(Copied),
}

impl Brought {
    fn path(&self) -> &Path {
        match self {
            Brought::Part(came) => came.part.path(),
            Brought::Copy(copied) => &copied.path,
        }
    }

    fn digest(&self) -> &Sha256Digest {
        match self {
            Brought::Part(came) => &came.digest,
            Brought::Copy(copied) => &copied.digest,
        }
    }

    /// Deletes what is left of it among the parts.
    fn discard(self) {
        match self {
            Brought::Part(came) => came.part.discard(),
            Brought::Copy(copied) => {
                let _ = std::fs::remove_file(&copied.path);
            }
        }
    }
}

/// What the part of a file is called of which only the address or the path is known.
fn key_of(place: &str) -> String {
    let digest = Sha256Digest::of_bytes(Sha256::digest(place.as_bytes()).into());
    format!("at-{}", &digest.as_str()[..32])
}
