//! Memory for packed weights. A model's matrices lie one behind the other in one mapping, so that the system's large pages hold them:
//! a mapping for each would have small pages at both of its ends, and reading those takes longer.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

use super::lines::LINE;
use crate::error::Error;

/// Bytes of a large page, where the system has them.
const LARGE_PAGE: usize = 2 * 1024 * 1024;

/// What is left of a mapping.
pub(crate) struct Space {
    mapping: Option<Arc<MmapRaw>>,
    used: usize,
    expected: usize,
}

impl Space {
    /// Room for matrices of so many bytes, taken from the system when the first is put there. Others find room of their own.
    pub(crate) fn new(lengths: impl IntoIterator<Item = usize>) -> Space {
        let lines = |length: usize| length.next_multiple_of(LINE);
        Space { mapping: None, used: 0, expected: lengths.into_iter().map(lines).sum() }
    }

    /// Room for a matrix, all zero. Fails with [`Error::NoMemory`].
    pub(crate) fn take(&mut self, length: usize) -> Result<Tiles, Error> {
        let mapping = match self.mapping.take() {
            Some(mapping) if length <= mapping.len() - self.used => mapping,
            _ => {
                let mapping = MmapMut::map_anon(length.max(self.expected) + LARGE_PAGE)
                    .map_err(|error| Error::NoMemory { problem: error.to_string() })?;
                #[cfg(target_os = "linux")]
                // Ordinary pages do too.
                let _ = mapping.advise(memmap2::Advice::HugePage);
                self.used = mapping.as_ptr().align_offset(LARGE_PAGE);
                self.expected = 0;
                Arc::new(mapping.into())
            }
        };
        let tiles = Tiles { mapping: Arc::clone(&mapping), start: self.used, length };
        self.used = (self.used + length).next_multiple_of(LINE).min(mapping.len());
        self.mapping = Some(mapping);
        Ok(tiles)
    }
}

/// The room of one matrix.
pub(crate) struct Tiles {
    mapping: Arc<MmapRaw>,
    start: usize,
    length: usize,
}

impl Deref for Tiles {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: it lies in the mapping, which is there as long as this is, and is no other's room.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr().add(self.start), self.length) }
    }
}

impl DerefMut for Tiles {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.as_mut_ptr().add(self.start), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_share_a_mapping_while_it_has_room_and_nothing_else() {
        let mut space = Space::new([1000]);
        let mut taken: Vec<Tiles> =
            [100, 7, 0, LARGE_PAGE, 3 * LARGE_PAGE, 1].map(|length| space.take(length).unwrap()).into();
        assert!(
            Arc::ptr_eq(&taken[0].mapping, &taken[2].mapping) && !Arc::ptr_eq(&taken[0].mapping, &taken[4].mapping)
        );
        for (index, tiles) in taken.iter_mut().enumerate() {
            assert!(tiles.iter().all(|byte| *byte == 0) && tiles.as_ptr().addr().is_multiple_of(LINE));
            tiles.fill(index as u8 + 1);
        }
        for (index, tiles) in taken.iter().enumerate() {
            assert!(tiles.iter().all(|byte| *byte == index as u8 + 1), "room {index} was written to by another");
        }
    }
}
