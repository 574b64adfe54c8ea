//! How the interpreter thread sleeps, and what wakes it: a wake of any cell's waker ends the sleep,
//! and the flag that it leaves says which cell can go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;

/// The sleep of the thread that made it.
pub(crate) struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

/// Remembers that it was woken, and wakes its thread.
pub(crate) struct Bell {
    parker: Arc<Parker>,
    rung: AtomicBool,
}

impl Parker {
    /// The calling thread's.
    pub(crate) fn of_this_thread() -> Arc<Parker> {
        Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) })
    }

    /// Sleeps until something woke this thread since the last sleep.
    pub(crate) fn park(&self) {
        while !self.woken.swap(false, Ordering::AcqRel) {
            std::thread::park();
        }
    }
}

impl Bell {
    /// A bell that has rung, so that whoever waits for it begins.
    pub(crate) fn new(parker: &Arc<Parker>) -> Arc<Bell> {
        Arc::new(Bell { parker: Arc::clone(parker), rung: AtomicBool::new(true) })
    }

    pub(crate) fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// From here on a ring is news.
    pub(crate) fn hush(&self) {
        self.rung.store(false, Ordering::Release);
    }

    pub(crate) fn waker(self: &Arc<Bell>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.parker.wake_by_ref();
    }
}
