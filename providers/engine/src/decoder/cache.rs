//! Keys and values of every sequence, in half precision as llama.cpp keeps them, in pages of a fixed number of positions
//! that are handed out as sequences grow. Pages of ended sequences are kept for others that begin with the same tokens,
//! within a budget; a page that several use is copied before one of them changes it.

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
    shape: PageShape,
    sequences: Vec<Option<Vec<Page>>>,
    /// Room for a key on its way to its page.
    halves: Vec<f16>,
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

/// What a model's pages are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_size: usize,
}

/// What was computed of tokens, in pages of one shape.
pub(crate) struct Snapshot {
    shape: PageShape,
    tokens: Vec<u32>,
    pages: Vec<Page>,
}

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
            shape: PageShape::of(description),
            sequences: Vec::new(),
            halves: Vec::new(),
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
            own.copy_from_slice(shared);
        }
        if let Some(pages) = &mut self.sequences[sequence.0] {
            pages.truncate(index);
            pages.push(own);
        }
    }

    /// Keeps the keys and values of all heads, each `[kv heads, head size]`, of one position.
    pub(super) fn store(&mut self, sequence: SequenceId, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let PageShape { head_size, .. } = self.shape;
        let within = position % PAGE_POSITIONS;
        let heads = keys.chunks_exact(head_size).zip(values.chunks_exact(head_size)).enumerate();
        for (head, (keys, values)) in heads {
            let key = self.shape.key(layer, head, within);
            let value = self.shape.value(layer, head, within);
            let Some(pages) = &mut self.sequences[sequence.0] else { return };
            // It is the sequence's own since `reserve`, so nothing is copied here.
            let page = Arc::make_mut(&mut pages[position / PAGE_POSITIONS]);
            self.halves.resize(head_size, f16::ZERO);
            self.halves.convert_from_f32_slice(keys);
            for (place, key) in page[key..].iter_mut().step_by(PAGE_POSITIONS).zip(&self.halves) {
                *place = *key;
            }
            page[value..value + head_size].convert_from_f32_slice(values);
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
        let (start, head_size) = (self.shape.start(layer, part, head), self.shape.head_size);
        let pages = self.sequences[sequence.0].as_deref().unwrap_or_default();
        pages
            .iter()
            .take(count.div_ceil(PAGE_POSITIONS))
            .map(move |page| &page[start..start + PAGE_POSITIONS * head_size])
    }
}

impl PageShape {
    pub(crate) fn of(description: &Description) -> PageShape {
        let Description { layers, kv_heads, head_size, .. } = *description;
        PageShape { layers, kv_heads, head_size }
    }

    /// Numbers that one position has, keys and values of all layers.
    pub(crate) fn per_position(&self) -> usize {
        self.layers * 2 * self.kv_heads * self.head_size
    }

    fn blank(&self) -> Page {
        Arc::new(vec![f16::ZERO; PAGE_POSITIONS * self.per_position()])
    }

    /// Where the keys or values of a head begin.
    fn start(&self, layer: usize, part: Part, head: usize) -> usize {
        let part = match part {
            Part::Key => 0,
            Part::Value => 1,
        };
        ((layer * 2 + part) * self.kv_heads + head) * PAGE_POSITIONS * self.head_size
    }

    /// Where a position's key begins; its dimensions are [`PAGE_POSITIONS`] apart.
    fn key(&self, layer: usize, head: usize, within: usize) -> usize {
        self.start(layer, Part::Key, head) + within
    }

    /// Where a position's value begins.
    fn value(&self, layer: usize, head: usize, within: usize) -> usize {
        self.start(layer, Part::Value, head) + within * self.head_size
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

    /// The keys and values of one position, `[layer][key, value][kv head][dimension]`.
    pub(crate) fn read(&self, position: usize, numbers: &mut Vec<f16>) {
        let PageShape { layers, kv_heads, head_size } = self.shape;
        let (page, within) = (&self.pages[position / PAGE_POSITIONS], position % PAGE_POSITIONS);
        numbers.clear();
        for layer in 0..layers {
            for head in 0..kv_heads {
                let key = self.shape.key(layer, head, within);
                numbers.extend(page[key..].iter().step_by(PAGE_POSITIONS).take(head_size));
            }
            for head in 0..kv_heads {
                numbers.extend_from_slice(&page[self.shape.value(layer, head, within)..][..head_size]);
            }
        }
    }

    /// Takes what [`Snapshot::read`] gave of one position.
    pub(crate) fn write(&mut self, position: usize, numbers: &[f16]) {
        let PageShape { layers, kv_heads, head_size } = self.shape;
        let within = position % PAGE_POSITIONS;
        // Nobody else has a page of a snapshot that is being filled, so nothing is copied here.
        let page = Arc::make_mut(&mut self.pages[position / PAGE_POSITIONS]);
        let mut heads = numbers.chunks_exact(head_size);
        for layer in 0..layers {
            for (head, keys) in (0..kv_heads).zip(&mut heads) {
                let key = self.shape.key(layer, head, within);
                for (place, key) in page[key..].iter_mut().step_by(PAGE_POSITIONS).zip(keys) {
                    *place = *key;
                }
            }
            for (head, values) in (0..kv_heads).zip(&mut heads) {
                page[self.shape.value(layer, head, within)..][..head_size].copy_from_slice(values);
            }
        }
    }
}
