//! Small models made of a fuzzer's bytes: a sound one of some shape first, then changes to it, each a few bytes. What begins
//! with `GGUF` is a file already. It writes the format by itself, so that it can write what the engine's own writer cannot.

/// A model file that is being put together.
struct Draft {
    values: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<Tensor>,
    data: Vec<u8>,
}

struct Tensor {
    name: String,
    /// The contiguous one first, as in the file.
    dimensions: Vec<u64>,
    kind: u32,
    offset: u64,
}

/// Number of a tensor type in the file, weights and bytes of its blocks.
const TYPES: [(u32, u64, u64); 13] = [
    (8, 32, 34),
    (0, 1, 4),
    (1, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (30, 1, 2),
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
];
const U32: u32 = 4;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Keys after the architecture's name, and whole ones.
const KEYS: [&str; 28] = [
    ".context_length",
    ".embedding_length",
    ".block_count",
    ".feed_forward_length",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".attention.key_length",
    ".attention.value_length",
    ".attention.layer_norm_rms_epsilon",
    ".rope.dimension_count",
    ".rope.freq_base",
    ".rope.scaling.type",
    ".rope.scaling.factor",
    ".rope.scaling.original_context_length",
    ".rope.scale_linear",
    "general.architecture",
    "general.alignment",
    "general.name",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.chat_template",
];
const NUMBERS: [u64; 16] =
    [0, 1, 2, 3, 7, 32, 255, 256, 1 << 12, 1 << 20, 1 << 26, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 62, u64::MAX];
const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}<|im_start|>assistant\n";

/// Takes bytes from the front; zeros when there are none left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, most: usize) -> usize {
        usize::from(self.byte()) % most.max(1)
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            low @ 0..128 => NUMBERS[usize::from(low) % NUMBERS.len()],
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn text(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text.to_vec()
    }
}

/// The model file that `bytes` stand for.
pub fn file(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(b"GGUF") {
        return bytes.to_vec();
    }
    let mut bytes = Bytes(bytes);
    let mut draft = sound(&mut bytes);
    let mut damages: Vec<(usize, u8)> = Vec::new();
    let mut length = usize::MAX;
    while !bytes.0.is_empty() {
        let key = |bytes: &mut Bytes<'_>, draft: &Draft| {
            let name = KEYS[bytes.below(KEYS.len())];
            if name.starts_with('.') { format!("{}{name}", draft.architecture()) } else { name.to_owned() }
        };
        match bytes.byte() % 15 {
            0 => {
                let (key, kind, number) = (key(&mut bytes, &draft), u32::from(bytes.byte() % 14), bytes.number());
                let width = [1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8, 0][kind as usize];
                draft.set(&key, kind, number.to_le_bytes()[..width].to_vec());
            }
            1 => {
                let (key, text) = (key(&mut bytes, &draft), bytes.text(64));
                draft.set(&key, TEXT, prefixed(&text));
            }
            2 => {
                let key = key(&mut bytes, &draft);
                draft.values.retain(|(other, ..)| *other != key);
            }
            3 => {
                let (key, count) = (key(&mut bytes, &draft), bytes.byte());
                let texts: Vec<u8> = (0..count).flat_map(|_| prefixed(&bytes.text(16))).collect();
                draft.set(&key, ARRAY, array(TEXT, u64::from(count), &texts));
            }
            4 => {
                let (key, kind, count) = (key(&mut bytes, &draft), u32::from(bytes.byte() % 14), bytes.number());
                let payload = bytes.text(255);
                draft.set(&key, ARRAY, array(kind, count, &payload));
            }
            5 => {
                let (index, number) = (bytes.byte(), bytes.number());
                let dimension = bytes.below(4);
                draft.tensor(index, |tensor| match tensor.dimensions.get_mut(dimension) {
                    Some(size) => *size = number,
                    None => tensor.dimensions.push(number),
                });
            }
            6 => {
                let (index, kind) = (bytes.byte(), u32::from(bytes.byte() % 48));
                draft.tensor(index, |tensor| tensor.kind = kind);
            }
            7 => {
                let (index, number) = (bytes.byte(), bytes.number());
                draft.tensor(index, |tensor| tensor.offset = number);
            }
            8 => {
                let (index, name) = (bytes.byte(), String::from_utf8_lossy(&bytes.text(32)).into_owned());
                draft.tensor(index, |tensor| tensor.name = name);
            }
            9 => {
                let index = bytes.below(draft.tensors.len());
                if draft.tensors.len() > 1 {
                    draft.tensors.remove(index);
                }
            }
            10 => {
                let at = usize::from(bytes.byte()) << 8 | usize::from(bytes.byte());
                let (length, fill) = (usize::from(bytes.byte()), bytes.byte());
                let end = (at + length).min(draft.data.len());
                draft.data[at.min(end)..end].fill(fill);
            }
            11 => length = usize::from(bytes.byte()) << 8 | usize::from(bytes.byte()),
            12 => {
                let template = bytes.0.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
                bytes.0 = &bytes.0[template.len()..];
                draft.set("tokenizer.chat_template", TEXT, prefixed(&template));
            }
            13 => {
                let (key, kind, number) = (bytes.text(40), u32::from(bytes.byte()), bytes.number());
                draft.values.push((String::from_utf8_lossy(&key).into_owned(), kind, number.to_le_bytes().to_vec()));
            }
            _ => {
                let at = usize::from(bytes.byte()) << 8 | usize::from(bytes.byte());
                damages.push((at, bytes.byte()));
            }
        }
    }
    let mut file = draft.bytes();
    file.truncate(length);
    for (at, damage) in damages {
        if let Some(byte) = file.get_mut(at) {
            *byte ^= damage;
        }
    }
    file
}

