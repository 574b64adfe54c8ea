//! The decoder a [`Description`] describes, on the CPU: a ragged batch of rows in, logits out.
//!
//! A row's logits do not depend on the rows beside it, nor on how its prompt was cut into batches.

mod arithmetic;
mod attention;
mod cache;
#[cfg(test)]
mod families;
mod matrix;
mod page;
mod prefixes;
mod weights;

use std::ops::Range;

pub(crate) use cache::{KvCache, SequenceId, Snapshot};
pub(crate) use matrix::Matrix;
pub use page::CacheType;
pub(crate) use page::PageShape;

use crate::description::Description;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::kernels::Lines;
use crate::threads::Threads;
use arithmetic::{add, rms_norm, rotate, rotation, swiglu};
use attention::attend;
use matrix::{Workspace, multiply};
use weights::{Layer, Weights};

/// One token at one position of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) token: u32,
    pub(crate) sequence: SequenceId,
    pub(crate) position: usize,
    /// Whether the logits after this token are needed.
    pub(crate) wants_logits: bool,
}

/// Activations that one thread norms, turns, adds or gates at a time: fewer are not worth another thread.
const VALUES_EACH: usize = 8 * 1024;

/// A model's weights and the room its forward pass works in.
pub(crate) struct Decoder {
    description: Description,
    weights: Weights,
    threads: Threads,
    room: Room,
}

/// Activations of one batch, kept from one to the next; each `[rows, width]`.
#[derive(Default)]
struct Room {
    residual: Lines,
    normed: Lines,
    queries: Lines,
    keys: Lines,
    values: Lines,
    attended: Lines,
    gate: Lines,
    up: Lines,
    logits: Lines,
    angles: Vec<(f32, f32)>,
    heads: Vec<f32>,
    workspace: Workspace,
}

impl Decoder {
    /// Reads the weights; fails with [`Error::InvalidFile`] or [`Error::UnsupportedModel`].
    pub(crate) fn new(gguf: &Gguf, description: Description, mut threads: Threads) -> Result<Decoder, Error> {
        let weights = Weights::from_gguf(gguf, &description, &mut threads)?;
        Ok(Decoder { description, weights, threads, room: Room::default() })
    }

    /// Bytes of the activations of one row.
    pub(crate) fn row_bytes(description: &Description) -> u64 {
        let Description { hidden, feed_forward, .. } = *description;
        let widths = 2 * (hidden + description.query_width() + description.kv_width() + feed_forward);
        widths as u64 * size_of::<f32>() as u64
    }

    /// What it is.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// One forward pass. Positions of a sequence come in order, and all before them have been computed or are in this
    /// batch. The result is `[rows that want logits, vocabulary]`.
    pub(crate) fn forward(&mut self, rows: &[Row], cache: &mut KvCache) -> Result<&[f32], Error> {
        let Decoder { description, weights, threads, room } = self;
        room.fit(rows.len(), description);
        for (row, residual) in rows.iter().zip(room.residual.chunks_exact_mut(description.hidden)) {
            cache.reserve(row.sequence, row.position);
            weights.embed(row.token, residual)?;
            rotation(&description.rope, weights.rope_factors.as_deref(), row.position, &mut room.angles);
        }
        for (index, layer) in weights.layers.iter().enumerate() {
            attention_block(description, layer, index, rows, cache, threads, room)?;
            feed_forward_block(description, layer, threads, room)?;
        }
        head(description, weights, rows, threads, room)?;
        Ok(&room.logits)
    }

    /// The logits of the last pass, as [`Decoder::forward`] gave them.
    pub(crate) fn logits(&self) -> &[f32] {
        &self.room.logits
    }

