//! Products of sixteen rows at a time in AMX's tiles, to the same bits as every other instruction set: the whole numbers are
//! the same, and what follows them is done in the same order.
//!
//! A tile register holds sixteen rows of 64 bytes. For activations these are sixteen rows of the input; for weights, row `i`
//! holds weights `4 i` to `4 i + 3` of sixteen columns, which is how formats lay them out anyhow. Where many rows follow, two
//! tiles of a format, 32 columns, take turns, so that activations come half as often from the second cache. While the tile unit
//! computes products of sixteen rows, the vector units finish those before them.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

use super::activations::ROWS;
use super::format::{Format, REGISTER};
use super::lanes::avx512::Avx512Vnni;
use super::lanes::{Lanes, TILE_COLUMNS};
use super::lines::LINE;
use super::product::Task;

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

/// The registers' shapes while products of one kind are computed: results in 0 to 3, activations in 4 and 5, weights in 6
/// and 7; where a product is over 64 weights all have the same shape.
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

mod blocks;
mod groups;

pub(super) use blocks::accumulate_blocks;
pub(super) use groups::accumulate_groups;

/// Whole numbers of sixteen rows and columns.
#[repr(C, align(64))]
struct Results([[i32; TILE_COLUMNS]; ROWS]);

/// What four products of sixteen rows gave, twice: one is being computed while the other is finished.
type Turns = [[Results; 4]; 2];

/// Rows whose sums stay in the first cache while the blocks of some columns pass by.
const ROWS_AT_ONCE: usize = 160;

/// Sums of two tiles' columns, of which those of the rows at hand have a meaning.
#[repr(C, align(64))]
struct Sums([[[MaybeUninit<f32>; TILE_COLUMNS]; ROWS_AT_ONCE]; 2]);

/// Some columns of some rows.
pub(super) struct Piece<'a> {
    task: &'a Task<'a>,
    rows: Range<usize>,
    blocks: usize,
    /// The first of its tiles.
    tile: usize,
    sums: *mut [[MaybeUninit<f32>; TILE_COLUMNS]; ROWS_AT_ONCE],
}

impl Piece<'_> {
    /// A block of a tile, which need not exist.
    fn tile<F: Format>(&self, tile: usize, block: usize) -> *const u8 {
        self.block::<F>(self.index(tile, block))
    }

    /// Counts a tile's block from the matrix's first.
    fn index(&self, tile: usize, block: usize) -> usize {
        (self.tile + tile) * self.blocks + block
    }

    /// A block counted so, which need not exist.
    fn block<F: Format>(&self, index: usize) -> *const u8 {
        self.task.weights.as_ptr().wrapping_add(index * F::TILE_BYTES)
    }

    /// The sums of a row's columns so far, none before the first block.
    #[inline(always)]
    unsafe fn sum(&self, tile: usize, row: usize, block: usize) -> __m512 {
        // SAFETY: the caller says that there are such a tile and row, and that their sums up to this block were added.
        unsafe {
            match block {
                0 => _mm512_setzero_ps(),
                _ => _mm512_load_ps((*self.sums.add(tile))[row - self.rows.start].as_ptr().cast()),
            }
        }
    }

    /// Takes the sums up to a block, the last of which are the results.
    #[inline(always)]
    unsafe fn add(&self, tile: usize, row: usize, block: usize, sums: __m512) {
        // SAFETY: the caller says that there are such a tile and row; what is beyond the last column is not written.
        unsafe {
            if block + 1 < self.blocks {
                return _mm512_store_ps((*self.sums.add(tile))[row - self.rows.start].as_mut_ptr().cast(), sums);
            }
            let column = (self.tile + tile) * TILE_COLUMNS;
            let beyond = TILE_COLUMNS - (self.task.columns - column).min(TILE_COLUMNS);
            let output = self.task.output.add(row * self.task.columns + column);
            _mm512_mask_storeu_ps(output, u16::MAX >> beyond, sums);
        }
    }
}

/// Computes some columns of all rows.
///
/// # Safety
/// As [`super::product::Kernel`]; the processor has AMX.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn multiply<F: Format>(task: &Task<'_>, tiles: Range<usize>) {
    let rows = task.input.rows();
    let blocks = task.input.columns() / F::BLOCK;
    let pieces = rows.div_ceil(ROWS_AT_ONCE);
    let rows_each = rows.div_ceil(pieces).next_multiple_of(ROWS);
    Shapes::set(F::BLOCK.min(64));
    let mut sums = Sums([[[MaybeUninit::uninit(); TILE_COLUMNS]; ROWS_AT_ONCE]; 2]);
    for tile in tiles.clone().step_by(2) {
        for first in (0..rows).step_by(rows_each) {
            let rows = first..(first + rows_each).min(rows);
            let piece = Piece { task, rows, blocks, tile, sums: sums.0.as_mut_ptr() };
            // SAFETY: tiles, blocks and rows exist, and the shapes are those of this format.
            unsafe {
                match tiles.end - tile {
                    1 => F::accumulate_amx::<1>(&piece),
                    _ => F::accumulate_amx::<2>(&piece),
                }
            }
        }
    }
    Shapes::release();
}

/// Asks for some lines, counted from an address, that will be read soon; they need not exist. They come to the second cache: the
/// first is full, and its few places for lines on their way are needed by what is read now.
#[inline(always)]
fn prefetch(at: *const u8, lines: Range<usize>) {
    for line in lines {
        // SAFETY: a prefetch reads nothing.
        unsafe { Avx512Vnni::prefetch_far(at.wrapping_add(line * LINE)) };
    }
}
