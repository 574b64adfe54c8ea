//! A GGUF file, memory-mapped or bundled: its metadata and its tensor table, every length checked
//! against the file before it is believed. Nothing here copies a tensor.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.

mod bytes;
mod fingerprint;
mod reader;
mod tensor;
mod value;
pub(crate) mod writer;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use bytes::{ModelBytes, Stretch};
use reader::Reader;
pub(crate) use tensor::{TensorInfo, TensorType};
use value::{MAX_ELEMENT_BYTES, Value};

use crate::error::Error;

/// `GGUF`, little endian.
const MAGIC: [u8; 4] = *b"GGUF";
const SUPPORTED_VERSIONS: [u32; 2] = [2, 3];
/// Far above any real file (a few dozen keys, a few thousand tensors); bounds what a hostile one makes us keep.
const MAX_ENTRIES: u64 = 1 << 16;
/// Names and the like; a chat template is asked for as [`Gguf::long_text`].
const MAX_TEXT_BYTES: usize = 1024;
const DEFAULT_ALIGNMENT: u64 = 32;
/// What the format asks for; candle, which reads numbers of up to four bytes in place, panics below four.
const MIN_ALIGNMENT: u64 = 8;
const MAX_ALIGNMENT: u64 = 1 << 20;

/// A parsed GGUF file.
#[derive(Debug)]
pub(crate) struct Gguf {
    bytes: Arc<ModelBytes>,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, TensorInfo>,
}