    /// Adds up the hidden states after the final norm of some rows of the last pass, by their places in it; `sum` is `[hidden]`, or
    /// empty before the first.
    pub(crate) fn add_hidden(&mut self, rows: Range<usize>, sum: &mut Vec<f64>) {
        let Description { hidden, norm_epsilon, .. } = self.description;
        sum.resize(hidden, 0.0);
        let normed = &mut self.room.normed[..hidden];
        for residual in self.room.residual[rows.start * hidden..rows.end * hidden].chunks_exact(hidden) {
            rms_norm(residual, &self.weights.output_norm, norm_epsilon, normed);
            sum.iter_mut().zip(normed.iter()).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
}

impl Room {
    fn fit(&mut self, rows: usize, description: &Description) {
        for (values, width) in [
            (&mut self.residual, description.hidden),
            (&mut self.normed, description.hidden),
            (&mut self.queries, description.query_width()),
            (&mut self.attended, description.query_width()),
            (&mut self.keys, description.kv_width()),
            (&mut self.values, description.kv_width()),
            (&mut self.gate, description.feed_forward),
            (&mut self.up, description.feed_forward),
        ] {
            values.resize(rows * width);
        }
        self.angles.clear();
    }
}

fn attention_block(
    description: &Description,
    layer: &Layer,
    index: usize,
    rows: &[Row],
    cache: &mut KvCache,
    threads: &mut Threads,
    room: &mut Room,
) -> Result<(), Error> {
    let Description { head_size, rope, .. } = description;
    norm(&room.residual, &layer.attention_norm, description.norm_epsilon, &mut room.normed, threads);
    let mut products =
        [(&layer.query, &mut room.queries[..]), (&layer.key, &mut room.keys[..]), (&layer.value, &mut room.values[..])];
    multiply(&mut products, &room.normed, &mut room.workspace, threads)?;
    if let Some([query_norm, key_norm]) = &layer.qk_norm {
        norm_heads(&mut room.queries, query_norm, description.norm_epsilon, &mut room.heads);
        norm_heads(&mut room.keys, key_norm, description.norm_epsilon, &mut room.heads);
    }

    let (query_width, kv_width) = (description.query_width(), description.kv_width());
    let queries = room.queries.chunks_exact_mut(query_width);
    let keys = room.keys.chunks_exact_mut(kv_width);
    let angles = room.angles.chunks_exact(rope.dimensions / 2);
    let mut turned: Vec<_> = queries.zip(keys).zip(angles).collect();
    threads.chunks(&mut turned, (VALUES_EACH / query_width).max(1), |_, rows| {
        for ((queries, keys), angles) in rows {
            rotate(queries, *head_size, rope.pairing, angles);
            rotate(keys, *head_size, rope.pairing, angles);
        }
    });
    let stored = room.keys.chunks_exact(kv_width).zip(room.values.chunks_exact(kv_width));
    for (row, (keys, values)) in rows.iter().zip(stored) {
        cache.store(row.sequence, index, row.position, keys, values);
    }

    attend(description, index, rows, cache, &room.queries, &mut room.attended, threads);
    layer.attention_output.multiply(&room.attended, &mut room.normed, &mut room.workspace, threads)?;
    add_all(&mut room.residual, &room.normed, threads);
    Ok(())
}

/// RMSNorm of each row.
fn norm(input: &[f32], weights: &[f32], epsilon: f32, output: &mut [f32], threads: &mut Threads) {
    let each = (VALUES_EACH / weights.len()).max(1) * weights.len();
    threads.chunks(output, each, |piece, output| {
        rms_norm(&input[piece * each..][..output.len()], weights, epsilon, output);
    });
}

fn add_all(output: &mut [f32], input: &[f32], threads: &mut Threads) {
    threads.chunks(output, VALUES_EACH, |piece, output| add(output, &input[piece * VALUES_EACH..][..output.len()]));
}

/// RMSNorm of every head, in place.
fn norm_heads(heads: &mut [f32], weights: &[f32], epsilon: f32, before: &mut Vec<f32>) {
    before.clear();
    before.extend_from_slice(heads);
    rms_norm(before, weights, epsilon, heads);
}

fn feed_forward_block(
    description: &Description,
    layer: &Layer,
    threads: &mut Threads,
    room: &mut Room,
) -> Result<(), Error> {
    norm(&room.residual, &layer.feed_forward_norm, description.norm_epsilon, &mut room.normed, threads);
    let mut products = [(&layer.gate, &mut room.gate[..]), (&layer.up, &mut room.up[..])];
    multiply(&mut products, &room.normed, &mut room.workspace, threads)?;
    let up = &room.up;
    threads.chunks(&mut room.gate, VALUES_EACH, |piece, gate| {
        swiglu(gate, &up[piece * VALUES_EACH..][..gate.len()]);
    });
    layer.down.multiply(&room.gate, &mut room.normed, &mut room.workspace, threads)?;
    add_all(&mut room.residual, &room.normed, threads);
    Ok(())
}

/// Logits of the rows that want them.
fn head(
    description: &Description,
    weights: &Weights,
    rows: &[Row],
    threads: &mut Threads,
    room: &mut Room,
) -> Result<(), Error> {
    let hidden = description.hidden;
    let mut wanted = 0;
    for (row, residual) in rows.iter().zip(room.residual.chunks_exact(hidden)) {
        if row.wants_logits {
            let normed = &mut room.normed[wanted * hidden..(wanted + 1) * hidden];
            rms_norm(residual, &weights.output_norm, description.norm_epsilon, normed);
            wanted += 1;
        }
    }
    let output = weights.output();
    room.logits.resize(wanted * output.outputs());
    if wanted > 0 {
        output.multiply(&room.normed[..wanted * hidden], &mut room.logits, &mut room.workspace, threads)?;
    }
    Ok(())
}

#[cfg(all(test, feature = "moonlet"))]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::process::Command;
    use std::sync::Arc;

    use super::*;
    use crate::gguf::ModelBytes;
    use crate::kernels::{InstructionSet, VARIABLE};

    const TYPES: [CacheType; 2] = [CacheType::F16, CacheType::Q8_0];

    fn moonlet(threads: usize, cache_type: CacheType) -> (Decoder, KvCache) {
        let bytes = Arc::new(ModelBytes::bundled(crate::moonlet().expect("the feature is on")));
        let gguf = Gguf::parse(bytes).expect("moonlet is sound");
        let description = Description::from_gguf(&gguf).expect("moonlet runs");
        let cache = KvCache::new(PageShape::of(&description, cache_type), 0);
        (Decoder::new(&gguf, description, Threads::new(threads)).expect("moonlet runs"), cache)
    }

    fn tokens(length: usize, seed: usize) -> Vec<u32> {
        (0..length).map(|index| ((index * 7919 + seed * 104_729) % 1400 + 20) as u32).collect()
    }

    /// The logits after each token when the sequence runs alone, one token a pass.
    fn alone(decoder: &mut Decoder, cache: &mut KvCache, tokens: &[u32]) -> Vec<Vec<f32>> {
        let (sequence, _) = cache.open("", &[]);
        let step = |(position, token): (usize, &u32)| {
            let row = Row { token: *token, sequence, position, wants_logits: true };
            decoder.forward(&[row], cache).expect("a pass").to_vec()
        };
        let logits = tokens.iter().enumerate().map(step).collect();
        cache.close(sequence);
        logits
    }

    /// Sixteen prompts of different lengths, some of which begin alike, and what a session knows before: how they begin.
    fn batch() -> ([Vec<u32>; 16], Vec<u32>) {
        let known = tokens(40, 0);
        let prompt = |index: usize| {
            let mut prompt = tokens(3 + index * 11 % 47, index + 1);
            if index.is_multiple_of(3) {
                let shared = prompt.len() * index / 16;
                prompt[..shared.min(40)].copy_from_slice(&known[..shared.min(40)]);
            }
            prompt
        };
        (std::array::from_fn(prompt), known)
    }

    #[test]
    fn logits_are_the_same_bits_alone_in_chunks_in_a_batch_with_known_prefixes_and_on_more_threads() {
        TYPES.into_iter().for_each(bits_are_the_same);
    }

    fn bits_are_the_same(cache_type: CacheType) {
        let (prompts, known) = batch();
        let (mut decoder, mut cache) = moonlet(1, cache_type);
        let expected = prompts.each_ref().map(|prompt| alone(&mut decoder, &mut cache, prompt));

        let (mut decoder, mut cache) = moonlet(3, cache_type);
        cache = KvCache::new(cache.shape(), cache.shape().bytes(1024));
        let (before, _) = cache.open("a", &[]);
        let row = |position: usize| Row { token: known[position], sequence: before, position, wants_logits: false };
        decoder.forward(&(0..known.len()).map(row).collect::<Vec<_>>(), &mut cache).expect("a pass");
        cache.keep("a", before, &known);

        let opened = prompts.each_ref().map(|prompt| cache.open("a", &prompt[..prompt.len() - 1]));
        assert!(opened.iter().filter(|(_, known)| *known > 0).count() >= 4, "{opened:?}");
        let mut done = opened.map(|(_, known)| known);
        let lengths = prompts.each_ref().map(Vec::len);
        // Chunks of different lengths, so that sequences enter and leave the batch at different steps.
        let mut step = 0;
        while done != lengths {
            step += 1;
            let mut rows = Vec::new();
            let mut wanted = Vec::new();
            for (index, prompt) in prompts.iter().enumerate() {
                let chunk = (step * 7 + index * 5) % 13;
                for position in done[index]..(done[index] + chunk).min(prompt.len()) {
                    let (token, sequence) = (prompt[position], opened[index].0);
                    rows.push(Row { token, sequence, position, wants_logits: true });
                    wanted.push(&expected[index][position]);
                    done[index] += 1;
                }
            }
            if rows.is_empty() {
                continue;
            }
            let logits = decoder.forward(&rows, &mut cache).expect("a pass").to_vec();
            for (found, expected) in logits.chunks(logits.len() / rows.len()).zip(wanted) {
                assert!(found == expected);
            }
        }
        let mut digest = DefaultHasher::new();
        expected.iter().flatten().flatten().for_each(|logit| logit.to_bits().hash(&mut digest));
        println!("{DIGEST}{:x}", digest.finish());
    }

    const DIGEST: &str = "digest of all logits: ";

    /// A process has one instruction set, so each runs the test above in one of its own.
    #[test]
    fn logits_are_the_same_bits_on_every_instruction_set() {
        let mut digests = Vec::new();
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let test = "logits_are_the_same_bits_alone_in_chunks_in_a_batch_with_known_prefixes_and_on_more_threads";
            let run = Command::new(std::env::current_exe().expect("this test's binary"))
                .args(["--exact", &format!("decoder::tests::{test}"), "--nocapture"])
                .env(VARIABLE, set.name())
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success(), "{set:?}: {said}{}", String::from_utf8_lossy(&run.stderr));
            let of_each_type = said.lines().filter_map(|line| Some(line.split_once(DIGEST)?.1.to_owned()));
            let of_each_type: Vec<String> = of_each_type.collect();
            assert_eq!(of_each_type.len(), TYPES.len(), "{said}");
            digests.push((set, of_each_type));
        }
        assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "{digests:?}");
    }

    #[test]
    fn a_known_prefix_gives_the_same_bits_and_changing_it_changes_nobody_else() {
        TYPES.into_iter().for_each(a_known_prefix_gives_the_same_bits);
    }

    fn a_known_prefix_gives_the_same_bits(cache_type: CacheType) {
        let (mut decoder, mut cache) = moonlet(2, cache_type);
        cache = KvCache::new(cache.shape(), cache.shape().bytes(320));
        let prompt = tokens(100, 1);
        let mut other = prompt.clone();
        other[75] = 21;
        let expected: Vec<_> = [&prompt, &other].map(|tokens| alone(&mut decoder, &mut cache, tokens)).into();

        // What is left of `tokens` in one pass, from what the session knows.
        let mut rest = |cache: &mut KvCache, session: &str, tokens: &[u32]| {
            let (sequence, known) = cache.open(session, &tokens[..tokens.len() - 1]);
            let row = |position| Row { token: tokens[position], sequence, position, wants_logits: true };
            let rows: Vec<Row> = (known..tokens.len()).map(row).collect();
            let logits = decoder.forward(&rows, cache).expect("a pass").to_vec();
            cache.keep(session, sequence, tokens);
            (sequence, known, logits.chunks(logits.len() / rows.len()).map(<[f32]>::to_vec).collect::<Vec<_>>())
        };
        let mut open = Vec::new();
        for (session, tokens, expected, expected_known) in [
            ("a", &prompt, &expected[0], 0),
            ("b", &prompt, &expected[0], 0),
            // Both stay under way while others begin where they did, and go on differently within a page.
            ("a", &prompt, &expected[0], 99),
            ("a", &other, &expected[1], 75),
            ("a", &prompt, &expected[0], 99),
            ("a", &other, &expected[1], 99),
            ("", &prompt, &expected[0], 0),
            ("", &prompt, &expected[0], 0),
        ] {
            let (sequence, known, logits) = rest(&mut cache, session, tokens);
            assert_eq!(known, expected_known);
            assert!(logits == expected[known..]);
            open.push(sequence);
        }
        open.into_iter().for_each(|sequence| cache.close(sequence));
    }

    #[test]
    fn pages_stay_within_the_budget_and_those_in_use_stay() {
        let (mut decoder, mut cache) = moonlet(2, CacheType::F16);
        cache = KvCache::new(cache.shape(), cache.shape().bytes(160));
        let mut run = |cache: &mut KvCache, tokens: &[u32]| {
            let (sequence, known) = cache.open("a", &tokens[..tokens.len() - 1]);
            let row = |position| Row { token: tokens[position], sequence, position, wants_logits: false };
            let rows: Vec<Row> = (known..tokens.len()).map(row).collect();
            decoder.forward(&rows, cache).expect("a pass");
            cache.keep("a", sequence, tokens);
            (sequence, known)
        };
        let first = tokens(70, 0);
        let (held, _) = run(&mut cache, &first);
        for seed in 1..20 {
            let (sequence, known) = run(&mut cache, &tokens(64, seed));
            assert_eq!(known, 0, "seed {seed} begins with another token");
            cache.close(sequence);
            assert_eq!(cache.pages_in_memory(), 5);
        }
        // The last one is known still, and so is the one in use.
        let (sequence, known) = run(&mut cache, &tokens(64, 19));
        assert_eq!(known, 63);
        cache.close(sequence);
        cache.close(held);
        let (held, known) = run(&mut cache, &first);
        assert_eq!(known, 69);
        // More than the budget while it is needed, and not for longer.
        let (sequence, _) = run(&mut cache, &tokens(320, 30));
        assert!(cache.pages_in_memory() >= 10);
        cache.close(sequence);
        assert_eq!(cache.pages_in_memory(), 5);
        cache.close(held);
        // What comes from elsewhere takes the place of what was used before it.
        let prompt = tokens(70, 31);
        let (sequence, _) = run(&mut cache, &prompt);
        let elsewhere = [(); 3].map(|()| {
            let (original, mut bytes) = (cache.snapshot(sequence, &prompt), Vec::new());
            let mut copy = Snapshot::blank(cache.shape(), prompt.clone());
            for position in 0..prompt.len() {
                original.read(position, &mut bytes);
                copy.write(position, &bytes);
            }
            copy
        });
        cache.close(sequence);
        for (session, snapshot) in ["a", "b", "b"].into_iter().zip(elsewhere) {
            cache.adopt(session, snapshot);
            assert_eq!(cache.pages_in_memory(), 5);
            let (sequence, known) = cache.open(session, &prompt);
            assert_eq!(known, prompt.len());
            cache.close(sequence);
        }
    }

    #[test]
    fn only_rows_that_want_logits_get_them() {
        let (mut decoder, mut cache) = moonlet(1, CacheType::F16);
        let (sequence, _) = cache.open("", &[]);
        let row = |position, wants_logits| Row { token: 30, sequence, position, wants_logits };
        let vocabulary = decoder.description().vocabulary;
        assert_eq!(decoder.forward(&[row(0, false)], &mut cache).expect("a pass").len(), 0);
        assert_eq!(decoder.forward(&[row(1, false), row(2, true)], &mut cache).expect("a pass").len(), vocabulary);
    }
}