/// A sound model; the first bytes choose its shape.
fn sound(bytes: &mut Bytes<'_>) -> Draft {
    let architecture = ["llama", "qwen2", "qwen3"][bytes.below(3)];
    let choice = bytes.byte();
    let bpe = choice & 1 != 0;
    let tied = choice & 2 != 0;
    let (layers, kv_heads) = (u64::from(choice >> 2 & 1) + 1, u64::from(choice >> 3 & 1) + 1);
    let hidden = if choice & 16 != 0 { 256 } else { 32 };
    let heads = kv_heads * (u64::from(choice >> 5 & 1) + 1);
    let head_size = if hidden == 256 { 16 } else { [8, 16, 32][bytes.below(3)] };
    let feed_forward = if choice & 64 != 0 { 32 } else { 64 };
    let mut kinds = [bytes.below(13), bytes.below(13), bytes.below(13)].into_iter().cycle();
    let mut draft = Draft { values: Vec::new(), tensors: Vec::new(), data: Vec::new() };

    let tokens: Vec<String> = tokens(bpe);
    let vocabulary = tokens.len() as u64;
    draft.set("general.architecture", TEXT, prefixed(architecture.as_bytes()));
    for (name, number) in [
        ("context_length", 64),
        ("embedding_length", hidden),
        ("block_count", layers),
        ("feed_forward_length", feed_forward),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_size),
        ("rope.dimension_count", head_size),
    ] {
        draft.set(&format!("{architecture}.{name}"), U32, (number as u32).to_le_bytes().to_vec());
    }
    draft.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), F32, 1e-5f32.to_le_bytes().to_vec());
    let texts: Vec<u8> = tokens.iter().flat_map(|token| prefixed(token.as_bytes())).collect();
    draft.set("tokenizer.ggml.model", TEXT, prefixed(if bpe { b"gpt2" } else { b"llama" }));
    draft.set("tokenizer.ggml.tokens", ARRAY, array(TEXT, vocabulary, &texts));
    if bpe {
        let merges = ["h e", "l l", "he ll", "o Ġ"];
        let texts: Vec<u8> = merges.iter().flat_map(|merge| prefixed(merge.as_bytes())).collect();
        draft.set("tokenizer.ggml.pre", TEXT, prefixed(b"qwen2"));
        draft.set("tokenizer.ggml.merges", ARRAY, array(TEXT, merges.len() as u64, &texts));
    } else {
        let scores: Vec<u8> = (0..vocabulary).flat_map(|index| (-(index as f32)).to_le_bytes()).collect();
        draft.set("tokenizer.ggml.scores", ARRAY, array(F32, vocabulary, &scores));
    }
    let kinds_of_tokens: Vec<u8> =
        (0..vocabulary as i32).flat_map(|id| if id < 3 { 3i32 } else { 1 }.to_le_bytes()).collect();
    draft.set("tokenizer.ggml.token_type", ARRAY, array(5, vocabulary, &kinds_of_tokens));
    draft.set("tokenizer.ggml.bos_token_id", U32, 1u32.to_le_bytes().to_vec());
    draft.set("tokenizer.ggml.eos_token_id", U32, 2u32.to_le_bytes().to_vec());
    draft.set("tokenizer.ggml.add_bos_token", BOOL, vec![1]);
    if choice & 128 == 0 {
        draft.set("tokenizer.chat_template", TEXT, prefixed(TEMPLATE.as_bytes()));
    }

    let mut matrix = |draft: &mut Draft, name: &str, outputs: u64, inputs: u64| {
        let index = kinds.next().unwrap_or_default();
        let fits = |index: &usize| inputs.is_multiple_of(TYPES[*index].1);
        let index = [index, 0, 1].into_iter().find(fits).unwrap_or(1);
        draft.add(name, vec![inputs, outputs], index);
    };
    matrix(&mut draft, "token_embd.weight", vocabulary, hidden);
    draft.add("output_norm.weight", vec![hidden], 1);
    if !tied {
        matrix(&mut draft, "output.weight", vocabulary, hidden);
    }
    for layer in 0..layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (query_width, kv_width) = (heads * head_size, kv_heads * head_size);
        draft.add(&name("attn_norm.weight"), vec![hidden], 1);
        draft.add(&name("ffn_norm.weight"), vec![hidden], 1);
        if architecture == "qwen3" {
            draft.add(&name("attn_q_norm.weight"), vec![head_size], 1);
            draft.add(&name("attn_k_norm.weight"), vec![head_size], 1);
        }
        if architecture == "qwen2" {
            draft.add(&name("attn_q.bias"), vec![query_width], 1);
            draft.add(&name("attn_k.bias"), vec![kv_width], 2);
        }
        for (part, outputs, inputs) in [
            ("attn_q", query_width, hidden),
            ("attn_k", kv_width, hidden),
            ("attn_v", kv_width, hidden),
            ("attn_output", hidden, query_width),
            ("ffn_gate", feed_forward, hidden),
            ("ffn_up", feed_forward, hidden),
            ("ffn_down", hidden, feed_forward),
        ] {
            matrix(&mut draft, &name(&format!("{part}.weight")), outputs, inputs);
        }
    }
    draft
}