impl Gguf {
    /// Reads metadata and tensor table; fails with [`Error::InvalidFile`] or [`Error::UnsupportedModel`].
    pub(crate) fn parse(bytes: Arc<ModelBytes>) -> Result<Gguf, Error> {
        let mut reader = Reader::new(&bytes);
        check_header(&mut reader)?;
        let tensor_count = reader.count("tensor count", MAX_ENTRIES)?;
        let metadata_count = reader.count("metadata count", MAX_ENTRIES)?;

        let mut metadata = HashMap::new();
        for _ in 0..metadata_count {
            let at = reader.position();
            let key = reader.name("metadata key")?;
            let value = Value::read(&mut reader, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(
                    bytes.invalid(format!("metadata key `{key}` appears again at offset {at}, expected it once"))
                );
            }
        }

        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let at = reader.position();
            let (name, info) = TensorInfo::read(&mut reader)?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(bytes.invalid(format!("tensor `{name}` appears again at offset {at}, expected it once")));
            }
        }

        let end_of_table = reader.position();
        let mut gguf = Gguf { bytes, metadata, tensors };
        gguf.place_tensors(end_of_table)?;
        Ok(gguf)
    }

    /// Turns offsets within the tensor data into offsets within the file, and checks that each tensor lies inside and no two share
    /// bytes: a small file could ask for any amount of memory otherwise.
    fn place_tensors(&mut self, end_of_table: usize) -> Result<(), Error> {
        let alignment = self.u64_or("general.alignment", DEFAULT_ALIGNMENT)?;
        if !alignment.is_power_of_two() || !(MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment) {
            return Err(self.bytes.invalid(format!(
                "`general.alignment` is {alignment}, expected a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}"
            )));
        }
        let data_start = (end_of_table as u64).next_multiple_of(alignment);
        let file_bytes = self.bytes.as_slice().len() as u64;
        for (name, info) in &mut self.tensors {
            if !info.offset.is_multiple_of(alignment) {
                return Err(self.bytes.invalid(format!(
                    "tensor `{name}` has offset {}, expected a multiple of the alignment {alignment}",
                    info.offset
                )));
            }
            let start = data_start.checked_add(info.offset);
            let end = start.and_then(|start| start.checked_add(info.bytes));
            match (start, end) {
                (Some(start), Some(end)) if end <= file_bytes => info.offset = start,
                _ => {
                    return Err(self.bytes.invalid(format!(
                        "tensor `{name}` needs {} bytes at offset {} of the tensor data, which begins at {data_start}; \
                         the file ends at {file_bytes} (is it truncated?)",
                        info.bytes, info.offset
                    )));
                }
            }
        }
        let mut places: Vec<_> = self.tensors.iter().map(|(name, info)| (info.range(), name)).collect();
        places.sort_by_key(|(range, _)| (range.start, range.end));
        for ((before, first), (after, second)) in places.iter().zip(places.iter().skip(1)) {
            if after.start < before.end {
                return Err(self.bytes.invalid(format!(
                    "tensor `{second}` begins at offset {}, expected it behind tensor `{first}`, which ends at {}",
                    after.start, before.end
                )));
            }
        }
        Ok(())
    }

    /// The file's bytes, shared.
    pub(crate) fn bytes(&self) -> &Arc<ModelBytes> {
        &self.bytes
    }

    /// The name of every tensor, in no order.
    pub(crate) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Every tensor, in no order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }

    /// The matrices that a decoder multiplies with: all but the embedding, unless it is the output too.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &TensorInfo> {
        let tied = self.tensor("output.weight").is_none();
        let multiplied =
            move |name: &str, tensor: &TensorInfo| tensor.shape().len() > 1 && (tied || name != "token_embd.weight");
        self.tensors.iter().filter(move |(name, tensor)| multiplied(name, tensor)).map(|(_, tensor)| tensor)
    }

    /// A tensor, if the file has it.
    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// A tensor's bytes as they lie in the file.
    pub(crate) fn tensor_bytes(&self, info: &TensorInfo) -> &[u8] {
        &self.bytes.as_slice()[info.range()]
    }

    /// Whether the file has this metadata key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// A short text, if the key is there.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, Error> {
        self.long_text(key, MAX_TEXT_BYTES)
    }

    /// A text of at most so many bytes, if the key is there.
    pub(crate) fn long_text(&self, key: &str, most: usize) -> Result<Option<String>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(range)) if range.len() > most => {
                Err(self.bytes.invalid(format!("`{key}` has {} bytes, expected at most {most}", range.len())))
            }
            Some(Value::Text(range)) => Ok(Some(self.bytes.text(range.clone()))),
            Some(other) => Err(self.wrong_type(key, other, "a string")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<String, Error> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// A whole number that is not negative, if the key is there.
    pub(crate) fn u64(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(number)) => Ok(Some(*number)),
            Some(Value::Signed(number)) if *number >= 0 => Ok(Some(*number as u64)),
            Some(other) => Err(self.wrong_type(key, other, "a whole number of at least 0")),
        }
    }

    /// A whole number, or a default.
    pub(crate) fn u64_or(&self, key: &str, default: u64) -> Result<u64, Error> {
        Ok(self.u64(key)?.unwrap_or(default))
    }

    /// A size between 1 and `most` that must be there.
    pub(crate) fn size(&self, key: &str, most: u64) -> Result<usize, Error> {
        let number = self.u64(key)?.ok_or_else(|| self.missing(key))?;
        if number == 0 || number > most {
            return Err(self.bytes.invalid(format!("`{key}` is {number}, expected 1 to {most}")));
        }
        Ok(number as usize)
    }

    /// A finite number, if the key is there.
    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(number)) if number.is_finite() => Ok(Some(*number as f32)),
            Some(other) => Err(self.wrong_type(key, other, "a finite number")),
        }
    }

    /// A truth value, if the key is there.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_type(key, other, "true or false")),
        }
    }

    /// An array of texts that must be there, of at most [`value::MAX_ELEMENT_BYTES`] each.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, Error> {
        match self.metadata.get(key) {
            None => Err(self.missing(key)),
            Some(Value::Array(array)) => {
                let expected = format!("an array of strings of at most {MAX_ELEMENT_BYTES} bytes, in utf-8");
                let texts = array.texts(self.bytes.as_slice());
                texts.ok_or_else(|| self.wrong_type(key, &Value::Array(array.clone()), &expected))
            }
            Some(other) => Err(self.wrong_type(key, other, "an array of strings")),
        }
    }

    /// An array of so many numbers, one for each of `whats`, if the key is there.
    pub(crate) fn numbers(&self, key: &str, count: usize, whats: &str) -> Result<Option<Vec<f32>>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if array.count != count => Err(self
                .bytes
                .invalid(format!("`{key}` has {} entries, expected one for each of the {count} {whats}", array.count))),
            Some(Value::Array(array)) => {
                let numbers = array.numbers(self.bytes.as_slice());
                numbers
                    .map(Some)
                    .ok_or_else(|| self.wrong_type(key, &Value::Array(array.clone()), "an array of numbers"))
            }
            Some(other) => Err(self.wrong_type(key, other, "an array of numbers")),
        }
    }

    /// How many elements an array has and how many bytes they take in the file; nothing when it is not there.
    pub(crate) fn array_size(&self, key: &str) -> (u64, u64) {
        match self.metadata.get(key) {
            Some(Value::Array(array)) => (array.count as u64, array.bytes()),
            _ => (0, 0),
        }
    }

    /// How many metadata and tensors it has.
    pub(crate) fn entries(&self) -> usize {
        self.metadata.len() + self.tensors.len()
    }

    /// How many elements an array has, without reading them.
    pub(crate) fn array_length(&self, key: &str) -> Option<usize> {
        match self.metadata.get(key) {
            Some(Value::Array(array)) => Some(array.count),
            _ => None,
        }
    }

    /// The error for a key that is not there.
    pub(crate) fn missing(&self, key: &str) -> Error {
        self.bytes.invalid(format!("the metadata key `{key}` is missing"))
    }

    fn wrong_type(&self, key: &str, found: &Value, expected: &str) -> Error {
        self.bytes.invalid(format!("`{key}` is {}, expected {expected}", found.describe()))
    }
}

