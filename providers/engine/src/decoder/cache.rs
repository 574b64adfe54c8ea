//! Keys and values of every sequence, in pages of a fixed number of positions that are handed out as sequences grow
//! and taken back when they end.

use crate::description::Description;

/// Positions in one page.
const PAGE_POSITIONS: usize = 32;

/// Names a sequence in the cache, from [`KvCache::open`] to [`KvCache::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SequenceId(usize);

/// The KV cache of one model.
pub(crate) struct KvCache {
    layers: usize,
    kv_heads: usize,
    head_size: usize,
    sequences: Vec<Option<Vec<Page>>>,
    /// Pages of ended sequences, to be used again; at most `spare_limit`.
    spare: Vec<Page>,
    spare_limit: usize,
}

/// `[layer][key, value][kv head]`, then `[position / 16][dimension][position % 16]` for keys, so that a register holds one
/// dimension of sixteen keys, and `[position][dimension]` for values.
type Page = Box<[f32]>;

/// Keys that lie beside each other.
pub(super) const KEY_BLOCK: usize = 16;
const _: () = assert!(PAGE_POSITIONS.is_multiple_of(KEY_BLOCK));

/// What a position holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl KvCache {
    /// An empty cache, which keeps pages for up to `spare_positions` when sequences end.
    pub(crate) fn new(description: &Description, spare_positions: usize) -> KvCache {
        KvCache {
            layers: description.layers,
            kv_heads: description.kv_heads,
            head_size: description.head_size,
            sequences: Vec::new(),
            spare: Vec::new(),
            spare_limit: spare_positions.div_ceil(PAGE_POSITIONS),
        }
    }

    /// Bytes the pages of one sequence take.
    pub(crate) fn bytes(description: &Description, positions: usize) -> u64 {
        let per_position = description.layers as u64 * 2 * description.kv_width() as u64 * size_of::<f32>() as u64;
        positions.next_multiple_of(PAGE_POSITIONS) as u64 * per_position
    }

    /// Begins a sequence with room for `positions`.
    pub(crate) fn open(&mut self, positions: usize) -> SequenceId {
        let index = match self.sequences.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.sequences.push(None);
                self.sequences.len() - 1
            }
        };
        self.sequences[index] = Some(Vec::new());
        self.reserve(SequenceId(index), positions);
        SequenceId(index)
    }

    /// Ends a sequence and takes its pages back.
    pub(crate) fn close(&mut self, sequence: SequenceId) {
        let pages = self.sequences[sequence.0].take().unwrap_or_default();
        let room = self.spare_limit.saturating_sub(self.spare.len());
        self.spare.extend(pages.into_iter().take(room));
    }

    /// Makes room for a sequence's first `positions` positions.
    pub(super) fn reserve(&mut self, sequence: SequenceId, positions: usize) {
        let page_length = self.layers * 2 * self.kv_heads * PAGE_POSITIONS * self.head_size;
        let Some(pages) = &mut self.sequences[sequence.0] else {
            return;
        };
        while pages.len() * PAGE_POSITIONS < positions {
            pages.push(self.spare.pop().unwrap_or_else(|| vec![0.0; page_length].into_boxed_slice()));
        }
    }

    /// Keeps the keys and values of all heads, each `[kv heads, head size]`, of one position.
    pub(super) fn store(&mut self, sequence: SequenceId, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let head_size = self.head_size;
        let within = position % PAGE_POSITIONS;
        let heads = keys.chunks_exact(head_size).zip(values.chunks_exact(head_size)).enumerate();
        for (head, (keys, values)) in heads {
            let key_start = self.start(layer, Part::Key, head) + within / KEY_BLOCK * KEY_BLOCK * head_size;
            let value_start = self.start(layer, Part::Value, head) + within * head_size;
            let Some(pages) = &mut self.sequences[sequence.0] else { return };
            let page = &mut pages[position / PAGE_POSITIONS];
            for (dimension, key) in keys.iter().enumerate() {
                page[key_start + dimension * KEY_BLOCK + within % KEY_BLOCK] = *key;
            }
            page[value_start..value_start + head_size].copy_from_slice(values);
        }
    }

    /// One head's keys or values, page by page, as far as positions `0..count` reach: whole blocks of keys, as [`Page`]
    /// says, and values `[positions, head size]`.
    pub(super) fn pages(
        &self,
        sequence: SequenceId,
        layer: usize,
        part: Part,
        head: usize,
        count: usize,
    ) -> impl Iterator<Item = &[f32]> {
        let start = self.start(layer, part, head);
        let pages = self.sequences[sequence.0].as_deref().unwrap_or_default();
        pages.iter().take(count.div_ceil(PAGE_POSITIONS)).enumerate().map(move |(index, page)| {
            let mut positions = (count - index * PAGE_POSITIONS).min(PAGE_POSITIONS);
            if part == Part::Key {
                positions = positions.next_multiple_of(KEY_BLOCK);
            }
            &page[start..start + positions * self.head_size]
        })
    }

    fn start(&self, layer: usize, part: Part, head: usize) -> usize {
        let part = match part {
            Part::Key => 0,
            Part::Value => 1,
        };
        ((layer * 2 + part) * self.kv_heads + head) * PAGE_POSITIONS * self.head_size
    }
}
