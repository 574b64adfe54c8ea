//! Keys and values of every sequence, in pages of a fixed number of positions that are handed out as sequences grow. Pages
//! of ended sequences are kept for others that begin with the same tokens, within a budget; a page that several use is
//! copied before one of them changes it.

use std::sync::Arc;

use super::page::{Head, PAGE_POSITIONS, Page, PageShape, Part};
use super::prefixes::Prefixes;
use crate::kernels::InstructionSet;

/// Names a sequence in the cache, from [`KvCache::open`] to [`KvCache::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SequenceId(usize);

/// The KV cache of one model.
pub(crate) struct KvCache {
    shape: PageShape,
    sequences: Vec<Option<Vec<Page>>>,
    prefixes: Prefixes,
    /// Pages whose content means nothing, to be used again.
    spare: Vec<Page>,
    /// Pages in memory, wherever they are.
    pages: usize,
    /// Pages that stay in memory when no sequence uses them, those in use counted in.
    budget: usize,
}

/// What was computed of tokens, in pages of one shape.
pub(crate) struct Snapshot {
    shape: PageShape,
    tokens: Vec<u32>,
    pages: Vec<Page>,
}

impl KvCache {
    /// An empty cache. Sequences get the pages they need; beyond that it keeps as many as fit `budget` bytes.
    pub(crate) fn new(shape: PageShape, budget: u64) -> KvCache {
        KvCache {
            shape,
            sequences: Vec::new(),
            prefixes: Prefixes::default(),
            spare: Vec::new(),
            pages: 0,
            budget: usize::try_from(budget / shape.bytes(PAGE_POSITIONS).max(1)).unwrap_or(usize::MAX),
        }
    }

