//! Products of sixteen rows at a time in AMX's tiles, to the same bits as every other instruction set: the whole numbers are
//! the same, and what follows them is done in the same order.
//!
//! A tile register holds sixteen rows of 64 bytes. For activations these are sixteen rows of the input; for weights, row `i`
//! holds weights `4 i` to `4 i + 3` of sixteen columns, which is how formats lay them out anyhow.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::format::blocks::{self, Block};
use super::format::k_quants::{self, Groups};
use super::format::{Format, REGISTER};
use super::lanes::avx512::Avx512Vnni;
use super::lanes::{Lanes, TILE_COLUMNS};
use super::product::Task;

/// Rows of a tile register.
pub(super) const ROWS: usize = 16;

/// Whether the processor has AMX's byte products and the system lets this process use them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
        let leaf = __cpuid_count(7, 0);
        leaf.edx & TILES_AND_BYTES == TILES_AND_BYTES && ask_permission()
    })
}

/// Linux saves the tiles of processes that asked for it.
fn ask_permission() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: the call changes nothing but this process's permission.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

/// The registers' shapes while products of one kind are computed: results in 0 to 3, activations in 4 and 5, weights in 6 and 7.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// For products over `depth` weights.
    fn set(depth: usize) {
        let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for register in 0..8 {
            let (rows, bytes) = match register {
                4 | 5 => (ROWS, depth),
                6 | 7 => (depth / 4, REGISTER),
                _ => (ROWS, REGISTER),
            };
            (shapes.rows[register], shapes.row_bytes[register]) = (rows as u8, bytes as u16);
        }
        // SAFETY: AMX is there, and the shapes are of its first palette.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, preserves_flags, readonly)) };
    }

    /// Gives the registers back, so that switching threads is cheap again.
    fn release() {
        // SAFETY: AMX is there.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

macro_rules! tile_zero {
    ($register:literal) => {
        asm!(concat!("tilezero tmm", $register), options(nostack, preserves_flags, nomem))
    };
}

macro_rules! tile_load {
    ($register:literal, $at:expr, $stride:expr) => {
        asm!(concat!("tileloadd tmm", $register, ", [{0} + {1}*1]"), in(reg) $at, in(reg) $stride,
            options(nostack, preserves_flags, readonly))
    };
}

macro_rules! tile_store {
    ($register:literal, $at:expr) => {
        asm!(concat!("tilestored [{0} + {1}*1], tmm", $register), in(reg) $at, in(reg) REGISTER,
            options(nostack, preserves_flags))
    };
}

macro_rules! tile_products {
    ($kind:literal, $sums:literal, $activations:literal, $weights:literal) => {
        asm!(
            concat!($kind, " tmm", $sums, ", tmm", $activations, ", tmm", $weights),
            options(nostack, preserves_flags, nomem)
        )
    };
}

/// Whole numbers of sixteen rows and columns.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Results([[i32; TILE_COLUMNS]; ROWS]);

/// Sums of up to [`ROWS_AT_ONCE`] rows while their blocks pass by.
#[repr(C, align(64))]
struct Sums([[f32; TILE_COLUMNS]; ROWS_AT_ONCE]);

/// Rows whose sums and activations stay in the first caches while a tile's blocks pass by.
const ROWS_AT_ONCE: usize = 128;

/// Computes some columns for the first rows of the input, a multiple of [`ROWS`], and returns how many rows that is.
///
/// # Safety
/// As [`super::product::Kernel`]; the processor has AMX.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn multiply<F: Format>(task: &Task<'_>, tiles: Range<usize>) -> usize {
    let rows = task.input.rows() / ROWS * ROWS;
    if rows == 0 {
        return 0;
    }
    let depth = if F::BLOCK == k_quants::BLOCK { 64 } else { blocks::BLOCK };
    Shapes::set(depth);
    let blocks = task.input.columns() / F::BLOCK;
    let mut sums = Sums([[0.0; TILE_COLUMNS]; ROWS_AT_ONCE]);
    for tile in tiles {
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let rows = first..(first + ROWS_AT_ONCE).min(rows);
            sums.0[..rows.len()].fill([0.0; TILE_COLUMNS]);
            // SAFETY: tile, blocks and rows exist, and the shapes are those of this format.
            unsafe {
                let tiles = task.weights.as_ptr().add(tile * blocks * F::TILE_BYTES);
                F::accumulate_amx(tiles, task, rows.clone(), sums.0.as_mut_ptr());
            }
            let column = tile * TILE_COLUMNS;
            let width = (task.columns - column).min(TILE_COLUMNS);
            for (row, sums) in rows.zip(&sums.0) {
                // SAFETY: the row and its columns exist.
                unsafe {
                    let output = task.output.add(row * task.columns + column);
                    match width {
                        TILE_COLUMNS => output.cast::<[f32; TILE_COLUMNS]>().write_unaligned(*sums),
                        _ => output.copy_from_nonoverlapping(sums.as_ptr(), width),
                    }
                }
            }
        }
    }
    Shapes::release();
    rows
}

