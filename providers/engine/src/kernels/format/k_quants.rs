//! Q4_K, Q5_K and Q6_K: blocks of 256 weights whose groups have whole-number scales (and, but for Q6_K, minimums) under
//! one half-precision scale. Activations are rounded in blocks of 256.

use super::{Format, Input, REGISTER, pack_low, unpack_low};
#[cfg(target_arch = "x86_64")]
use crate::kernels::amx;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};
use crate::kernels::lines::LINE;
use crate::kernels::product::{prefetch, share};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_cvtepi8_epi32, _mm512_cvtepu8_epi32, _mm512_mask_mov_epi16, _mm512_slli_epi32,
};

pub(in super::super) const BLOCK: usize = 256;
const PAIRS: usize = BLOCK / 8;
/// A half-precision number for each column.
const HALVES: usize = 2 * TILE_COLUMNS;

/// What sets the three types apart.
pub(in super::super) trait Groups {
    /// Weights that share a whole-number scale.
    const GROUP: usize;
    /// What is subtracted of each stored weight.
    const OFFSET: i32;
    /// Whether scales are signed bytes; else they have six bits, and weights five at most and no offset.
    const SIGNED_SCALES: bool;
    /// Groups whose products, scaled, add up exactly in 24 bits whatever the weights and activations are.
    const EXACT: usize;
    /// Where the groups' scales begin in a tile, sixteen columns each.
    const SCALES: usize;

    /// The eight weights of a pair, unsigned; `column` is the first of these columns.
    unsafe fn unpack<L: Lanes>(tile: *const u8, column: usize, pair: usize) -> (L::Bytes, L::Bytes);

    /// The scales of a group; `at` points to them.
    unsafe fn scales<L: Lanes>(at: *const u8) -> L::Floats;

    /// The scales of a group as two 16-bit numbers a column.
    #[cfg(target_arch = "x86_64")]
    unsafe fn scales_twice(at: *const u8) -> __m512i;

    /// What is taken away of every weight; `None` for types without.
    unsafe fn minimums<L: Lanes>(tile: *const u8, column: usize) -> Option<Minimums<L>>;
}

/// The minimums of the eight groups of some columns, and their scale.
pub(in super::super) struct Minimums<L: Lanes> {
    pairs: [L::Bytes; 4],
    scale: L::Floats,
}

impl<L: Lanes> Minimums<L> {
    /// `value` less the scaled dot product of the minimums and the sums of a row's activations.
    #[inline(always)]
    pub(in super::super) unsafe fn take(&self, input: &Input, value: L::Floats) -> L::Floats {
        // SAFETY: the input has eight sums.
        unsafe {
            let mut taken = L::splat_int(0);
            for (two, pair) in self.pairs.into_iter().enumerate() {
                taken = L::dot_pairs(taken, pair, L::splat_four(input.sums_of_32.add(two * 2).cast()));
            }
            L::multiply_subtract(self.scale, L::to_floats(taken), value)
        }
    }
}

pub(in super::super) struct Q4K;
pub(in super::super) struct Q5K;
pub(in super::super) struct Q6K;

/// Q4_K and Q5_K: the scale, the scale of the minimums, eight scales and eight minimums of each column.
const SCALES_45: usize = 2 * HALVES;
/// Two minimums of each column are neighbours, so that one register holds them as 16-bit numbers.
const MINIMUMS_45: usize = SCALES_45 + 8 * TILE_COLUMNS;
const WEIGHTS_45: usize = MINIMUMS_45 + 8 * TILE_COLUMNS;
/// Q5_K: the fifth bits, a byte for each column and byte of a register; bit `i` belongs to the `i`th register of 64 weights.
const FIFTH_BITS: usize = WEIGHTS_45 + PAIRS * REGISTER;
/// Pairs whose fifth bits share a register.
const PAIRS_OF_FIFTH_BITS: usize = 4;

