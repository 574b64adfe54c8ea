//! What cells wait for and read from. Lua drops such things when its garbage collector comes to
//! them, which may be never; a model is not to wait for that, so they end with the cell that
//! started them, whatever of them a script still holds.

use std::cell::RefCell;
use std::rc::Weak;

use tokio_util::sync::CancellationToken;

/// Something that can be ended from outside.
pub(crate) trait Leftover {
    /// Drops what it holds.
    fn abandon(&self);

    /// Whether it holds nothing any more.
    fn is_over(&self) -> bool;
}

/// Everything of the workspace's cells that has not ended.
#[derive(Default)]
pub(crate) struct Leftovers {
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    all: Vec<(CancellationToken, Weak<dyn Leftover>)>,
    /// How many there may be before those that are over are forgotten.
    room: usize,
}

/// The least room.
const ROOM: usize = 64;

impl Leftovers {
    /// Has `leftover` end with the cell whose work ends with `work`.
    pub(crate) fn add(&self, work: CancellationToken, leftover: Weak<impl Leftover + 'static>) {
        let mut entries = self.entries.borrow_mut();
        if entries.all.len() >= entries.room {
            entries.all.retain(|(_, leftover)| leftover.upgrade().is_some_and(|leftover| !leftover.is_over()));
            entries.room = ROOM.max(2 * entries.all.len());
        }
        entries.all.push((work, leftover));
    }

    /// Ends what belongs to cells that were cancelled or have ended.
    pub(crate) fn sweep(&self) {
        let all = std::mem::take(&mut self.entries.borrow_mut().all);
        let (ended, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(work, _)| work.is_cancelled());
        self.entries.borrow_mut().all.extend(kept);
        // What is dropped may show a last word of itself.
        for (_, leftover) in ended {
            if let Some(leftover) = leftover.upgrade() {
                leftover.abandon();
            }
        }
    }
}
