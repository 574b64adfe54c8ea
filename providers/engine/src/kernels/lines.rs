//! Memory for activations that begins where a line of the processor's caches begins, and rows of products with it: a register's
//! worth of them lies in one line then, and threads that compute neighbouring tiles do not write to the same one.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::slice;

/// Bytes of a line of the caches.
pub(super) const LINE: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; LINE]);

/// What lines hold.
///
/// # Safety
/// Any bytes are one, its size divides a line's, and it asks for no more than a line's alignment.
pub(crate) unsafe trait Number: Copy {}

// SAFETY: any four bytes are one.
unsafe impl Number for f32 {}
// SAFETY: any byte is one.
unsafe impl Number for i8 {}

/// As a `Vec`.
pub(crate) struct Lines<N = f32> {
    lines: Vec<Line>,
    length: usize,
    numbers: PhantomData<N>,
}

impl<N> Default for Lines<N> {
    fn default() -> Lines<N> {
        Lines { lines: Vec::new(), length: 0, numbers: PhantomData }
    }
}

impl<N: Number> Lines<N> {
    /// Makes it hold so many numbers; those that are new have no meaning yet.
    pub(crate) fn resize(&mut self, length: usize) {
        self.lines.resize((length * size_of::<N>()).div_ceil(LINE), Line([0; LINE]));
        self.length = length;
    }
}

impl<N: Number> Deref for Lines<N> {
    type Target = [N];

    fn deref(&self) -> &[N] {
        // SAFETY: the lines lie one behind the other and hold so many numbers.
        unsafe { slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<N: Number> DerefMut for Lines<N> {
    fn deref_mut(&mut self) -> &mut [N] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