/// Q6_K: the scale, sixteen scales of each column, low halves, upper two bits.
const SCALES_6: usize = HALVES;
const LOW_6: usize = SCALES_6 + 16 * TILE_COLUMNS;
const HIGH_6: usize = LOW_6 + PAIRS * REGISTER;

impl Groups for Q4K {
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const SIGNED_SCALES: bool = false;
    // 4 * 32 * 15 * 127 * 63 < 2^24
    const EXACT: usize = 4;
    const SCALES: usize = SCALES_45;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(tile: *const u8, column: usize, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds 32 pairs.
        unsafe { unpack_low::<L>(tile.add(WEIGHTS_45 + pair * REGISTER + column * 4)) }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the trait says.
        unsafe { L::load_unsigned(at) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn scales_twice(at: *const u8) -> __m512i {
        // SAFETY: as the trait says, and the processor has AVX-512.
        unsafe { twice(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()))) }
    }

    #[inline(always)]
    unsafe fn minimums<L: Lanes>(tile: *const u8, column: usize) -> Option<Minimums<L>> {
        // SAFETY: as the trait says.
        Some(unsafe { minimums_45::<L>(tile, column) })
    }
}

impl Groups for Q5K {
    const GROUP: usize = 32;
    const OFFSET: i32 = 0;
    const SIGNED_SCALES: bool = false;
    // 2 * 32 * 31 * 127 * 63 < 2^24
    const EXACT: usize = 2;
    const SCALES: usize = SCALES_45;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(tile: *const u8, column: usize, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds 32 pairs and their fifth bits.
        unsafe {
            let (first, second) = unpack_low::<L>(tile.add(WEIGHTS_45 + pair * REGISTER + column * 4));
            let bits = L::load(tile.add(FIFTH_BITS + pair / PAIRS_OF_FIFTH_BITS * REGISTER + column * 4));
            let fifth = L::splat_byte(16);
            let (first_bits, second_bits) = match pair % PAIRS_OF_FIFTH_BITS {
                0 => (L::shift_left::<4>(bits), L::shift_left::<3>(bits)),
                1 => (L::shift_left::<2>(bits), L::shift_left::<1>(bits)),
                2 => (bits, L::shift_right::<1>(bits)),
                _ => (L::shift_right::<2>(bits), L::shift_right::<3>(bits)),
            };
            (L::or(first, L::and(first_bits, fifth)), L::or(second, L::and(second_bits, fifth)))
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the trait says.
        unsafe { L::load_unsigned(at) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn scales_twice(at: *const u8) -> __m512i {
        // SAFETY: as the trait says, and the processor has AVX-512.
        unsafe { twice(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()))) }
    }

    #[inline(always)]
    unsafe fn minimums<L: Lanes>(tile: *const u8, column: usize) -> Option<Minimums<L>> {
        // SAFETY: as the trait says.
        Some(unsafe { minimums_45::<L>(tile, column) })
    }
}

impl Groups for Q6K {
    const GROUP: usize = 16;
    const OFFSET: i32 = 32;
    const SIGNED_SCALES: bool = true;
    // 2 * 16 * 32 * 127 * 128 < 2^24
    const EXACT: usize = 2;
    const SCALES: usize = SCALES_6;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(tile: *const u8, column: usize, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds 32 pairs of low halves and 16 of upper bits.
        unsafe {
            let (first, second) = unpack_low::<L>(tile.add(LOW_6 + pair * REGISTER + column * 4));
            let bits = L::load(tile.add(HIGH_6 + pair / 2 * REGISTER + column * 4));
            let upper = L::splat_byte(0x30);
            let (first_bits, second_bits) = if pair.is_multiple_of(2) {
                (L::shift_left::<4>(bits), L::shift_left::<2>(bits))
            } else {
                (bits, L::shift_right::<2>(bits))
            };
            (L::or(first, L::and(first_bits, upper)), L::or(second, L::and(second_bits, upper)))
        }
    }

