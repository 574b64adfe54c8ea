//! Shares computations out over a few threads, which watch for the next one for some microseconds and then sleep.
//!
//! Work is claimed piece by piece, so a thread that the system does not run delays nobody but the piece it has begun: with
//! more threads than processors, or under a cgroup's limit, the others go on.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A pool that the calling thread works along with. One computation runs at a time.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

/// A computation under way: called once with each number below `pieces`.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    pieces: usize,
}

struct Shared {
    /// Counts computations, two steps each: odd while helpers may join one.
    phase: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    /// Helpers that may be reading `job`.
    inside: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleeping: Mutex<usize>,
    wake: Condvar,
}

// SAFETY: `job` is written by the one thread that runs a computation, while the phase is even and nobody is inside, and read
// by helpers that are inside while the phase is odd. What it points to is `Sync` and outlives the odd phase.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// How long a helper watches for the next computation before it sleeps: a few products of a decoding step.
const WATCH: Duration = Duration::from_micros(100);
/// Looks at the clock once in this many turns of a waiting loop.
const TURNS: u32 = 64;

impl Threads {
    /// `count` threads, the calling one included. Fewer when the system refuses some.
    pub(crate) fn new(count: usize) -> Threads {
        let shared = Arc::new(Shared {
            phase: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: Mutex::new(0),
            wake: Condvar::new(),
        });
        let helpers = (1..count)
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("engine-{index}")).spawn(move || shared.help()).ok()
            })
            .collect();
        Threads { shared, helpers }
    }

    /// How many compute, the caller included.
    pub(crate) fn count(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `work` once with each number below `pieces`, on any thread, and returns when all calls have.
    pub(crate) fn run(&mut self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.helpers.is_empty() || pieces < 2 {
            return (0..pieces).for_each(work);
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. No helper reads the job once `close` has returned, which it does before `work` ends.
        let work = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(work)
        };
        let job = Job { work, pieces };
        // SAFETY: `&mut self` makes this the only computation, and the one before was closed.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.phase.fetch_add(1, Ordering::SeqCst);
        shared.wake_sleepers();
        let finished = catch_unwind(AssertUnwindSafe(|| shared.work_along(job)));
        shared.close();
        let helper_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        match finished {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => assert!(!helper_panicked, "a helping thread panicked; its message is above"),
        }
    }

    /// Calls `work` once with each chunk of `size` elements and its number; the last one may be shorter.
    pub(crate) fn chunks<T: Send>(&mut self, values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        struct Start<T>(*mut T);
        // SAFETY: it is only the way by which elements that may be sent reach the thread that gets them.
        unsafe impl<T: Send> Sync for Start<T> {}
        impl<T> Start<T> {
            fn at(&self, index: usize) -> *mut T {
                self.0.wrapping_add(index)
            }
        }
        let (length, start) = (values.len(), Start(values.as_mut_ptr()));
        self.run(length.div_ceil(size), &|index| {
            let first = index * size;
            // SAFETY: the chunk lies inside `values`, and every chunk is given to one call.
            let chunk = unsafe { std::slice::from_raw_parts_mut(start.at(first), size.min(length - first)) };
            work(index, chunk);
        });
    }
}

impl Shared {
    /// What a helper does all its life.
    fn help(&self) {
        let mut seen = 0;
        while let Some(phase) = self.next_computation(seen) {
            seen = phase;
            self.inside.fetch_add(1, Ordering::SeqCst);
            // Whoever closes the computation changes the phase first and then looks who is inside.
            if self.phase.load(Ordering::SeqCst) == phase {
                // SAFETY: the phase is odd and this thread is inside, so nobody writes.
                if let Some(job) = unsafe { *self.job.get() }
                    && catch_unwind(AssertUnwindSafe(|| self.work_along(job))).is_err()
                {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Claims pieces until none is left.
    fn work_along(&self, job: Job) {
        loop {
            let piece = self.next.fetch_add(1, Ordering::Relaxed);
            if piece >= job.pieces {
                return;
            }
            // SAFETY: the computation is not closed while this thread is inside it, or runs it.
            unsafe { (*job.work)(piece) };
        }
    }

    /// Waits for an odd phase after `seen`; `None` when the pool ends.
    fn next_computation(&self, seen: u64) -> Option<u64> {
        let ready = || {
            let phase = self.phase.load(Ordering::SeqCst);
            (!phase.is_multiple_of(2) && phase != seen).then_some(phase)
        };
        let began = Instant::now();
        loop {
            for _ in 0..TURNS {
                if let Some(phase) = ready() {
                    return Some(phase);
                }
                std::hint::spin_loop();
            }
            if began.elapsed() > WATCH {
                break;
            }
        }
        let mut sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        *sleeping += 1;
        let phase = loop {
            if self.stop.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(phase) = ready() {
                break Some(phase);
            }
            sleeping = self.wake.wait(sleeping).unwrap_or_else(PoisonError::into_inner);
        };
        *sleeping -= 1;
        phase
    }

    fn wake_sleepers(&self) {
        if *self.sleeping.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
            self.wake.notify_all();
        }
    }

    /// Lets nobody else in and waits until those inside have finished the piece they began.
    fn close(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
        let mut turns = 0u32;
        while self.inside.load(Ordering::SeqCst) > 0 {
            turns += 1;
            if turns < 4096 {
                std::hint::spin_loop();
            } else {
                // The thread inside may be waiting for this very processor.
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        {
            let _sleeping = self.shared.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

/// Threads this process may use: what was asked for, or the processors its affinity and cgroup allow.
pub(crate) fn available(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_whatever_the_thread_count() {
        for count in 1..5 {
            let mut threads = Threads::new(count);
            for pieces in [0, 1, 2, 3, 64, 1000, 2, 1] {
                let done: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                threads.run(pieces, &|piece| {
                    done[piece].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn many_short_computations_in_a_row_all_finish() {
        let mut threads = Threads::new(3);
        let total = AtomicUsize::new(0);
        for _ in 0..20_000 {
            threads.run(3, &|piece| {
                total.fetch_add(piece, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 20_000 * 3);
    }

    #[test]
    fn parts_are_handed_out_whole() {
        let mut numbers = vec![0usize; 100];
        Threads::new(3).chunks(&mut numbers, 9, |index, part| part.fill(index));
        let expected: Vec<usize> = (0..100).map(|index| index / 9).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let mut threads = Threads::new(3);
        for _ in 0..50 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                threads.run(8, &|piece| assert!(piece != 5, "piece 5"));
            }));
            assert!(panicked.is_err());
        }
        let done = AtomicUsize::new(0);
        threads.run(10, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 10);
    }

    #[test]
    fn helpers_sleep_when_there_is_nothing_to_do() {
        let mut threads = Threads::new(2);
        threads.run(2, &|_| {});
        let asleep = || *threads.shared.sleeping.lock().expect("the count") == 1;
        let limit = Instant::now() + Duration::from_secs(10);
        while !asleep() {
            assert!(Instant::now() < limit, "the helper watches for ever");
            std::thread::yield_now();
        }
    }
}
