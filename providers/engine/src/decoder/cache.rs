//! Keys and values of every sequence, in half precision as llama.cpp keeps them, in pages of a fixed number of positions
//! that are handed out as sequences grow. Pages of ended sequences are kept for others that begin with the same tokens, within a budget; a page that several
//! use is copied before one of them changes it.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::prefixes::Prefixes;
use crate::description::Description;
use crate::kernels::KEY_BLOCK;

/// Positions in one page.
pub(super) const PAGE_POSITIONS: usize = KEY_BLOCK;

/// Names a sequence in the cache, from [`KvCache::open`] to [`KvCache::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SequenceId(usize);

/// The KV cache of one model.
pub(crate) struct KvCache {
    layers: usize,
    kv_heads: usize,
    head_size: usize,
    sequences: Vec<Option<Vec<Page>>>,
    prefixes: Prefixes,
    /// Pages whose content means nothing, to be used again.
    spare: Vec<Page>,
    /// Pages in memory, wherever they are.
    pages: usize,
    /// Pages that stay in memory when no sequence uses them, those in use counted in.
    budget: usize,
}

/// `[layer][key, value][kv head]`, then `[dimension][position]` for keys, so that a register holds one dimension of
/// several keys, and `[position][dimension]` for values.
pub(super) type Page = Arc<Vec<f16>>;

/// What a position holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl KvCache {
    /// An empty cache. Sequences get the pages they need; beyond that it keeps as many as fit `budget` bytes.
    pub(crate) fn new(description: &Description, budget: u64) -> KvCache {
        KvCache {
            layers: description.layers,
            kv_heads: description.kv_heads,
            head_size: description.head_size,
            sequences: Vec::new(),
            prefixes: Prefixes::default(),
            spare: Vec::new(),
            pages: 0,
            budget: usize::try_from(budget / KvCache::bytes(description, PAGE_POSITIONS).max(1)).unwrap_or(usize::MAX),
        }
    }

    /// Bytes the pages of one sequence take.
    pub(crate) fn bytes(description: &Description, positions: usize) -> u64 {
        let per_position = description.layers as u64 * 2 * description.kv_width() as u64 * size_of::<f16>() as u64;
        positions.next_multiple_of(PAGE_POSITIONS) as u64 * per_position
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
        while self.pages > self.budget && self.prefixes.evict().is_some() {
            self.pages -= 1;
        }
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
        Arc::new(vec![f16::ZERO; self.layers * 2 * self.kv_heads * PAGE_POSITIONS * self.head_size])
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
            own.copy_from_slice(shared);
        }
        if let Some(pages) = &mut self.sequences[sequence.0] {
            pages.truncate(index);
            pages.push(own);
        }
    }

    /// Keeps the keys and values of all heads, each `[kv heads, head size]`, of one position.
    pub(super) fn store(&mut self, sequence: SequenceId, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let head_size = self.head_size;
        let within = position % PAGE_POSITIONS;
        let heads = keys.chunks_exact(head_size).zip(values.chunks_exact(head_size)).enumerate();
        for (head, (keys, values)) in heads {
            let key_start = self.start(layer, Part::Key, head) + within;
            let value_start = self.start(layer, Part::Value, head) + within * head_size;
            let Some(pages) = &mut self.sequences[sequence.0] else { return };
            // It is the sequence's own since `reserve`, so nothing is copied here.
            let page = Arc::make_mut(&mut pages[position / PAGE_POSITIONS]);
            for (dimension, key) in keys.iter().enumerate() {
                page[key_start + dimension * PAGE_POSITIONS] = f16::from_f32(*key);
            }
            page[value_start..value_start + head_size].convert_from_f32_slice(values);
        }
    }

    /// One head's keys or values of the pages that hold positions `0..count`: whole pages, as [`Page`] says.
    pub(super) fn pages(
        &self,
        sequence: SequenceId,
        layer: usize,
        part: Part,
        head: usize,
        count: usize,
    ) -> impl Iterator<Item = &[f16]> {
        let start = self.start(layer, part, head);
        let pages = self.sequences[sequence.0].as_deref().unwrap_or_default();
        pages
            .iter()
            .take(count.div_ceil(PAGE_POSITIONS))
            .map(move |page| &page[start..start + PAGE_POSITIONS * self.head_size])
    }

    fn start(&self, layer: usize, part: Part, head: usize) -> usize {
        let part = match part {
            Part::Key => 0,
            Part::Value => 1,
        };
        ((layer * 2 + part) * self.kv_heads + head) * PAGE_POSITIONS * self.head_size
    }
}