/// [`Format::accumulate_amx`] of the types with blocks of 32: one product of each block, then as every other instruction set
/// does it. Some blocks are unpacked at a time, and the sums of sixteen rows stay in registers while they pass by.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn accumulate_blocks<B: Block + Format>(
    tiles: *const u8,
    task: &Task<'_>,
    rows: Range<usize>,
    sums: *mut [f32; TILE_COLUMNS],
) {
    const AT_ONCE: usize = 32;
    #[repr(C, align(64))]
    struct Unpacked {
        weights: [[u8; blocks::BLOCK * TILE_COLUMNS]; AT_ONCE],
        scales: [[f32; TILE_COLUMNS]; AT_ONCE],
    }
    let blocks = task.input.columns() / blocks::BLOCK;
    let mut unpacked =
        Unpacked { weights: [[0; blocks::BLOCK * TILE_COLUMNS]; AT_ONCE], scales: [[0.0; TILE_COLUMNS]; AT_ONCE] };
    for begin in (0..blocks).step_by(AT_ONCE) {
        let count = (blocks - begin).min(AT_ONCE);
        // SAFETY: these blocks and rows exist; everything else is in the arrays above.
        unsafe {
            for block in 0..count {
                let tile = tiles.add((begin + block) * B::TILE_BYTES);
                prefetch(tile.wrapping_add(AT_ONCE * B::TILE_BYTES), B::TILE_BYTES);
                let weights = unpacked.weights[block].as_mut_ptr();
                let offset = _mm512_set1_epi8(B::OFFSET as u8 as i8);
                for pair in 0..blocks::PAIRS {
                    let (first, second) = B::unpack::<Avx512Vnni>(tile.add(blocks::SCALES), pair);
                    _mm512_store_si512(weights.add(pair * 2 * REGISTER).cast(), _mm512_sub_epi8(first, offset));
                    _mm512_store_si512(weights.add((pair * 2 + 1) * REGISTER).cast(), _mm512_sub_epi8(second, offset));
                }
                _mm512_store_ps(unpacked.scales[block].as_mut_ptr(), Avx512Vnni::load_halves(tile));
            }
            for first in rows.clone().step_by(ROWS) {
                let sums = sums.add(first - rows.start);
                let mut block = 0;
                while block < count {
                    let at = (unpacked.weights[block].as_ptr(), &unpacked.scales[block..]);
                    block += match count - block {
                        1 => multiply_blocks::<1>(at, task, first, begin + block, sums),
                        2 | 3 => multiply_blocks::<2>(at, task, first, begin + block, sums),
                        _ => multiply_blocks::<4>(at, task, first, begin + block, sums),
                    };
                }
            }
        }
    }
}

