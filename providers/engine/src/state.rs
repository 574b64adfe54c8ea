//! Keys and values in a file, so that another process goes on with what this one computed.
//!
//! The file: a line with [`MAGIC`] and the version, a line of JSON that says what the numbers are of ([`Header`]), the
//! tokens (`u32`), each token's keys and values `[layer][key, value][kv head]` (of each head the dimensions as `f16`; with
//! `q8_0` a scale, `f16`, for each 32 of them, then the dimensions as `i8`), and the SHA-256 of all before it. Numbers are
//! little endian. How pages lie in memory is no part of it, and nothing but what was computed of
//! the tokens is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decoder::{CacheType, PageShape, Snapshot};

const MAGIC: &str = "perilune state ";
const VERSION: &str = "1";
/// Neither of the first two lines is longer.
const MOST_LINE: u64 = 4096;
/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// What a state file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateInfo {
    /// Tokens whose keys and values it has.
    pub tokens: usize,
    /// Bytes of the file: what the keys and values take in memory, 4 for each token, and a few hundred.
    pub bytes: u64,
}

/// The model whose keys and values these are, and their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// What [`crate::gguf::Gguf::fingerprint`] tells of its file.
    model_sha256: String,
    /// Its name, for errors.
    model: String,
    layers: usize,
    kv_heads: usize,
    head_size: usize,
    /// How keys and values are kept.
    cache_type: CacheType,
    tokens: usize,
}

/// The model that writes or reads a state.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) shape: PageShape,
    pub(crate) vocabulary: usize,
    pub(crate) context_size: usize,
    /// Bytes of keys and values that it keeps for later requests.
    pub(crate) cache_bytes: u64,
}

impl Owner {
    fn header(&self, tokens: usize) -> Header {
        Header {
            model_sha256: self.fingerprint.clone(),
            model: self.name.clone(),
            layers: self.shape.layers,
            kv_heads: self.shape.kv_heads,
            head_size: self.shape.head_size,
            cache_type: self.shape.cache_type,
            tokens,
        }
    }

    /// Bytes of the keys and values of so many tokens.
    fn bytes(&self, tokens: usize) -> u64 {
        tokens as u64 * self.shape.bytes_per_position() as u64
    }

