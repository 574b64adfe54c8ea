//! Memory for activations that begins where a line of the processor's caches begins, and rows of products with it: a register's
//! worth of results lies in one line then, and threads that compute neighbouring tiles do not write to the same one.

use std::ops::{Deref, DerefMut};
use std::slice;

/// What a line holds.
const NUMBERS: usize = 16;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; NUMBERS]);

/// As a `Vec<f32>`.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    length: usize,
}

impl Lines {
    /// Makes it hold so many numbers; those that are new have no meaning yet.
    pub(crate) fn resize(&mut self, length: usize) {
        self.lines.resize(length.div_ceil(NUMBERS), Line([0.0; NUMBERS]));
        self.length = length;
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines lie one behind the other and hold so many numbers.
        unsafe { slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
