//! How fast the threads read memory: the bound of decoding, which reads every weight once for a token.

use std::hint::black_box;
use std::time::Instant;

use crate::kernels::vectorized;
use crate::threads::Threads;

/// More than any cache holds, in numbers of eight bytes.
const NUMBERS: usize = 64 * 1024 * 1024;
/// Numbers one thread reads at a time: like a share of a product's weights.
const CHUNK: usize = 256 * 1024;
const ROUNDS: usize = 5;

/// The best of some rounds, in bytes/s.
pub(super) fn read(threads: usize) -> f64 {
    let mut threads = Threads::new(threads);
    let mut numbers = vec![1u64; NUMBERS];
    let mut best = 0.0f64;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        threads.chunks(&mut numbers, CHUNK, |_, numbers| {
            black_box(sum(numbers));
        });
        best = best.max((NUMBERS * size_of::<u64>()) as f64 / began.elapsed().as_secs_f64());
    }
    best
}

vectorized! {
    /// The sum of numbers that are read from four places in turn, so that the processor asks memory for several at once.
    fn sum(numbers: &[u64]) -> u64 {
        const LANES: usize = 16;
        let quarter = numbers.len() / 4;
        let (first, rest) = numbers.split_at(quarter);
        let (second, rest) = rest.split_at(quarter);
        let (third, fourth) = rest.split_at(quarter);
        let mut sums = [0u64; LANES];
        let parts = first.chunks_exact(LANES).zip(second.chunks_exact(LANES)).zip(third.chunks_exact(LANES)).zip(fourth.chunks_exact(LANES));
        for (((first, second), third), fourth) in parts {
            for lane in 0..LANES {
                sums[lane] = sums[lane].wrapping_add(first[lane]).wrapping_add(second[lane]).wrapping_add(third[lane]).wrapping_add(fourth[lane]);
            }
        }
        sums.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
}