fn check_header(reader: &mut Reader<'_>) -> Result<(), Error> {
    let magic = reader.take(MAGIC.len(), "magic")?;
    if magic != MAGIC {
        let found = String::from_utf8_lossy(magic).escape_default().to_string();
        return Err(reader.invalid(format!("the file begins with `{found}`, expected `GGUF`")));
    }
    let version = reader.u32("version")?;
    if !SUPPORTED_VERSIONS.contains(&version) {
        return Err(reader.invalid(format!(
            "gguf version {version} at offset 4 is not supported, expected 2 or 3 in little-endian order"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Gguf, Error> {
        Gguf::parse(Arc::new(ModelBytes::owned("test.gguf", bytes.to_vec())))
    }

    fn error(bytes: &[u8]) -> String {
        parse(bytes).expect_err("the file is broken").to_string()
    }

    /// A GGUF file in the making.
    #[derive(Default)]
    struct Draft {
        metadata: Vec<u8>,
        metadata_count: u64,
        tensors: Vec<u8>,
        tensor_count: u64,
        data: Vec<u8>,
    }

    impl Draft {
        fn text(bytes: &mut Vec<u8>, text: &str) {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }

        fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Draft {
            Draft::text(&mut self.metadata, key);
            self.metadata.extend(kind.to_le_bytes());
            self.metadata.extend(value);
            self.metadata_count += 1;
            self
        }

        fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Draft {
            Draft::text(&mut self.tensors, name);
            self.tensors.extend((dimensions.len() as u32).to_le_bytes());
            for dimension in dimensions {
                self.tensors.extend(dimension.to_le_bytes());
            }
            self.tensors.extend(kind.to_le_bytes());
            self.tensors.extend(offset.to_le_bytes());
            self.tensor_count += 1;
            self
        }

        fn data(mut self, bytes: usize) -> Draft {
            self.data = vec![0; bytes];
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let mut file = b"GGUF".to_vec();
            file.extend(3u32.to_le_bytes());
            file.extend(self.tensor_count.to_le_bytes());
            file.extend(self.metadata_count.to_le_bytes());
            file.extend(&self.metadata);
            file.extend(&self.tensors);
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(&self.data);
            file
        }
    }

    #[test]
    fn reads_what_it_is_given() {
        let file = Draft::default()
            .key("a.size", 4, &7u32.to_le_bytes())
            .key("a.rate", 6, &0.5f32.to_le_bytes())
            .key("a.flag", 7, &[1])
            .tensor("w", &[4, 2], 0, 0)
            .data(32)
            .bytes();
        let gguf = parse(&file).expect("the file is sound");
        assert_eq!(gguf.size("a.size", 100).expect("a number"), 7);
        assert_eq!(gguf.f32("a.rate").expect("a number"), Some(0.5));
        assert_eq!(gguf.bool("a.flag").expect("a flag"), Some(true));
        assert_eq!(gguf.tensor("w").expect("the tensor").shape(), [2, 4]);
    }

    #[test]
    fn errors_name_the_place() {
        assert!(error(b"PK\x03\x04 a zip file").contains("expected `GGUF`"));
        assert!(error(b"GG").contains("magic"));
        assert!(error(b"GGUF\x07\0\0\0").contains("version 7"));
        assert!(error(&Draft::default().key("k", 99, &[]).bytes()).contains("`k`"));
        let outside = Draft::default().tensor("w", &[64], 0, 32).data(64).bytes();
        assert!(error(&outside).contains("tensor `w` needs 256 bytes"));
        let overflowing = Draft::default().tensor("w", &[u64::MAX, 4], 0, 0).bytes();
        assert!(error(&overflowing).contains("tensor `w`"));
        let unknown = Draft::default().tensor("w", &[64], 19, 0).data(64).bytes();
        assert!(error(&unknown).contains("IQ1_S"));
        let shared = Draft::default().tensor("v", &[64], 0, 0).tensor("w", &[16], 0, 224).data(288).bytes();
        assert!(error(&shared).contains("tensor `w` begins at offset"));
        let odd = Draft::default().key("general.alignment", 4, &2u32.to_le_bytes()).bytes();
        assert!(error(&odd).contains("`general.alignment` is 2, expected a power of two from 8"));
        let twice = Draft::default().key("k", 7, &[1]).key("k", 7, &[1]).bytes();
        assert!(error(&twice).contains("`k` appears again"));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_kept() {
        let mut huge_array = 8u32.to_le_bytes().to_vec();
        huge_array.extend((1u64 << 62).to_le_bytes());
        assert!(error(&Draft::default().key("k", 9, &huge_array).bytes()).contains("`k`"));
        let mut header = b"GGUF\x03\0\0\0".to_vec();
        header.extend((1u64 << 62).to_le_bytes());
        header.extend(0u64.to_le_bytes());
        assert!(error(&header).contains("tensor count"));
        let mut nested = Vec::new();
        for _ in 0..1000 {
            nested.extend(9u32.to_le_bytes());
            nested.extend(1u64.to_le_bytes());
        }
        assert!(error(&Draft::default().key("k", 9, &nested).bytes()).contains("`k`"));
    }
}
