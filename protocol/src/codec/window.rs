//! The signatures seen last, so that none counts twice. Jupyter's own session keeps as many.

use std::collections::{HashSet, VecDeque};

/// How many signatures are remembered.
pub(crate) const CAPACITY: usize = 1 << 16;

/// A set of the last [`CAPACITY`] signatures. The first half of a digest tells it apart well enough (2^-128) and halves the memory.
#[derive(Default)]
pub(crate) struct ReplayWindow {
    seen: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl ReplayWindow {
    /// Takes note of a signature; false if it was there already.
    pub(crate) fn admit(&mut self, digest: &[u8; 32]) -> bool {
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        if !self.seen.insert(half) {
            return false;
        }
        self.order.push_back(half);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_signature_is_forgotten() {
        let digest = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            digest
        };
        let mut window = ReplayWindow::default();
        for number in 0..=CAPACITY {
            assert!(window.admit(&digest(number)));
        }
        assert!(!window.admit(&digest(1)));
        assert!(window.admit(&digest(0)));
        assert_eq!(window.seen.len(), CAPACITY);
    }
}
