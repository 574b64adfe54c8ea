//! How fast the threads read memory: the bound of decoding, which reads every weight once for a token.

use std::hint::black_box;
use std::time::Instant;

use crate::error::Error;
use crate::kernels::{Space, vectorized};
use crate::threads::Threads;

/// More than any cache holds, in numbers of eight bytes.
const NUMBERS: usize = 64 * 1024 * 1024;
/// Numbers one thread reads at a time: like a share of a product's weights.
const CHUNK: usize = 256 * 1024;
const ROUNDS: usize = 5;

/// The best of some rounds, in bytes/s. Fails when the system has no memory for it.
pub(super) fn read(threads: usize) -> Result<f64, Error> {
    let mut threads = Threads::new(threads);
    // Large pages, as of weights; no two alike, as a host may keep one of such.
    let mut space = Space::new([]).take(NUMBERS * size_of::<u64>())?;
    // SAFETY: any bytes are numbers.
    let (_, numbers, _) = unsafe { space.align_to_mut::<u64>() };
    threads.chunks(numbers, CHUNK, |chunk, numbers| {
        for (index, number) in numbers.iter_mut().enumerate() {
            *number = ((chunk * CHUNK + index) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    });
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        threads.chunks(numbers, CHUNK, |_, numbers| {
            black_box(sum(numbers));
        });
        best = best.max((NUMBERS * size_of::<u64>()) as f64 / began.elapsed().as_secs_f64());
    }
    Ok(best)
}

vectorized! {
    /// The sum of numbers. Asked for a little before they are read, they come as fast as this way or any other tried.
    fn sum(numbers: &[u64]) -> u64 {
        const LINE: usize = 8;
        const AHEAD: usize = 32 * LINE;
        let mut sums = [0u64; LINE];
        for line in numbers.chunks_exact(LINE) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch reads nothing.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().wrapping_add(AHEAD).cast());
            }
            for (sum, number) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(*number);
            }
        }
        sums.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
}
