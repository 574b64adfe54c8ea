"""Moonlet's tokenizer: byte-level BPE for the pre-tokenizer that llama.cpp calls "qwen2".

Words do not merge with the space before them, so that a name is the same tokens everywhere and
copying it is easy. Only frequent lower-case words of the phrasings get a merge with their space,
of the last rank. Digits stay single.
"""

import json
import re
from collections import Counter

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKUP = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
VOCABULARY = 1536
ROOM_FOR_SPACED_WORDS = 192
SHORT_SPACED_WORDS = {"is", "of", "in", "and", "a"}
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_WORDS_ALONE = QWEN2.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{L}+")
SPACE = "\u0120"


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def tokenizer(model, pattern):
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level()])
    made.decoder = decoders.ByteLevel()
    return made


def without_markup(text):
    return re.sub("|".join(re.escape(token) for token in CONTROL + MARKUP), "\n", text)


def train(texts, slot_words):
    """Train on `texts`; `slot_words` are the names and nouns that must never merge with a space."""
    texts = [without_markup(text) for text in texts]
    base = tokenizer(models.BPE(), QWEN2_WORDS_ALONE)
    base.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY - ROOM_FOR_SPACED_WORDS, min_frequency=3, special_tokens=CONTROL + MARKUP,
        initial_alphabet=byte_level().alphabet(), show_progress=False,
    ))
    model = json.loads(base.to_str())["model"]
    vocabulary = model["vocab"]
    merges = [tuple(merge) for merge in model["merges"]]
    add_spaced_words(vocabulary, merges, texts, set(slot_words))
    for number in range(VOCABULARY - len(vocabulary)):
        vocabulary[f"<|unused_{number}|>"] = len(vocabulary)
    made = tokenizer(models.BPE(vocabulary, merges), QWEN2)
    made.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROL + MARKUP])
    return made


def add_spaced_words(vocabulary, merges, texts, slot_words):
    """Give frequent lower-case words a merge with the space before them, until the vocabulary is full."""
    counts = Counter(word for text in texts for word in re.findall(r" ([a-z]+)", text))
    for word, _ in counts.most_common():
        if len(vocabulary) == VOCABULARY:
            return
        long_enough = len(word) > 2 or word in SHORT_SPACED_WORDS
        if word in vocabulary and word not in slot_words and long_enough:
            vocabulary[SPACE + word] = len(vocabulary)
            merges.append((SPACE, word))
