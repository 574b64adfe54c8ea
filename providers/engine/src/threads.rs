//! Shares a computation out over a few threads that sleep when there is nothing to do.

use std::ops::Range;

/// A pool that the calling thread works along with.
pub(crate) struct Threads {
    /// The other threads; none when the caller computes alone.
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads, the calling one included.
    pub(crate) fn new(count: usize) -> Threads {
        let helpers = count.saturating_sub(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(helpers).thread_name(|index| format!("engine-{index}"));
        // Without helpers, or when the system refuses them, the caller computes alone.
        let pool = if helpers == 0 { None } else { pool.build().ok() };
        Threads { count: if pool.is_some() { count } else { 1 }, pool }
    }

    /// Calls `work(first, part)` for parts of `output`, each a whole number of rows of `width`; `first` is the part's
    /// first row. `cost` is the work as a whole in multiplications; little work is not worth another thread.
    pub(crate) fn split<T: Send>(
        &self,
        output: &mut [T],
        width: usize,
        cost: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        /// Waking a thread takes some ten microseconds, in which one thread does about this much.
        const WORTH_A_THREAD: usize = 200_000;
        let rows = output.len() / width.max(1);
        let parts = self.count.min(cost / WORTH_A_THREAD).min(rows);
        let Some(pool) = self.pool.as_ref().filter(|_| parts > 1) else {
            return work(0, output);
        };
        let rows_each = rows.div_ceil(parts);
        pool.in_place_scope(|scope| {
            let mut parts = output.chunks_mut(rows_each * width).enumerate();
            let own = parts.next();
            for (index, part) in parts {
                let work = &work;
                scope.spawn(move |_| work(index * rows_each, part));
            }
            if let Some((_, part)) = own {
                work(0, part);
            }
        });
    }
}

/// Threads this process may use: what was asked for, or the processors its affinity and cgroup allow.
pub(crate) fn available(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The rows a part of `split` covers.
pub(crate) fn rows_of<T>(first: usize, part: &[T], width: usize) -> Range<usize> {
    first..first + part.len() / width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_whatever_the_thread_count() {
        for count in 1..5 {
            let threads = Threads::new(count);
            for rows in [0, 1, 2, 3, 7, 64] {
                let mut output = vec![0u32; rows * 3];
                threads.split(&mut output, 3, usize::MAX, |first, part| {
                    for (row, values) in rows_of(first, part, 3).zip(part.chunks_mut(3)) {
                        values.iter_mut().for_each(|value| *value += row as u32 + 1);
                    }
                });
                let expected: Vec<u32> = (0..rows as u32).flat_map(|row| [row + 1; 3]).collect();
                assert_eq!(output, expected);
            }
        }
    }
}
