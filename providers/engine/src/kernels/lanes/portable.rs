//! Sixteen columns in arrays: the definition of what every other instruction set computes.

use half::{bf16, f16};

use super::Lanes;

pub(in super::super) struct Portable;

const COLUMNS: usize = 16;

fn map2<A: Copy, B: Copy, C>(a: [A; COLUMNS], b: [B; COLUMNS], f: impl Fn(A, B) -> C) -> [C; COLUMNS] {
    std::array::from_fn(|column| f(a[column], b[column]))
}

fn halves(bytes: [u8; 4]) -> [u16; 2] {
    [u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]])]
}

fn bytes([low, high]: [u16; 2]) -> [u8; 4] {
    let ([a, b], [c, d]) = (low.to_le_bytes(), high.to_le_bytes());
    [a, b, c, d]
}

impl Lanes for Portable {
    const COLUMNS: usize = COLUMNS;
    type Bytes = [[u8; 4]; COLUMNS];
    type Ints = [i32; COLUMNS];
    type Floats = [f32; COLUMNS];

    unsafe fn load(at: *const u8) -> Self::Bytes {
        // SAFETY: as the trait says.
        unsafe { at.cast::<Self::Bytes>().read_unaligned() }
    }

    unsafe fn splat_byte(value: u8) -> Self::Bytes {
        [[value; 4]; COLUMNS]
    }

    unsafe fn splat_four(at: *const i8) -> Self::Bytes {
        // SAFETY: as the trait says.
        [unsafe { at.cast::<[u8; 4]>().read() }; COLUMNS]
    }

    unsafe fn and(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        map2(a, b, |a, b| std::array::from_fn(|byte| a[byte] & b[byte]))
    }

    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        map2(a, b, |a, b| std::array::from_fn(|byte| a[byte] | b[byte]))
    }

    unsafe fn shift_left<const BITS: u32>(a: Self::Bytes) -> Self::Bytes {
        a.map(|a| bytes(halves(a).map(|half| half << BITS)))
    }

    unsafe fn shift_right<const BITS: u32>(a: Self::Bytes) -> Self::Bytes {
        a.map(|a| bytes(halves(a).map(|half| half >> BITS)))
    }

    unsafe fn dot(sum: Self::Ints, unsigned: Self::Bytes, signed: Self::Bytes) -> Self::Ints {
        let products = map2(unsigned, signed, |unsigned, signed| {
            (0..4).map(|byte| i32::from(unsigned[byte]) * i32::from(signed[byte] as i8)).sum::<i32>()
        });
        map2(sum, products, |sum, product| sum + product)
    }

    unsafe fn begin_biased(_: i32) -> Self::Ints {
        [0; COLUMNS]
    }

    unsafe fn dot_biased(sum: Self::Ints, biased: Self::Bytes, signed: Self::Bytes) -> Self::Ints {
        let products = map2(biased, signed, |biased, signed| {
            (0..4).map(|byte| (i32::from(biased[byte]) - 128) * i32::from(signed[byte] as i8)).sum::<i32>()
        });
        map2(sum, products, |sum, product| sum + product)
    }

    unsafe fn dot_pairs(sum: Self::Ints, a: Self::Bytes, b: Self::Bytes) -> Self::Ints {
        let products = map2(a, b, |a, b| {
            let (a, b) = (halves(a), halves(b));
            (0..2).map(|half| i32::from(a[half] as i16) * i32::from(b[half] as i16)).sum::<i32>()
        });
        map2(sum, products, |sum, product| sum + product)
    }

    unsafe fn load_pairs(at: *const u8) -> Self::Bytes {
        // SAFETY: as the trait says.
        let pairs = unsafe { at.cast::<[[u8; 2]; COLUMNS]>().read() };
        pairs.map(|[low, high]| [low, 0, high, 0])
    }

    unsafe fn splat_int(value: i32) -> Self::Ints {
        [value; COLUMNS]
    }

    unsafe fn add_ints(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        map2(a, b, |a, b| a + b)
    }

    unsafe fn to_floats(a: Self::Ints) -> Self::Floats {
        a.map(|a| a as f32)
    }

    unsafe fn to_ints(a: Self::Floats) -> Self::Ints {
        a.map(|a| a as i32)
    }

    unsafe fn splat(value: f32) -> Self::Floats {
        [value; COLUMNS]
    }

    unsafe fn load_halves(at: *const u8) -> Self::Floats {
        // SAFETY: as the trait says.
        let halves = unsafe { at.cast::<[[u8; 2]; COLUMNS]>().read() };
        halves.map(|half| f16::from_le_bytes(half).to_f32())
    }

    unsafe fn load_short_floats(at: *const u8) -> Self::Floats {
        // SAFETY: as the trait says.
        let halves = unsafe { at.cast::<[[u8; 2]; COLUMNS]>().read() };
        halves.map(|half| bf16::from_le_bytes(half).to_f32())
    }

    unsafe fn load_unsigned(at: *const u8) -> Self::Floats {
        // SAFETY: as the trait says.
        unsafe { at.cast::<[u8; COLUMNS]>().read() }.map(f32::from)
    }

    unsafe fn load_signed(at: *const u8) -> Self::Floats {
        // SAFETY: as the trait says.
        unsafe { at.cast::<[i8; COLUMNS]>().read() }.map(f32::from)
    }

    unsafe fn load_floats(at: *const f32) -> Self::Floats {
        // SAFETY: as the trait says.
        unsafe { at.cast::<Self::Floats>().read_unaligned() }
    }

    unsafe fn store(at: *mut f32, a: Self::Floats) {
        // SAFETY: as the trait says.
        unsafe { at.cast::<Self::Floats>().write_unaligned(a) };
    }

    unsafe fn multiply(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        map2(a, b, |a, b| a * b)
    }

    unsafe fn multiply_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        map2(map2(a, b, |a, b| (a, b)), c, |(a, b), c| a.mul_add(b, c))
    }

    unsafe fn multiply_subtract(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        map2(map2(a, b, |a, b| (a, b)), c, |(a, b), c| (-a).mul_add(b, c))
    }

    unsafe fn prefetch_far(_: *const u8) {}

    #[inline(always)]
    unsafe fn prefetch_near(_: *const u8) {}
}
