//! K-quants: a weight times its group's scale is cut in two bytes that make two products, whose sum, the second shifted, is the
//! exact total of a block.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Piece, Turns, prefetch};
use crate::kernels::activations::ROWS;
use crate::kernels::format::k_quants::{BLOCK, Groups, Minimums};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::avx512::Avx512Vnni;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};
use crate::kernels::lines::LINE;
use crate::kernels::product::share;

/// Weights of one product.
const DEPTH: usize = 64;
const STEPS: usize = BLOCK / DEPTH;
/// Rows that are finished in a step.
const EACH: usize = ROWS / STEPS;

/// Blocks ahead for which memory is asked.
const AHEAD: usize = 2;
/// Where a scale of six bits is cut, so that a weight of five bits times each part is a byte.
const LOW_BITS: u32 = 3;
/// Where a weight times a signed scale is cut.
const LOW_BITS_SIGNED: u32 = 8;

/// One byte of every weight of a tile.
#[repr(C, align(64))]
struct Plane([[u8; REGISTER]; BLOCK / 4]);

/// Sixteen rows whose products with one block are there.
#[derive(Clone, Copy)]
struct Computed {
    first: usize,
    block: usize,
}

/// [`Format::accumulate_amx`] of k-quants.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in crate::kernels) unsafe fn accumulate_groups<G: Groups + Format, const TILES: usize>(piece: &Piece<'_>) {
    let mut planes = MaybeUninit::<[[Plane; 2]; TILES]>::uninit();
    let mut results = MaybeUninit::<Turns>::uninit();
    // SAFETY: as the caller promises; of the arrays above nothing is read that was not written.
    unsafe {
        let (planes, results) = (planes.as_mut_ptr(), results.as_mut_ptr());
        let plane = |tile: usize, half: usize| (&raw mut (*planes)[tile][half]).cast::<u8>();
        let result = |turn: usize, index: usize| (&raw mut (*results)[turn][index]).cast::<i32>();
        let stride = piece.task.input.stride();
        let turns = piece.rows.len().div_ceil(ROWS) * STEPS;
        let mut before: Option<Computed> = None;
        let mut turn = 0;
        for block in 0..piece.blocks {
            for tile in 0..TILES {
                let at = piece.tile::<G>(tile, block);
                split::<G>(at, [plane(tile, 0), plane(tile, 1)]);
            }
            for first in piece.rows.clone().step_by(ROWS) {
                let input = piece.task.input.input(first, block).values;
                let finishing = before.map(|before| Finishing::<G, TILES>::of(piece, before));
                tile_zero!("0");
                tile_zero!("1");
                tile_zero!("2");
                tile_zero!("3");
                for step in 0..STEPS {
                    let at = step * DEPTH / 4 * REGISTER;
                    tile_load!("4", input.add(step * DEPTH), stride);
                    tile_load!("5", plane(0, 0).add(at), REGISTER);
                    tile_load!("6", plane(0, 1).add(at), REGISTER);
                    tile_products!("tdpbsud", "0", "4", "5");
                    if G::SIGNED_SCALES {
                        tile_products!("tdpbssd", "1", "4", "6");
                    } else {
                        tile_products!("tdpbsud", "1", "4", "6");
                    }
                    if TILES == 2 {
                        tile_load!("7", plane(1, 0).add(at), REGISTER);
                        tile_load!("5", plane(1, 1).add(at), REGISTER);
                        tile_products!("tdpbsud", "2", "4", "7");
                        if G::SIGNED_SCALES {
                            tile_products!("tdpbssd", "3", "4", "5");
                        } else {
                            tile_products!("tdpbsud", "3", "4", "5");
                        }
                    }
                    let lines = share(G::TILE_BYTES / LINE, (first - piece.rows.start) / EACH + step, turns);
                    for tile in 0..TILES {
                        let (tile, ahead) = match block + AHEAD {
                            ahead if ahead < piece.blocks => (tile, ahead),
                            ahead => (tile + TILES, ahead - piece.blocks),
                        };
                        prefetch(piece.tile::<G>(tile, ahead), lines.clone());
                    }
                    // While the tile unit computes these, the vector units finish others: a little after every step, as the
                    // processor looks only so far ahead.
                    if let Some(finishing) = &finishing {
                        finishing.rows(piece, step * EACH..(step + 1) * EACH, |index| result(1 - turn, index));
                    }
                }
                tile_store!("0", result(turn, 0));
                tile_store!("1", result(turn, 1));
                if TILES == 2 {
                    tile_store!("2", result(turn, 2));
                    tile_store!("3", result(turn, 3));
                }
                before = Some(Computed { first, block });
                turn = 1 - turn;
            }
        }
        if let Some(before) = before {
            Finishing::<G, TILES>::of(piece, before).rows(piece, 0..ROWS, |index| result(1 - turn, index));
        }
    }
}

