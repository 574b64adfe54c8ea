//! The bundled model in other tensor types: the same metadata, its matrices quantised anew.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};

const ALIGNMENT: usize = 32;
const F32: u32 = 0;
const Q8_0: u32 = 8;

/// How the matrices are to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Mixture {
    F16,
    /// llama.cpp's: values, half of the down projections and a tied embedding in Q6_K, the rest in Q4_K.
    Q4KM,
}

impl Mixture {
    fn kind(self, name: &str) -> GgmlDType {
        // The layers that llama.cpp's `use_more_bits` names, of six.
        let more = ["blk.2.attn_v", "blk.2.ffn_down", "blk.5.attn_v", "blk.5.ffn_down", "token_embd"];
        match self {
            Mixture::F16 => GgmlDType::F16,
            Mixture::Q4KM if more.iter().any(|part| name.starts_with(part)) => GgmlDType::Q6K,
            Mixture::Q4KM => GgmlDType::Q4K,
        }
    }
}

/// A GGUF file whose Q8_0 matrices are in another type.
pub fn requantize(file: &[u8], mixture: Mixture) -> Vec<u8> {
    let mut reader = Reader { file, at: 8 };
    let (tensors, keys) = (reader.u64(), reader.u64());
    let metadata = reader.at;
    for _ in 0..keys {
        reader.text();
        let kind = reader.u32();
        reader.skip_value(kind);
    }
    let metadata = &file[metadata..reader.at];
    let entries: Vec<Entry> = (0..tensors).map(|_| Entry::read(&mut reader)).collect();
    let start = reader.at.next_multiple_of(ALIGNMENT);

    let mut head = [&file[..8], &tensors.to_le_bytes(), &keys.to_le_bytes(), metadata].concat();
    let mut data = Vec::new();
    for Entry { name, dimensions, kind, offset } in entries {
        let elements = dimensions.iter().product::<u64>() as usize;
        let from = start + offset;
        let (number, bytes) = match kind {
            F32 => (F32, file[from..from + elements * 4].to_vec()),
            Q8_0 => quantize(&file[from..from + elements / 32 * 34], &dimensions, mixture.kind(&name)),
            other => panic!("`{name}` has the type {other}, expected F32 or Q8_0"),
        };
        head.extend((name.len() as u64).to_le_bytes());
        head.extend(name.as_bytes());
        head.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|size| head.extend(size.to_le_bytes()));
        head.extend(number.to_le_bytes());
        head.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    head.extend(data);
    head
}

/// The number of the new type in ggml.h, and the matrix in it.
fn quantize(q8_0: &[u8], dimensions: &[u64], kind: GgmlDType) -> (u32, Vec<u8>) {
    let shape = (dimensions[1] as usize, dimensions[0] as usize);
    let storage = QStorage::from_data(Cow::Borrowed(q8_0), &Device::Cpu, GgmlDType::Q8_0).expect("whole blocks");
    let weights: Tensor = QTensor::new(storage, shape).and_then(|old| old.dequantize(&Device::Cpu)).expect("numbers");
    let number = match kind {
        GgmlDType::F16 => 1,
        GgmlDType::Q4K => 12,
        GgmlDType::Q6K => 14,
        other => panic!("{other:?} is not written here"),
    };
    let bytes = QTensor::quantize(&weights, kind).expect("it quantises").data().expect("its bytes").into_owned();
    (number, bytes)
}

struct Entry {
    name: String,
    /// Fastest first, as in the file.
    dimensions: Vec<u64>,
    kind: u32,
    offset: usize,
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Entry {
        let name = String::from_utf8(reader.text().to_vec()).expect("a name");
        let count = reader.u32();
        let dimensions = (0..count).map(|_| reader.u64()).collect();
        Entry { name, dimensions, kind: reader.u32(), offset: reader.u64() as usize }
    }
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        self.at += bytes;
        &self.file[self.at - bytes..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.u64() as usize;
        self.take(length)
    }

    fn skip_value(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            10..=12 => self.at += 8,
            8 => drop(self.text()),
            9 => {
                let (of, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(of));
            }
            other => panic!("there is no metadata type {other}"),
        }
    }
}