/// Sixteen rows times `COUNT` unpacked blocks, at most four; returns how many.
#[inline(always)]
unsafe fn multiply_blocks<const COUNT: usize>(
    (weights, scales): (*const u8, &[[f32; TILE_COLUMNS]]),
    task: &Task<'_>,
    row: usize,
    block: usize,
    sums: *mut [f32; TILE_COLUMNS],
) -> usize {
    let mut results = [Results([[0; TILE_COLUMNS]; ROWS]); COUNT];
    // SAFETY: as the caller promises.
    unsafe {
        let stride = task.input.stride();
        macro_rules! product {
            ($index:literal, $input:literal, $weights:literal) => {
                if $index < COUNT {
                    tile_zero!($index);
                    tile_load!($input, task.input.input(row, block + $index).values, stride);
                    tile_load!($weights, weights.add($index * blocks::BLOCK * TILE_COLUMNS), REGISTER);
                    tile_products!("tdpbssd", $index, $input, $weights);
                }
            };
        }
        product!(0, 4, 6);
        product!(1, 5, 7);
        product!(2, 4, 6);
        product!(3, 5, 7);
        macro_rules! store {
            ($index:literal) => {
                if $index < COUNT {
                    tile_store!($index, results[$index % COUNT].0.as_mut_ptr());
                }
            };
        }
        store!(0);
        store!(1);
        store!(2);
        store!(3);
        for index in 0..ROWS {
            let sum = (*sums.add(index)).as_mut_ptr();
            let mut value = _mm512_load_ps(sum);
            for part in 0..COUNT {
                let products = _mm512_load_si512(results[part].0[index].as_ptr().cast());
                let input = _mm512_set1_ps(task.input.input(row + index, block + part).scale);
                let scale = _mm512_mul_ps(_mm512_load_ps(scales[part].as_ptr()), input);
                value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), scale, value);
            }
            _mm512_store_ps(sum, value);
        }
    }
    COUNT
}

/// Asks for some bytes that will be read soon; they need not exist.
#[inline(always)]
fn prefetch(at: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(line).cast()) };
    }
}

/// [`Format::accumulate_amx`] of k-quants: a weight times its group's scale fits 16 bits, so its low byte and its high byte make
/// two products whose sum, the second shifted, is the exact total of the block. While the tiles multiply a block, the next is
/// split.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn accumulate_groups<G: Groups + Format>(
    tiles: *const u8,
    task: &Task<'_>,
    rows: Range<usize>,
    sums: *mut [f32; TILE_COLUMNS],
) {
    /// Blocks ahead for which memory is asked.
    const AHEAD: usize = 3;
    let blocks = task.input.columns() / k_quants::BLOCK;
    let mut planes = [Planes([[0; PLANE]; 2]), Planes([[0; PLANE]; 2])];
    // SAFETY: as the caller promises; everything else is in the arrays above.
    unsafe {
        split::<G>(tiles, &mut planes[0]);
        for block in 0..blocks {
            let tile = tiles.add(block * G::TILE_BYTES);
            prefetch(tile.wrapping_add(AHEAD * G::TILE_BYTES), G::TILE_BYTES);
            if block + 1 < blocks {
                split::<G>(tile.add(G::TILE_BYTES), &mut planes[(block + 1) % 2]);
            }
            multiply_planes::<G>(tile, &planes[block % 2], task, block, rows.clone(), sums);
        }
    }
}

/// Low and high bytes of one block of sixteen columns.
#[repr(C, align(64))]
struct Planes([[u8; PLANE]; 2]);
const PLANE: usize = k_quants::BLOCK * TILE_COLUMNS;