/// What was computed, on its way to the sums.
struct Finishing<G, const TILES: usize> {
    computed: Computed,
    scales: [__m512; TILES],
    minimums: [Option<Minimums<Avx512Vnni>>; TILES],
    groups: PhantomData<G>,
}

impl<G: Groups + Format, const TILES: usize> Finishing<G, TILES> {
    #[inline(always)]
    unsafe fn of(piece: &Piece<'_>, computed: Computed) -> Self {
        // SAFETY: the tiles exist.
        unsafe {
            let mut scales = [_mm512_setzero_ps(); TILES];
            let mut minimums = [const { None }; TILES];
            for tile in 0..TILES {
                let at = piece.tile::<G>(tile, computed.block);
                scales[tile] = Avx512Vnni::load_halves(at);
                minimums[tile] = G::minimums::<Avx512Vnni>(at, 0);
            }
            Finishing { computed, scales, minimums, groups: PhantomData }
        }
    }

    /// Adds some rows to the sums.
    #[inline(always)]
    unsafe fn rows(&self, piece: &Piece<'_>, rows: Range<usize>, results: impl Fn(usize) -> *mut i32) {
        let Computed { first, block } = self.computed;
        // SAFETY: the rows exist, and their products are there.
        unsafe {
            for index in rows.start..rows.end.min(piece.rows.end - first) {
                let input = piece.task.input.input(first + index, block);
                let at = index * TILE_COLUMNS;
                for tile in 0..TILES {
                    let low = _mm512_load_si512(results(tile * 2).add(at).cast());
                    let high = _mm512_load_si512(results(tile * 2 + 1).add(at).cast());
                    let high = if G::SIGNED_SCALES {
                        _mm512_slli_epi32::<LOW_BITS_SIGNED>(high)
                    } else {
                        _mm512_slli_epi32::<LOW_BITS>(high)
                    };
                    let total = _mm512_cvtepi32_ps(_mm512_add_epi32(low, high));
                    let mut value = _mm512_mul_ps(self.scales[tile], total);
                    if let Some(minimums) = &self.minimums[tile] {
                        value = minimums.take(&input, value);
                    }
                    let sum = piece.sum(tile, first + index, block);
                    let sum = _mm512_fmadd_ps(value, _mm512_set1_ps(input.scale), sum);
                    piece.add(tile, first + index, block, sum);
                }
            }
        }
    }
}

/// Weights times their groups' scales, cut in two bytes.
#[inline(always)]
unsafe fn split<G: Groups + Format>(tile: *const u8, planes: [*mut u8; 2]) {
    // SAFETY: the tile is whole and both planes are a block long.
    unsafe {
        let low_bytes = _mm512_set1_epi16(255);
        for group in 0..BLOCK / G::GROUP {
            let scales = G::scales_twice(tile.add(G::SCALES + group * TILE_COLUMNS));
            let pairs = G::GROUP / 8;
            for pair in group * pairs..(group + 1) * pairs {
                let (first, second) = G::unpack::<Avx512Vnni>(tile, 0, pair);
                for (register, weights) in [first, second].into_iter().enumerate() {
                    let [low, high] = if G::SIGNED_SCALES {
                        let offset = _mm512_mullo_epi16(scales, _mm512_set1_epi16(G::OFFSET as i16));
                        let even = _mm512_mullo_epi16(_mm512_and_si512(weights, low_bytes), scales);
                        let odd = _mm512_mullo_epi16(_mm512_srli_epi16::<8>(weights), scales);
                        let (even, odd) = (_mm512_sub_epi16(even, offset), _mm512_sub_epi16(odd, offset));
                        [
                            _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16::<8>(odd)),
                            _mm512_or_si512(_mm512_srli_epi16::<8>(even), _mm512_andnot_si512(low_bytes, odd)),
                        ]
                    } else {
                        // Neither byte of a pair overflows, so both are multiplied at once.
                        let low = _mm512_and_si512(scales, _mm512_set1_epi16((1 << LOW_BITS) - 1));
                        let high = _mm512_srli_epi16::<LOW_BITS>(scales);
                        [_mm512_mullo_epi16(weights, low), _mm512_mullo_epi16(weights, high)]
                    };
                    let at = (pair * 2 + register) * REGISTER;
                    _mm512_store_si512(planes[0].add(at).cast(), low);
                    _mm512_store_si512(planes[1].add(at).cast(), high);
                }
            }
        }
    }
}
