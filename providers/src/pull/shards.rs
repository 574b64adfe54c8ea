//! Makes one GGUF file of the shards of a model, as llama.cpp's `gguf-split --merge` does: the metadata of the first, the tensors of all.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What a file's tensors are aligned to when it does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
/// More dimensions than a tensor has.
const MOST_DIMENSIONS: u32 = 8;
/// Arrays within arrays; the format has no use for any.
const DEEPEST: usize = 4;
/// How much is copied at once.
const BLOCK: usize = 1024 * 1024;

/// Everything of a file that precedes its tensors' data.
struct Head {
    version: u32,
    /// Key, and the bytes of key, type and value.
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
    /// The bytes of a tensor's description up to its offset, and the offset.
    tensors: Vec<(Vec<u8>, u64)>,
    alignment: u64,
    data_start: u64,
    length: u64,
}

/// Writes the model of these shards, in their order, to `target`. `go_on` is told how many bytes are written, and may end it: then the
/// answer is `false`.
pub(super) fn join(shards: &[PathBuf], target: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> io::Result<bool> {
    let heads = shards.iter().map(|shard| head(shard)).collect::<io::Result<Vec<Head>>>()?;
    let Some(first) = heads.first() else {
        return Err(io::Error::other("there are none"));
    };
    if heads.iter().any(|head| head.alignment != first.alignment || head.version != first.version) {
        return Err(io::Error::other("they differ in version or alignment"));
    }
    let kept: Vec<&[u8]> = first
        .metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(b"split."))
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    let tensors: usize = heads.iter().map(|head| head.tensors.len()).sum();

    let mut written = 0u64;
    let mut out = BufWriter::with_capacity(BLOCK, File::create(target)?);
    let mut put = |bytes: &[u8], written: &mut u64| {
        *written += bytes.len() as u64;
        out.write_all(bytes)
    };
    put(b"GGUF", &mut written)?;
    put(&first.version.to_le_bytes(), &mut written)?;
    put(&(tensors as u64).to_le_bytes(), &mut written)?;
    put(&(kept.len() as u64).to_le_bytes(), &mut written)?;
    for entry in kept {
        put(entry, &mut written)?;
    }
    let mut base = 0u64;
    for head in &heads {
        for (description, offset) in &head.tensors {
            let offset = base.checked_add(*offset).ok_or_else(|| io::Error::other("an offset is too large"))?;
            put(description, &mut written)?;
            put(&offset.to_le_bytes(), &mut written)?;
        }
        base += head.data_length().next_multiple_of(first.alignment);
    }
    let zeros = vec![0; usize::try_from(first.alignment).unwrap_or(0)];
    let mut block = vec![0; BLOCK];
    for (shard, head) in shards.iter().zip(&heads) {
        let gap = written.next_multiple_of(first.alignment) - written;
        put(&zeros[..gap as usize], &mut written)?;
        let mut file = File::open(shard)?;
        file.seek(SeekFrom::Start(head.data_start))?;
        let mut data = file.take(head.data_length());
        loop {
            let count = data.read(&mut block)?;
            if count == 0 {
                break;
            }
            put(&block[..count], &mut written)?;
            if !go_on(written) {
                return Ok(false);
            }
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(true)
}

impl Head {
    fn data_length(&self) -> u64 {
        self.length.saturating_sub(self.data_start)
    }
}

fn head(path: &Path) -> io::Result<Head> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = HeadReader { file: BufReader::new(file), length, at: 0, copied: Vec::new() };
    if reader.array::<4>()? != *b"GGUF" {
        return Err(io::Error::other("one is no GGUF file"));
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(io::Error::other(format!("one has version {version}; 2 and 3 are read")));
    }
    let (tensor_count, metadata_count) = (reader.u64()?, reader.u64()?);
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut metadata = Vec::new();
    for _ in 0..metadata_count {
        reader.copied.clear();
        let key = reader.string()?;
        let kind = reader.u32()?;
        let value_at = reader.copied.len();
        reader.value(kind, 0)?;
        if key == b"general.alignment"
            && let Ok(bytes) = <[u8; 4]>::try_from(&reader.copied[value_at..])
        {
            alignment = u64::from(u32::from_le_bytes(bytes));
        }
        metadata.push((key, reader.copied.clone()));
    }
    if !alignment.is_power_of_two() || alignment > BLOCK as u64 {
        return Err(io::Error::other(format!("an alignment of {alignment} is none")));
    }
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        reader.copied.clear();
        reader.string()?;
        let dimensions = reader.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(io::Error::other(format!("a tensor has {dimensions} dimensions")));
        }
        for _ in 0..dimensions {
            reader.u64()?;
        }
        reader.u32()?;
        let description = reader.copied.clone();
        tensors.push((description, reader.u64()?));
    }
    let data_start = reader.at.next_multiple_of(alignment);
    Ok(Head { version, metadata, tensors, alignment, data_start, length })
}