    #[inline(always)]
    unsafe fn scales<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the trait says.
        unsafe { L::load_signed(at) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn scales_twice(at: *const u8) -> __m512i {
        // SAFETY: as the trait says, and the processor has AVX-512.
        unsafe { twice(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))) }
    }

    #[inline(always)]
    unsafe fn minimums<L: Lanes>(_: *const u8, _: usize) -> Option<Minimums<L>> {
        None
    }
}

/// The low half of each column's number, twice.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn twice(numbers: __m512i) -> __m512i {
    const HIGH_HALVES: u32 = 0xaaaa_aaaa;
    // SAFETY: the processor has AVX-512.
    unsafe { _mm512_mask_mov_epi16(numbers, HIGH_HALVES, _mm512_slli_epi32::<16>(numbers)) }
}

#[inline(always)]
unsafe fn minimums_45<L: Lanes>(tile: *const u8, column: usize) -> Minimums<L> {
    // SAFETY: the tile holds four pairs of minimums of each column, and their scale.
    unsafe {
        let pairs = [0, 1, 2, 3].map(|two| L::load_pairs(tile.add(MINIMUMS_45 + two * 2 * TILE_COLUMNS + column * 2)));
        Minimums { pairs, scale: L::load_halves(tile.add(HALVES + column * 2)) }
    }
}

/// `sum += activation scale * (scale * products - scale of minimums * minimums)`, both in brackets exact.
#[inline(always)]
unsafe fn accumulate_groups<G: Groups + Format, L: Lanes, const ROWS: usize, const FIRST: bool>(
    tile: *const u8,
    inputs: &[Input; ROWS],
    sums: &mut [[L::Floats; 2]; ROWS],
) {
    let groups = BLOCK / G::GROUP;
    let pairs = G::GROUP / 8;
    // SAFETY: as the callers promise.
    unsafe {
        let parts = TILE_COLUMNS / L::COLUMNS;
        for part in 0..parts {
            let column = part * L::COLUMNS;
            let mut totals = [L::splat_int(0); ROWS];
            for exact in 0..groups / G::EXACT {
                let mut scaled = [L::splat(0.0); ROWS];
                for group in exact * G::EXACT..(exact + 1) * G::EXACT {
                    if FIRST {
                        prefetch::<L, ROWS>(tile, share(G::TILE_BYTES / LINE, part * groups + group, parts * groups));
                    }
                    let mut products = [L::splat_int(0); ROWS];
                    if G::OFFSET != 0 {
                        for row in 0..ROWS {
                            products[row] = L::splat_int(-G::OFFSET * i32::from(*inputs[row].sums_of_16.add(group)));
                        }
                    }
                    for pair in group * pairs..(group + 1) * pairs {
                        let (first, second) = G::unpack::<L>(tile, column, pair);
                        for row in 0..ROWS {
                            let values = inputs[row].values.add(pair * 8);
                            products[row] = L::dot(products[row], first, L::splat_four(values));
                            products[row] = L::dot(products[row], second, L::splat_four(values.add(4)));
                        }
                    }
                    let scales = G::scales::<L>(tile.add(G::SCALES + group * TILE_COLUMNS + column));
                    for row in 0..ROWS {
                        scaled[row] = L::multiply_add(L::to_floats(products[row]), scales, scaled[row]);
                    }
                }
                for row in 0..ROWS {
                    totals[row] = L::add_ints(totals[row], L::to_ints(scaled[row]));
                }
            }
            let scale = L::load_halves(tile.add(column * 2));
            let minimums = G::minimums::<L>(tile, column);
            for row in 0..ROWS {
                let mut value = L::multiply(scale, L::to_floats(totals[row]));
                if let Some(minimums) = &minimums {
                    value = minimums.take(&inputs[row], value);
                }
                sums[row][part] = L::multiply_add(value, L::splat(inputs[row].scale), sums[row][part]);
            }
        }
    }
}