    /// Whether a file's header is of this model, and of no more than it has room for.
    fn check(&self, header: &Header) -> Result<(), String> {
        let short = |digest: &str| digest.chars().take(12).collect::<String>();
        if header.model_sha256 != self.fingerprint {
            let (model, digest) = (&header.model, short(&header.model_sha256));
            return Err(format!(
                "it was computed by another model (`{model}`, {digest}), and this one is `{}`, {}",
                self.name,
                short(&self.fingerprint)
            ));
        }
        if header.cache_type != self.shape.cache_type {
            let (had, have) = (header.cache_type.as_str(), self.shape.cache_type.as_str());
            return Err(format!("its keys and values are `{had}`, and this model keeps `{have}`; set `kv_cache_type`"));
        }
        if *header != self.header(header.tokens) {
            return Err("its header contradicts the model's; it is damaged".to_owned());
        }
        if header.tokens > self.context_size {
            let (tokens, context) = (header.tokens, self.context_size);
            return Err(format!("it has {tokens} tokens and the context holds {context}; raise `context_size`"));
        }
        if self.bytes(header.tokens) > self.cache_bytes {
            let (needed, kept) = (mib(self.bytes(header.tokens)), mib(self.cache_bytes));
            return Err(format!("it has {needed} MiB and {kept} MiB are kept in memory; raise `kv_cache_mib`"));
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Writes a state: a file for its owner's eyes, replaced whole or not at all.
pub(crate) fn write(path: &Path, owner: &Owner, snapshot: &Snapshot) -> io::Result<StateInfo> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let temporary = path.with_file_name(format!(".{}.{:016x}", name.to_string_lossy(), rand::random::<u64>()));
    let written = create(&temporary).and_then(|file| {
        let bytes = fill(&file, owner, snapshot)?;
        // What a power cut left half of would have the new name already.
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(StateInfo { tokens: snapshot.tokens().len(), bytes })
    });
    if written.is_err() {
        // It may not be there at all; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn fill(file: &File, owner: &Owner, snapshot: &Snapshot) -> io::Result<u64> {
    let mut out = Summed { inner: BufWriter::new(file), digest: Sha256::new(), bytes: 0 };
    let tokens = snapshot.tokens();
    writeln!(out, "{MAGIC}{VERSION}")?;
    serde_json::to_writer(&mut out, &owner.header(tokens.len()))?;
    writeln!(out)?;
    for token in tokens {
        out.write_all(&token.to_le_bytes())?;
    }
    let mut bytes = Vec::with_capacity(owner.shape.bytes_per_position());
    for position in 0..tokens.len() {
        snapshot.read(position, &mut bytes);
        out.write_all(&bytes)?;
    }
    let digest = out.digest.finalize();
    out.inner.write_all(&digest)?;
    out.inner.flush()?;
    Ok(out.bytes + DIGEST as u64)
}

/// Reads a state, or says what is wrong with the file. Nothing of it is believed before it was compared with the model,
/// the memory there is for it, and the file's length.
pub(crate) fn read(path: &Path, owner: &Owner) -> Result<(Snapshot, StateInfo), String> {
    let told = |error: io::Error| error.to_string();
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let file = File::open(path).map_err(told)?;
    let length = file.metadata().map_err(told)?.len();
    let mut input = Summed { inner: BufReader::new(file), digest: Sha256::new(), bytes: 0 };

    let first = line(&mut input).map_err(told)?;
    let version = first.strip_prefix(MAGIC).ok_or("it is no state of a model")?;
    if version != VERSION {
        return Err(format!("it is version `{version}`; expected version {VERSION}"));
    }
    let header: Header = serde_json::from_str(&line(&mut input).map_err(told)?)
        .map_err(|error| format!("its header is damaged: {error}"))?;
    owner.check(&header)?;
    let tokens = header.tokens;
    let expected = input.bytes + tokens as u64 * size_of::<u32>() as u64 + owner.bytes(tokens) + DIGEST as u64;
    if length != expected {
        return Err(format!("it has {length} bytes and {tokens} tokens take {expected}; it is damaged"));
    }
    let snapshot = numbers(&mut input, owner, tokens).map_err(told)?;
    let digest = input.digest.finalize();
    let mut told_digest = [0; DIGEST];
    input.inner.read_exact(&mut told_digest).map_err(told)?;
    if digest[..] != told_digest {
        return Err("its checksum does not match; it is damaged".to_owned());
    }
    if let Some(token) = snapshot.tokens().iter().find(|token| **token as usize >= owner.vocabulary) {
        return Err(format!("token {token} is not in the vocabulary of {}; it is damaged", owner.vocabulary));
    }
    Ok((snapshot, StateInfo { tokens, bytes: length }))
}

/// A line without its end.
fn line(input: &mut Summed<BufReader<File>>) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut input.inner).take(MOST_LINE).read_until(b'\n', &mut bytes)?;
    input.digest.update(&bytes);
    input.bytes += bytes.len() as u64;
    bytes.pop_if(|last| *last == b'\n');
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn numbers(input: &mut Summed<BufReader<File>>, owner: &Owner, tokens: usize) -> io::Result<Snapshot> {
    let mut bytes = vec![0; tokens * size_of::<u32>()];
    input.read_exact(&mut bytes)?;
    let (tokens_read, _) = bytes.as_chunks();
    let mut snapshot =
        Snapshot::blank(owner.shape, tokens_read.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect());
    let mut bytes = vec![0; owner.shape.bytes_per_position()];
    for position in 0..tokens {
        input.read_exact(&mut bytes)?;
        snapshot.write(position, &bytes);
    }
    Ok(snapshot)
}

/// Counts and sums up what goes through it.
struct Summed<Inner> {
    inner: Inner,
    digest: Sha256,
    bytes: u64,
}

impl<Inner: Write> Write for Summed<Inner> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<Inner: Read> Read for Summed<Inner> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.digest.update(&bytes[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
