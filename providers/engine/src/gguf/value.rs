//! A metadata value. Texts and arrays stay in the file; only their place is kept.

use std::ops::Range;

use super::reader::Reader;
use crate::error::Error;

const MAX_ARRAY_DEPTH: usize = 4;
/// Bytes of a text in an array: a token, or two.
pub(super) const MAX_ELEMENT_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(Range<usize>),
    Array(Array),
}

/// An array whose elements have been checked to lie inside the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    kind: Kind,
    pub(super) count: usize,
    range: Range<usize>,
}

/// The value types of GGUF, by their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read(reader: &mut Reader<'_>, key: &str) -> Result<Kind, Error> {
        let at = reader.position();
        let number = reader.u32(&format!("type of `{key}`"))?;
        Ok(match number {
            0 => Kind::U8,
            1 => Kind::I8,
            2 => Kind::U16,
            3 => Kind::I16,
            4 => Kind::U32,
            5 => Kind::I32,
            6 => Kind::F32,
            7 => Kind::Bool,
            8 => Kind::Text,
            9 => Kind::Array,
            10 => Kind::U64,
            11 => Kind::I64,
            12 => Kind::F64,
            _ => {
                return Err(reader.invalid(format!("`{key}` has value type {number} at offset {at}, expected 0 to 12")));
            }
        })
    }

    /// Bytes of one element, when that does not depend on the element.
    fn width(self) -> Option<usize> {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::Text | Kind::Array => None,
        }
    }
}

impl Value {
    pub(super) fn read(reader: &mut Reader<'_>, key: &str) -> Result<Value, Error> {
        let kind = Kind::read(reader, key)?;
        let field = format!("value of `{key}`");
        Ok(match kind {
            Kind::U8 => Value::Unsigned(u8::from_le_bytes(reader.array(&field)?).into()),
            Kind::I8 => Value::Signed(i8::from_le_bytes(reader.array(&field)?).into()),
            Kind::U16 => Value::Unsigned(u16::from_le_bytes(reader.array(&field)?).into()),
            Kind::I16 => Value::Signed(i16::from_le_bytes(reader.array(&field)?).into()),
            Kind::U32 => Value::Unsigned(reader.u32(&field)?.into()),
            Kind::I32 => Value::Signed(i32::from_le_bytes(reader.array(&field)?).into()),
            Kind::F32 => Value::Float(f32::from_le_bytes(reader.array(&field)?).into()),
            Kind::Bool => Value::Bool(u8::from_le_bytes(reader.array(&field)?) != 0),
            Kind::Text => Value::Text(reader.text(&field)?),
            Kind::Array => Value::Array(Array::read(reader, key, 0)?),
            Kind::U64 => Value::Unsigned(reader.u64(&field)?),
            Kind::I64 => Value::Signed(i64::from_le_bytes(reader.array(&field)?)),
            Kind::F64 => Value::Float(f64::from_le_bytes(reader.array(&field)?)),
        })
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Value::Unsigned(number) => format!("{number}"),
            Value::Signed(number) => format!("{number}"),
            Value::Float(number) => format!("{number:?}"),
            Value::Bool(value) => format!("{value}"),
            Value::Text(_) => "a string".to_owned(),
            Value::Array(array) => format!("an array of {} {:?} values", array.count, array.kind),
        }
    }
}

impl Array {
    fn read(reader: &mut Reader<'_>, key: &str, depth: usize) -> Result<Array, Error> {
        let at = reader.position();
        if depth == MAX_ARRAY_DEPTH {
            return Err(reader.invalid(format!("`{key}` nests arrays more than {MAX_ARRAY_DEPTH} deep at offset {at}")));
        }
        let kind = Kind::read(reader, key)?;
        let field = format!("array `{key}`");
        // A text or array of its own takes at least the 8 bytes of its length.
        let most = reader.remaining() / kind.width().unwrap_or(8);
        let count = reader.count(&field, most as u64)? as usize;
        let start = reader.position();
        match kind.width() {
            Some(width) => {
                reader.skip((count * width) as u64, &field)?;
            }
            None => {
                for _ in 0..count {
                    match kind {
                        Kind::Array => {
                            Array::read(reader, key, depth + 1)?;
                        }
                        _ => {
                            reader.text(&field)?;
                        }
                    }
                }
            }
        }
        Ok(Array { kind, count, range: start..reader.position() })
    }

    /// Bytes that the elements take in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.range.len() as u64
    }

    /// The elements, when they are texts of at most [`MAX_ELEMENT_BYTES`].
    pub(super) fn texts(&self, file: &[u8]) -> Option<Vec<String>> {
        if self.kind != Kind::Text {
            return None;
        }
        let mut rest = &file[self.range.clone()];
        let mut texts = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let (text, after) = after.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            if text.len() > MAX_ELEMENT_BYTES {
                return None;
            }
            texts.push(std::str::from_utf8(text).ok()?.to_owned());
            rest = after;
        }
        Some(texts)
    }

    /// The elements, when they are numbers, rounded to f32.
    pub(super) fn numbers(&self, file: &[u8]) -> Option<Vec<f32>> {
        let bytes = &file[self.range.clone()];
        match self.kind {
            Kind::F32 => Some(elements(bytes, f32::from_le_bytes)),
            Kind::F64 => Some(elements(bytes, |element| f64::from_le_bytes(element) as f32)),
            Kind::I8 => Some(elements(bytes, |element| i8::from_le_bytes(element).into())),
            Kind::U8 => Some(elements(bytes, |element| u8::from_le_bytes(element).into())),
            Kind::I16 => Some(elements(bytes, |element| i16::from_le_bytes(element).into())),
            Kind::U16 => Some(elements(bytes, |element| u16::from_le_bytes(element).into())),
            Kind::I32 => Some(elements(bytes, |element| i32::from_le_bytes(element) as f32)),
            Kind::U32 => Some(elements(bytes, |element| u32::from_le_bytes(element) as f32)),
            Kind::I64 => Some(elements(bytes, |element| i64::from_le_bytes(element) as f32)),
            Kind::U64 => Some(elements(bytes, |element| u64::from_le_bytes(element) as f32)),
            Kind::Bool | Kind::Text | Kind::Array => None,
        }
    }
}

fn elements<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|element| number(*element)).collect()
}