// SAFETY: a tile ends with its weights; `accumulate_groups` reads nothing behind them.
unsafe impl Format for Q4K {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 144;
    const TILE_BYTES: usize = FIFTH_BITS;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        pack_scales_45(&block[..16], column, tile);
        pack_low(&split_45(&block[16..]), column, &mut tile[WEIGHTS_45..]);
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_groups::<Q4K, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 12;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_groups::<Q4K, TILES>(piece) }
    }
}

// SAFETY: a tile ends with its fifth bits; `accumulate_groups` reads nothing behind them.
unsafe impl Format for Q5K {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 176;
    const TILE_BYTES: usize = FIFTH_BITS + PAIRS / PAIRS_OF_FIFTH_BITS * REGISTER;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        pack_scales_45(&block[..16], column, tile);
        let (fifth, low) = block[16..].split_at(32);
        pack_low(&split_45(low), column, &mut tile[WEIGHTS_45..FIFTH_BITS]);
        for index in 0..BLOCK {
            // ggml: bit `c` of byte `i` belongs to weight `32 c + i`.
            let bit = fifth[index % 32] >> (index / 32) & 1;
            let at = FIFTH_BITS + index / 32 * REGISTER + column * 4 + index % 4;
            tile[at] |= bit << (index % 32 / 4);
        }
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_groups::<Q5K, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 12;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_groups::<Q5K, TILES>(piece) }
    }
}

// SAFETY: a tile ends with its upper bits; `accumulate_groups` reads nothing behind them.
unsafe impl Format for Q6K {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 210;
    const TILE_BYTES: usize = HIGH_6 + PAIRS / 2 * REGISTER;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, scale) = rest.split_at(16);
        tile[column * 2..column * 2 + 2].copy_from_slice(scale);
        for (group, scale) in scales.iter().enumerate() {
            tile[SCALES_6 + group * TILE_COLUMNS + column] = *scale;
        }
        // ggml: weight `128 h + 32 q + i` has its low half in byte `64 h + 32 (q % 2) + i`, low for q < 2, and its upper
        // bits in byte `32 h + i` from bit `2 q` on.
        let place = |index: usize| (index / 128, index % 128 / 32, index % 32);
        let lows: [u8; BLOCK] = std::array::from_fn(|index| {
            let (half, quarter, at) = place(index);
            low[half * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15
        });
        pack_low(&lows, column, &mut tile[LOW_6..HIGH_6]);
        for index in 0..BLOCK {
            let (half, quarter, at) = place(index);
            let bits = high[half * 32 + at] >> (quarter * 2) & 3;
            tile[HIGH_6 + index / 16 * REGISTER + column * 4 + index % 4] |= bits << (index % 16 / 4 * 2);
        }
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_groups::<Q6K, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 12;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_groups::<Q6K, TILES>(piece) }
    }
}

/// The head of a Q4_K or Q5_K block: two half-precision scales, then eight scales and eight minimums of six bits.
fn pack_scales_45(head: &[u8], column: usize, tile: &mut [u8]) {
    tile[column * 2..column * 2 + 2].copy_from_slice(&head[..2]);
    tile[HALVES + column * 2..HALVES + column * 2 + 2].copy_from_slice(&head[2..4]);
    let packed = &head[4..16];
    for group in 0..8 {
        // ggml's get_scale_min_k4.
        let (scale, minimum) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            (packed[group + 4] & 15 | packed[group - 4] >> 6 << 4, packed[group + 4] >> 4 | packed[group] >> 6 << 4)
        };
        tile[SCALES_45 + group * TILE_COLUMNS + column] = scale;
        tile[MINIMUMS_45 + group / 2 * 2 * TILE_COLUMNS + column * 2 + group % 2] = minimum;
    }
}

/// The 256 four-bit numbers of a block: of each 32 bytes, low halves first.
fn split_45(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|index| bytes[index / 64 * 32 + index % 32] >> (index % 64 / 32 * 4) & 15)
}
