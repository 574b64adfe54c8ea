//! How each tensor type lies in memory once packed: tiles of sixteen columns, the weights of one block of every column
//! beside each other in the order in which the products read them, at nearly the bits per weight of the file.
//!
//! The order of a tile's weights: eight consecutive weights of column 0, column 1, ... make a *pair* of registers (four
//! bytes a column each). What a weight is made of (low bits, high bits) is spread so that a mask and a shift bring it back.

pub(super) mod blocks;
pub(super) mod k_quants;

use super::lanes::{Lanes, TILE_COLUMNS};

/// A tensor type in packed form.
///
/// # Safety
/// A tile is [`Format::TILE_BYTES`] long, and an implementation reads nothing else of the weights.
pub(super) unsafe trait Format {
    /// Weights of one column that share scales.
    const BLOCK: usize;
    /// Bytes of such a block in the file.
    const BLOCK_BYTES: usize;
    /// Bytes of one block of sixteen columns, packed.
    const TILE_BYTES: usize;

    /// Writes one column's block into a tile.
    fn pack(block: &[u8], column: usize, tile: &mut [u8]);

    /// Adds the products of one tile with one block of each of `ROWS` rows; `sums[row][part]` has
    /// [`Lanes::COLUMNS`] columns. `FIRST` rows find the tile in memory, and ask for what follows it; others find it in a cache.
    ///
    /// # Safety
    /// `tile` points to a tile, `inputs` to whole blocks, and the processor has the instructions of `L`.
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    );

    /// With fewer rows the vector units alone are faster than AMX.
    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize;

    /// Adds the products of one or two tiles' columns with all rows of a piece to its sums.
    ///
    /// # Safety
    /// The piece has so many tiles of this format; the processor has AMX, and its registers the shapes for this format.
    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &super::amx::Piece<'_>);
}

/// One block of one row of activations.
#[derive(Clone, Copy)]
pub(super) struct Input {
    pub(super) values: *const i8,
    pub(super) scale: f32,
    /// Sums of each 32 values.
    pub(super) sums_of_32: *const i16,
    /// Sums of each 16 values; only of blocks of 256.
    pub(super) sums_of_16: *const i16,
}

/// Where weight `index` of a column's block goes among a tile's bytes, when a byte holds one weight.
fn byte_at(index: usize, column: usize) -> usize {
    (index / 4 * TILE_COLUMNS + column) * 4 + index % 4
}

/// Puts four-bit numbers into place: of every eight, the first four in low halves and the last four in high halves.
fn pack_low(weights: &[u8], column: usize, tile: &mut [u8]) {
    for (pair, eight) in weights.chunks_exact(8).enumerate() {
        for byte in 0..4 {
            tile[byte_at(pair * 4 + byte, column)] = eight[byte] & 15 | eight[byte + 4] << 4;
        }
    }
}

/// The pair of registers that [`pack_low`] made; `at` is the pair's place for these columns.
#[inline(always)]
unsafe fn unpack_low<L: Lanes>(at: *const u8) -> (L::Bytes, L::Bytes) {
    // SAFETY: as the caller promises.
    unsafe {
        let (both, mask) = (L::load(at), L::splat_byte(15));
        (L::and(both, mask), L::and(L::shift_right::<4>(both), mask))
    }
}

/// Bytes of one register's worth of a tile, all sixteen columns.
pub(super) const REGISTER: usize = 4 * TILE_COLUMNS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_halves_lie_where_the_pair_of_registers_is_made_of_them() {
        let weights: Vec<u8> = (0..32).map(|index| index % 16).collect();
        let mut tile = vec![0; 16 * TILE_COLUMNS];
        pack_low(&weights, 5, &mut tile);
        for pair in 0..4 {
            // SAFETY: the tile holds four pairs.
            let (first, second) =
                unsafe { unpack_low::<super::super::lanes::portable::Portable>(tile.as_ptr().add(pair * REGISTER)) };
            assert_eq!([first[5], second[5]].concat(), weights[pair * 8..pair * 8 + 8]);
            assert_eq!([first[4], second[6]], [[0; 4]; 2]);
        }
    }
}