/// Many rows times one block.
#[inline(always)]
unsafe fn multiply_planes<G: Groups>(
    tile: *const u8,
    planes: &Planes,
    task: &Task<'_>,
    block: usize,
    rows: Range<usize>,
    sums: *mut [f32; TILE_COLUMNS],
) {
    const DEPTH: usize = 64;
    const STEPS: usize = k_quants::BLOCK / DEPTH;
    let mut results = [Results([[0; TILE_COLUMNS]; ROWS]); 4];
    // SAFETY: as the caller promises.
    unsafe {
        let [low, high] = planes.0.each_ref().map(|plane| plane.as_ptr());
        let scale = Avx512Vnni::load_halves(tile);
        let minimums = G::minimums::<Avx512Vnni>(tile, 0);
        let stride = task.input.stride();
        for first in rows.clone().step_by(2 * ROWS) {
            let two = first + ROWS < rows.end;
            let input = task.input.input(first, block).values;
            tile_zero!("0");
            tile_zero!("1");
            tile_zero!("2");
            tile_zero!("3");
            for step in 0..STEPS {
                tile_load!("6", low.add(step * DEPTH / 4 * REGISTER), REGISTER);
                tile_load!("7", high.add(step * DEPTH / 4 * REGISTER), REGISTER);
                tile_load!("4", input.add(step * DEPTH), stride);
                tile_products!("tdpbsud", "0", "4", "6");
                tile_products!("tdpbssd", "1", "4", "7");
                if two {
                    tile_load!("5", input.add(ROWS * stride + step * DEPTH), stride);
                    tile_products!("tdpbsud", "2", "5", "6");
                    tile_products!("tdpbssd", "3", "5", "7");
                }
            }
            tile_store!("0", results[0].0.as_mut_ptr());
            tile_store!("1", results[1].0.as_mut_ptr());
            if two {
                tile_store!("2", results[2].0.as_mut_ptr());
                tile_store!("3", results[3].0.as_mut_ptr());
            }
            for row in 0..if two { 2 * ROWS } else { ROWS } {
                let part =
                    |plane: usize| _mm512_load_si512(results[row / ROWS * 2 + plane].0[row % ROWS].as_ptr().cast());
                let total = _mm512_add_epi32(part(0), _mm512_slli_epi32::<8>(part(1)));
                let mut value = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(total));
                let input = task.input.input(first + row, block);
                if let Some(minimums) = &minimums {
                    value = minimums.take(&input, value);
                }
                let sum = (*sums.add(first - rows.start + row)).as_mut_ptr();
                _mm512_store_ps(sum, _mm512_fmadd_ps(value, _mm512_set1_ps(input.scale), _mm512_load_ps(sum)));
            }
        }
    }
}

/// Weights times their groups' scales, cut in low bytes (unsigned) and high bytes (signed).
#[inline(always)]
unsafe fn split<G: Groups>(tile: *const u8, planes: &mut Planes) {
    let [low, high] = planes.0.each_mut().map(|plane| plane.as_mut_ptr());
    // SAFETY: the tile is whole and both planes are a block long.
    unsafe {
        let low_bytes = _mm512_set1_epi16(255);
        for group in 0..k_quants::BLOCK / G::GROUP {
            let scales = G::scales_twice(tile.add(G::SCALES + group * TILE_COLUMNS));
            let offset = _mm512_mullo_epi16(scales, _mm512_set1_epi16(G::OFFSET as i16));
            let pairs = G::GROUP / 8;
            for pair in group * pairs..(group + 1) * pairs {
                let (first, second) = G::unpack::<Avx512Vnni>(tile, 0, pair);
                for (register, weights) in [first, second].into_iter().enumerate() {
                    let even = _mm512_mullo_epi16(_mm512_and_si512(weights, low_bytes), scales);
                    let odd = _mm512_mullo_epi16(_mm512_srli_epi16::<8>(weights), scales);
                    let (even, odd) = (_mm512_sub_epi16(even, offset), _mm512_sub_epi16(odd, offset));
                    let at = (pair * 2 + register) * REGISTER;
                    let lows = _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16::<8>(odd));
                    let highs = _mm512_or_si512(_mm512_srli_epi16::<8>(even), _mm512_andnot_si512(low_bytes, odd));
                    _mm512_store_si512(low.add(at).cast(), lows);
                    _mm512_store_si512(high.add(at).cast(), highs);
                }
            }
        }
    }
}