/// Reads a head, and keeps what it read; no length in it is believed that the file does not have.
struct HeadReader {
    file: BufReader<File>,
    length: u64,
    at: u64,
    copied: Vec<u8>,
}

impl HeadReader {
    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        if count > self.length - self.at {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "one ends within its head"));
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes)?;
        self.at += count;
        self.copied.extend_from_slice(&bytes);
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.bytes(N as u64)?.try_into().map_err(|_| io::Error::other("read another length than was asked for"))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> io::Result<Vec<u8>> {
        let length = self.u64()?;
        self.bytes(length)
    }

    /// Passes over a value of a type: 0 to 7 and 10 to 12 are numbers, 8 is a text, 9 an array.
    fn value(&mut self, kind: u32, depth: usize) -> io::Result<()> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => return self.string().map(|_| ()),
            9 if depth < DEEPEST => {
                let (kind, count) = (self.u32()?, self.u64()?);
                for _ in 0..count {
                    self.value(kind, depth + 1)?;
                }
                return Ok(());
            }
            _ => return Err(io::Error::other(format!("a value has the unknown type {kind}"))),
        };
        self.bytes(size).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn number(key: &str, value: u32) -> Vec<u8> {
        [text(key), 4u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
    }

    fn tensor(name: &str, offset: u64) -> Vec<u8> {
        let shape = [1u32.to_le_bytes().to_vec(), 8u64.to_le_bytes().to_vec(), 0u32.to_le_bytes().to_vec()].concat();
        [text(name), shape, offset.to_le_bytes().to_vec()].concat()
    }

    fn file(metadata: &[Vec<u8>], tensors: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend((metadata.len() as u64).to_le_bytes());
        bytes.extend(metadata.concat());
        bytes.extend(tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn the_tensors_of_all_come_behind_the_metadata_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let array = [
            text("list"),
            9u32.to_le_bytes().to_vec(),
            8u32.to_le_bytes().to_vec(),
            1u64.to_le_bytes().to_vec(),
            text("x"),
        ];
        let kept = [number("kept", 7), array.concat()];
        let first = [kept[0].clone(), number("split.count", 2), kept[1].clone()];
        let write = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let shards = [
            write("1", file(&first, &[tensor("a", 0), tensor("b", 32)], &[1; 64])),
            write("2", file(&[number("split.no", 1)], &[tensor("c", 0)], &[2; 40])),
            write("3", file(&[number("split.no", 2)], &[tensor("d", 0)], &[3; 32])),
        ];
        let joined = folder.path().join("joined");
        assert!(join(&shards, &joined, &mut |_| true).unwrap());
        let data = [vec![1; 64], vec![2; 40], vec![0; 24], vec![3; 32]].concat();
        let tensors = [tensor("a", 0), tensor("b", 32), tensor("c", 64), tensor("d", 128)];
        assert_eq!(std::fs::read(&joined).unwrap(), file(&kept, &tensors, &data));
        assert!(!join(&shards, &joined, &mut |_| false).unwrap());
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let whole = file(&[number("kept", 7)], &[tensor("a", 0)], &[1; 32]);
        let path = folder.path().join("shard");
        // The head ends before the data, which is aligned.
        let end = 24 + number("kept", 7).len() + tensor("a", 0).len();
        for length in 0..end {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(head(&path).is_err(), "{length}");
        }
        let mut endless = whole.clone();
        endless[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&path, &endless).unwrap();
        assert!(head(&path).is_err());
    }
}
