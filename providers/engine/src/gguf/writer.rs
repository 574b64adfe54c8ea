//! Writes what comes before the tensors' bytes in a GGUF file: header, metadata, the table of tensors.

use candle_core::quantized::GgmlDType;

/// Where tensors begin in a GGUF file that does not say.
const ALIGNMENT: usize = 32;

/// A metadata value.
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(u32),
    Fraction(f32),
    Flag(bool),
    Texts(&'a [String]),
    Fractions(&'a [f32]),
    Signed(&'a [i32]),
}

/// A tensor to be written.
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Slowest dimension first, as everywhere but in the file.
    pub(crate) shape: Vec<usize>,
    /// One of those that `number` knows.
    pub(crate) kind: GgmlDType,
}

impl Tensor {
    /// Weights in it.
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.elements() / self.kind.block_size() * self.kind.type_size()
    }

    /// Bytes between its end and the next tensor.
    pub(crate) fn padding(&self) -> usize {
        self.bytes().next_multiple_of(ALIGNMENT) - self.bytes()
    }
}

/// Everything before the tensors, which follow in this order, each with its padding.
pub(crate) fn head(values: &[(String, Value<'_>)], tensors: &[Tensor]) -> Vec<u8> {
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((values.len() as u64).to_le_bytes());
    for (key, value) in values {
        put_text(&mut head, key);
        value.put(&mut head);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        put_text(&mut head, &tensor.name);
        head.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|size| head.extend((*size as u64).to_le_bytes()));
        head.extend(number(tensor.kind).to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset += (tensor.bytes() + tensor.padding()) as u64;
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    head
}

/// A tensor type's number in ggml.h, of the types that are written here.
fn number(kind: GgmlDType) -> u32 {
    match kind {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q4K => 12,
        _ => 14,
    }
}

impl Value<'_> {
    /// The value's type, then the value.
    fn put(&self, out: &mut Vec<u8>) {
        let mut begin = |kind: u32, array: Option<usize>| {
            if let Some(length) = array {
                out.extend(9u32.to_le_bytes());
                out.extend(kind.to_le_bytes());
                out.extend((length as u64).to_le_bytes());
            } else {
                out.extend(kind.to_le_bytes());
            }
        };
        match self {
            Value::Text(text) => {
                begin(8, None);
                put_text(out, text);
            }
            Value::Number(number) => {
                begin(4, None);
                out.extend(number.to_le_bytes());
            }
            Value::Fraction(fraction) => {
                begin(6, None);
                out.extend(fraction.to_le_bytes());
            }
            Value::Flag(flag) => {
                begin(7, None);
                out.push(u8::from(*flag));
            }
            Value::Texts(texts) => {
                begin(8, Some(texts.len()));
                texts.iter().for_each(|text| put_text(out, text));
            }
            Value::Fractions(fractions) => {
                begin(6, Some(fractions.len()));
                fractions.iter().for_each(|fraction| out.extend(fraction.to_le_bytes()));
            }
            Value::Signed(numbers) => {
                begin(5, Some(numbers.len()));
                numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