    /// Begins a sequence with what its session knows of `tokens`; says how many of them need not be computed.
    pub(crate) fn open(&mut self, session: &str, tokens: &[u32]) -> (SequenceId, usize) {
        let (pages, known) = match session {
            "" => (Vec::new(), 0),
            session => self.prefixes.find(session, tokens),
        };
        let index = match self.sequences.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.sequences.push(None);
                self.sequences.len() - 1
            }
        };
        self.sequences[index] = Some(pages);
        (SequenceId(index), known)
    }

    /// Lets the session know what a sequence computed of `tokens`, which are its first ones. A session without a name
    /// knows nothing.
    pub(crate) fn keep(&mut self, session: &str, sequence: SequenceId, tokens: &[u32]) {
        if let Some(pages) = &mut self.sequences[sequence.0]
            && !session.is_empty()
        {
            for page in self.prefixes.insert(session, tokens, pages) {
                self.take_back(page);
            }
        }
    }

    /// Ends a sequence and takes its pages back.
    pub(crate) fn close(&mut self, sequence: SequenceId) {
        for page in self.sequences[sequence.0].take().unwrap_or_default() {
            self.take_back(page);
        }
        self.shrink();
    }

    /// What a sequence computed of `tokens`, which are its first ones. Until it is dropped the sequence must stay open.
    pub(crate) fn snapshot(&self, sequence: SequenceId, tokens: &[u32]) -> Snapshot {
        let pages = self.sequences[sequence.0].as_deref().unwrap_or_default();
        let pages = pages.iter().take(tokens.len().div_ceil(PAGE_POSITIONS)).cloned().collect();
        Snapshot { shape: self.shape, tokens: tokens.to_vec(), pages }
    }

    /// Lets a session know what was computed elsewhere.
    pub(crate) fn adopt(&mut self, session: &str, snapshot: Snapshot) {
        let Snapshot { tokens, mut pages, .. } = snapshot;
        self.pages += pages.len();
        for page in self.prefixes.insert(session, &tokens, &mut pages) {
            self.take_back(page);
        }
        drop(pages);
        self.shrink();
    }

    /// Gives up what is not in use, until the rest is within the budget.
    fn shrink(&mut self) {
        while self.pages > self.budget && (self.spare.pop().is_some() || self.prefixes.evict().is_some()) {
            self.pages -= 1;
        }
    }

    #[cfg(all(test, feature = "moonlet"))]
    pub(super) fn shape(&self) -> PageShape {
        self.shape
    }

    #[cfg(all(test, feature = "moonlet"))]
    pub(super) fn pages_in_memory(&self) -> usize {
        self.pages
    }

    /// Tokens that fill whole pages, of so many.
    pub(crate) fn whole_pages(tokens: usize) -> usize {
        tokens / PAGE_POSITIONS * PAGE_POSITIONS
    }

    fn take_back(&mut self, page: Page) {
        if Arc::strong_count(&page) > 1 {
            return;
        }
        if self.pages <= self.budget {
            self.spare.push(page);
        } else {
            self.pages -= 1;
        }
    }

    /// A page whose content means nothing.
    fn fresh(&mut self) -> Page {
        if let Some(page) = self.spare.pop() {
            return page;
        }
        if self.pages >= self.budget
            && let Some(page) = self.prefixes.evict()
        {
            return page;
        }
        self.pages += 1;
        self.shape.blank()
    }

    /// Makes room for a sequence's next position: all before it have room, and its page becomes the sequence's own.
    pub(super) fn reserve(&mut self, sequence: SequenceId, position: usize) {
        let index = position / PAGE_POSITIONS;
        let shared = match self.sequences[sequence.0].as_ref().and_then(|pages| pages.get(index)) {
            Some(page) if Arc::strong_count(page) == 1 => return,
            Some(page) => Some(Arc::clone(page)),
            None => None,
        };
        let mut own = self.fresh();
        if let (Some(own), Some(shared)) = (Arc::get_mut(&mut own), &shared) {
            own.copy_from(shared);
        }
        if let Some(pages) = &mut self.sequences[sequence.0] {
            pages.truncate(index);
            pages.push(own);
        }
    }

    /// Keeps the keys and values of all heads, each `[kv heads, head size]`, of one position.
    pub(super) fn store(&mut self, sequence: SequenceId, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let Some(pages) = &mut self.sequences[sequence.0] else { return };
        // It is the sequence's own since `reserve`, so nothing is copied here.
        let page = Arc::make_mut(&mut pages[position / PAGE_POSITIONS]);
        for (part, floats) in [(Part::Key, keys), (Part::Value, values)] {
            for (kv_head, floats) in floats.chunks_exact(self.shape.head_size).enumerate() {
                page.store(&self.shape, Head { layer, part, kv_head }, position % PAGE_POSITIONS, floats);
            }
        }
    }

    /// One head's keys or values of the pages that hold positions `0..count`, page by page; `floats` has room for a whole
    /// page, which is `[dimension][position]` for keys and `[position][dimension]` for values.
    pub(super) fn each_page(
        &self,
        sequence: SequenceId,
        head: Head,
        count: usize,
        floats: &mut [f32],
        mut see: impl FnMut(usize, &[f32]),
    ) {
        let set = InstructionSet::current();
        let pages = self.sequences[sequence.0].as_deref().unwrap_or_default();
        for (begin, page) in (0..count).step_by(PAGE_POSITIONS).zip(pages) {
            page.widen(set, &self.shape, head, floats);
            see(begin, floats);
        }
    }
}

impl Snapshot {
    /// Room for what was computed of `tokens`.
    pub(crate) fn blank(shape: PageShape, tokens: Vec<u32>) -> Snapshot {
        let pages = (0..tokens.len().div_ceil(PAGE_POSITIONS)).map(|_| shape.blank()).collect();
        Snapshot { shape, tokens, pages }
    }

    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The bytes of one position's keys and values, `[layer][key, value][kv head]`.
    pub(crate) fn read(&self, position: usize, bytes: &mut Vec<u8>) {
        let page = &self.pages[position / PAGE_POSITIONS];
        bytes.clear();
        for head in self.shape.all_heads() {
            page.read(&self.shape, head, position % PAGE_POSITIONS, bytes);
        }
    }

    /// Takes what [`Snapshot::read`] gave of one position.
    pub(crate) fn write(&mut self, position: usize, mut bytes: &[u8]) {
        // Nobody else has a page of a snapshot that is being filled, so nothing is copied here.
        let page = Arc::make_mut(&mut self.pages[position / PAGE_POSITIONS]);
        for head in self.shape.all_heads() {
            page.write(&self.shape, head, position % PAGE_POSITIONS, &mut bytes);
        }
    }
}
