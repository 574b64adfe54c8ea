//! The products themselves: tiles of weights against rows of rounded activations, eight rows at a time.

use std::ops::Range;

use super::activations::Rounded;
use super::format::Format;
use super::instruction_set::InstructionSet;
use super::lanes::{Lanes, TILE_COLUMNS, portable::Portable};
use super::lines::LINE;

/// Where a product's weights, inputs and results lie.
pub(super) struct Task<'a> {
    /// `[tiles, blocks]`
    pub(super) weights: &'a [u8],
    pub(super) input: &'a Rounded,
    /// `[rows, columns]`
    pub(super) output: *mut f32,
    pub(super) columns: usize,
}

// SAFETY: `output` is written at the columns of the tiles that a thread was given, and by no other thread.
unsafe impl Sync for Task<'_> {}

/// Computes the columns of some tiles.
///
/// # Safety
/// The processor has the instructions this was chosen for, the task's parts fit together, and no other thread computes
/// the same tiles.
pub(super) type Kernel = unsafe fn(&Task<'_>, Range<usize>);

/// The kernel of a format.
pub(super) fn kernel<F: Format>(set: InstructionSet) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        use super::lanes::avx2::{Avx2, AvxVnni};
        use super::lanes::avx512::Avx512Vnni;

        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2<F: Format>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe { multiply::<Avx2, F>(task, tiles) }
        }

        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        unsafe fn avx_vnni<F: Format>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe { multiply::<AvxVnni, F>(task, tiles) }
        }

        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
        unsafe fn avx512<F: Format>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe { multiply::<Avx512Vnni, F>(task, tiles) }
        }

        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
        unsafe fn amx<F: Format>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe {
                if task.input.rows() < F::FEWEST_AMX_ROWS {
                    multiply::<Avx512Vnni, F>(task, tiles);
                } else {
                    super::amx::multiply::<F>(task, tiles);
                }
            }
        }

        match set {
            InstructionSet::Portable => {}
            InstructionSet::Avx2 => return avx2::<F>,
            InstructionSet::AvxVnni => return avx_vnni::<F>,
            InstructionSet::Avx512Vnni => return avx512::<F>,
            InstructionSet::Amx => return amx::<F>,
        }
    }
    let _ = set;
    |task, tiles| {
        // SAFETY: as the caller promises.
        unsafe { multiply::<Portable, F>(task, tiles) }
    }
}

#[inline(always)]
unsafe fn multiply<L: Lanes, F: Format>(task: &Task<'_>, tiles: Range<usize>) {
    for tile in tiles {
        let mut row = 0;
        // SAFETY: as the caller promises; rows stay below the input's.
        unsafe {
            while row < task.input.rows() {
                // What is left over asks for memory again: that costs less than compiling it twice.
                row += match task.input.rows() - row {
                    1 => multiply_rows::<L, F, 1, true>(task, tile, row),
                    2 | 3 => multiply_rows::<L, F, 2, true>(task, tile, row),
                    4..8 => multiply_rows::<L, F, 4, true>(task, tile, row),
                    // Sixteen registers are too few for more.
                    _ if L::COLUMNS < TILE_COLUMNS && row == 0 => multiply_rows::<L, F, 4, true>(task, tile, row),
                    _ if L::COLUMNS < TILE_COLUMNS => multiply_rows::<L, F, 4, false>(task, tile, row),
                    _ if row == 0 => multiply_rows::<L, F, 8, true>(task, tile, row),
                    _ => multiply_rows::<L, F, 8, false>(task, tile, row),
                };
            }
        }
    }
}

/// Computes `ROWS` rows of a tile's columns; returns how many that was.
#[inline(always)]
unsafe fn multiply_rows<L: Lanes, F: Format, const ROWS: usize, const FIRST: bool>(
    task: &Task<'_>,
    tile: usize,
    row: usize,
) -> usize {
    let blocks = task.input.columns() / F::BLOCK;
    // SAFETY: tile, blocks and rows exist; a tile's results go where its columns are, cut off at the matrix's last.
    unsafe {
        let weights = task.weights.as_ptr().add(tile * blocks * F::TILE_BYTES);
        let mut sums = [[L::splat(0.0); 2]; ROWS];
        for block in 0..blocks {
            let at = weights.add(block * F::TILE_BYTES);
            let mut inputs = [task.input.input(row, block); ROWS];
            for (index, input) in inputs.iter_mut().enumerate() {
                *input = task.input.input(row + index, block);
            }
            F::accumulate::<L, ROWS, FIRST>(at, &inputs, &mut sums);
        }
        let first = tile * TILE_COLUMNS;
        let width = (task.columns - first).min(TILE_COLUMNS);
        for (index, sums) in sums.iter().enumerate() {
            store::<L>(sums, task.output.add((row + index) * task.columns + first), width);
        }
    }
    ROWS
}

/// Writes the first `width` of a tile's sums.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(sums: &[L::Floats; 2], output: *mut f32, width: usize) {
    let mut whole = [0.0f32; TILE_COLUMNS];
    let to = if width == TILE_COLUMNS { output } else { whole.as_mut_ptr() };
    // SAFETY: the caller says that there is room for so many.
    unsafe {
        for part in 0..TILE_COLUMNS / L::COLUMNS {
            L::store(to.add(part * L::COLUMNS), sums[part]);
        }
        if width < TILE_COLUMNS {
            output.copy_from_nonoverlapping(whole.as_ptr(), width);
        }
    }
}

/// Which of some lines are asked for in one of several turns: a little at a time, as the processor waits for so many and no more.
#[inline(always)]
pub(super) fn share(lines: usize, turn: usize, turns: usize) -> Range<usize> {
    lines * turn / turns..lines * (turn + 1) / turns
}

/// Asks for lines that will be read soon when these are. With few rows a product waits for memory: the processor's own prefetching
/// stops at every page's end. What is asked for comes to the second cache first, as more can be on its way there at a time than to
/// the first, and from there to the first when it is about to be read: each saves up to a fifth.
#[inline(always)]
pub(super) unsafe fn prefetch<L: Lanes, const ROWS: usize>(at: *const u8, lines: Range<usize>) {
    const NEAR: usize = 1024;
    // What saved most of one to sixteen. One row reads so fast that what lies far off its way comes too late.
    let pages = if ROWS == 1 { 2 } else { 8 };
    for line in lines {
        let at = at.wrapping_add(line * LINE);
        // SAFETY: a prefetch reads nothing; the address need not exist.
        unsafe {
            L::prefetch_far(ahead(at, pages));
            L::prefetch_near(at.wrapping_add(NEAR));
        }
    }
}

/// What to ask for when an address is read: something some pages on. As many pages as given are asked for side by side, a piece of
/// each in turn, so that the processor's prefetching, which follows every page by itself, is at work in all of them: when piece `n` of
/// page `m` is read, piece `m` of page `n` is asked for.
#[inline(always)]
fn ahead(at: *const u8, pages: usize) -> *const u8 {
    const PAGE: usize = 4096;
    /// How many pages on; more where more are asked for side by side.
    const FAR: usize = 4;
    let piece_bytes = PAGE / pages;
    let (page, piece) = (at.addr() / PAGE % pages, at.addr() / piece_bytes % pages);
    let aside = (piece as isize - page as isize) * (PAGE - piece_bytes) as isize;
    at.wrapping_add(FAR.max(pages) * PAGE).wrapping_offset(aside)
}