fn tokens(bpe: bool) -> Vec<String> {
    let special = ["<unk>", "<s>", "</s>"];
    let pieces: &[&str] = if bpe {
        &["h", "e", "l", "o", "Ġ", "w", "r", "d", "he", "ll", "hell", "oĠ", "Ċ"]
    } else {
        &["\u{2581}", "h", "e", "l", "o", "w", "r", "d", "he", "ll", "hell", "hello", "\u{2581}w", "<0x0A>", "<0xE2>"]
    };
    special.iter().chain(pieces).map(|text| (*text).to_owned()).collect()
}

fn prefixed(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

impl Draft {
    fn architecture(&self) -> String {
        let value = self.values.iter().find(|(key, kind, _)| key == "general.architecture" && *kind == TEXT);
        value.map_or_else(|| "llama".to_owned(), |(.., text)| String::from_utf8_lossy(&text[8..]).into_owned())
    }

    fn set(&mut self, key: &str, kind: u32, value: Vec<u8>) {
        match self.values.iter_mut().find(|(other, ..)| other == key) {
            Some(entry) => *entry = (key.to_owned(), kind, value),
            None => self.values.push((key.to_owned(), kind, value)),
        }
    }

    fn tensor(&mut self, index: u8, change: impl FnOnce(&mut Tensor)) {
        let count = self.tensors.len();
        change(&mut self.tensors[usize::from(index) % count]);
    }

    fn add(&mut self, name: &str, dimensions: Vec<u64>, index: usize) {
        let (kind, weights, bytes) = TYPES[index];
        let length = (dimensions.iter().product::<u64>() / weights * bytes) as usize;
        let offset = self.data.len() as u64;
        // Halves and bytes that are small numbers in every type.
        self.data.extend((0..length).map(|at| if at % 2 == 0 { (at / 2 % 251) as u8 } else { 0x20 }));
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors.push(Tensor { name: name.to_owned(), dimensions, kind, offset });
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.values.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.values {
            file.extend(prefixed(key.as_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend(value);
        }
        for tensor in &self.tensors {
            file.extend(prefixed(tensor.name.as_bytes()));
            file.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|size| file.extend(size.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend(tensor.offset.to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}
