//! Reads numbers and texts from a GGUF file front to back; every failure names field and offset.

use std::ops::Range;

use super::bytes::ModelBytes;
use crate::error::Error;

/// Keys and tensor names are short (ggml allows 63 bytes for tensors); bounds what a hostile file makes us keep.
const MAX_NAME_BYTES: usize = 256;

pub(super) struct Reader<'a> {
    file: &'a ModelBytes,
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a ModelBytes) -> Reader<'a> {
        Reader { file, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.file.as_slice().len() - self.position
    }

    pub(super) fn invalid(&self, problem: impl Into<String>) -> Error {
        self.file.invalid(problem)
    }

    pub(super) fn unsupported(&self, problem: impl Into<String>) -> Error {
        self.file.unsupported(problem)
    }

    pub(super) fn take(&mut self, length: usize, field: &str) -> Result<&'a [u8], Error> {
        let range = self.skip(length as u64, field)?;
        Ok(&self.file.as_slice()[range])
    }

    /// Moves past `length` bytes and says where they were.
    pub(super) fn skip(&mut self, length: u64, field: &str) -> Result<Range<usize>, Error> {
        let remaining = self.remaining();
        if length > remaining as u64 {
            return Err(self.invalid(format!(
                "{field} at offset {} needs {length} bytes and {remaining} are left (is the file truncated?)",
                self.position
            )));
        }
        let start = self.position;
        self.position += length as usize;
        Ok(start..self.position)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, field)?);
        Ok(bytes)
    }

    /// A count of at most `most`.
    pub(super) fn count(&mut self, field: &str, most: u64) -> Result<u64, Error> {
        let at = self.position;
        let count = self.u64(field)?;
        if count > most {
            return Err(self.invalid(format!("{field} at offset {at} is {count}, expected at most {most}")));
        }
        Ok(count)
    }

    /// Where a text with its length before it lies.
    pub(super) fn text(&mut self, field: &str) -> Result<Range<usize>, Error> {
        let length = self.u64(field)?;
        self.skip(length, field)
    }

    /// A short text: a key or a tensor's name.
    pub(super) fn name(&mut self, field: &str) -> Result<String, Error> {
        let at = self.position;
        let range = self.text(field)?;
        let bytes = &self.file.as_slice()[range];
        match std::str::from_utf8(bytes) {
            Ok(name) if (1..=MAX_NAME_BYTES).contains(&name.len()) => Ok(name.to_owned()),
            Ok(name) => Err(self
                .invalid(format!("{field} at offset {at} has {} bytes, expected 1 to {MAX_NAME_BYTES}", name.len()))),
            Err(_) => Err(self.invalid(format!("{field} at offset {at} is not utf-8"))),
        }
    }
}
