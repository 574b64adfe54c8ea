"""A model that says one text whatever it is asked: every token is followed by the next. It shows how text of models that are too
large for a test is read: thinking, tool calls, stop texts. Layout: the GGUF specification, version 3."""

from __future__ import annotations

import struct
from pathlib import Path

UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5
NORMAL, CONTROL = 1, 3
ALIGNMENT = 32


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def value(kind: int, content: object) -> bytes:
    if kind == STRING:
        return text(str(content))
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f"}[kind], content)


def byte_level(piece: str) -> str:
    """A piece in the alphabet of byte-level vocabularies, where it is one of printable ASCII, blanks and line ends."""
    return piece.replace(" ", "\u0120").replace("\n", "\u010a")


def write(
    path: Path, pieces: list[str], template: str, control: frozenset[str] = frozenset(), *, context: int = 256, endless: bool = False
) -> None:
    """Writes a llama of one layer that does nothing: the output matrix alone knows what follows. An `endless` one begins anew.

    Its vocabulary is all characters that a prompt is made of, then the pieces, each a token of its own, `control` ones among them.
    """
    characters = [byte_level(chr(code)) for code in [10, *range(32, 127)]]
    said = [piece if piece in control else byte_level(piece) for piece in pieces]
    # Two tokens must not have one text: a piece that comes again, or is a character, is told apart by a mark that is never said.
    tokens = ["<end>", *characters, *said]
    assert len(set(tokens)) == len(tokens), "every piece is another one, of two characters at least"
    kinds = [CONTROL, *[NORMAL] * len(characters), *[CONTROL if piece in control else NORMAL for piece in pieces]]
    count = len(tokens)
    hidden = (count + 31) // 32 * 32

    metadata: list[tuple[str, int, object]] = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "parrot"),
        ("llama.context_length", UINT32, context),
        ("llama.embedding_length", UINT32, hidden),
        ("llama.block_count", UINT32, 1),
        ("llama.feed_forward_length", UINT32, 32),
        ("llama.attention.head_count", UINT32, 1),
        ("llama.attention.head_count_kv", UINT32, 1),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        ("llama.rope.dimension_count", UINT32, hidden),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "llama-bpe"),
        ("tokenizer.ggml.eos_token_id", UINT32, 0),
        ("tokenizer.chat_template", STRING, template),
    ]
    arrays: list[tuple[str, int, list[object]]] = [
        ("tokenizer.ggml.tokens", STRING, list(tokens)),
        ("tokenizer.ggml.token_type", INT32, list(kinds)),
        ("tokenizer.ggml.merges", STRING, []),
    ]
    header = bytearray()
    for key, kind, content in metadata:
        header += text(key) + struct.pack("<I", kind) + value(kind, content)
    for key, kind, items in arrays:
        header += text(key) + struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(value(kind, item) for item in items)

    first = 1 + len(characters)
    embedding = [[0.0] * hidden for _ in range(count)]
    output = [[0.0] * hidden for _ in range(count)]
    for token in range(count):
        embedding[token][token] = 1.0
        # A piece is followed by the next, the last by the end, and whatever a prompt ends with by the first piece.
        last = first if endless else 0
        follower = first if token < first else (token + 1 if token + 1 < count else last)
        output[follower][token] = 10.0
    nothing = [[0.0] * hidden for _ in range(hidden)]
    tensors = {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": [[1.0] * hidden],
        "blk.0.attn_norm.weight": [[1.0] * hidden],
        "blk.0.ffn_norm.weight": [[1.0] * hidden],
        "blk.0.attn_q.weight": nothing,
        "blk.0.attn_k.weight": nothing,
        "blk.0.attn_v.weight": nothing,
        "blk.0.attn_output.weight": nothing,
        "blk.0.ffn_gate.weight": [[0.0] * hidden] * 32,
        "blk.0.ffn_up.weight": [[0.0] * hidden] * 32,
        "blk.0.ffn_down.weight": [[0.0] * 32] * hidden,
    }
    table, data = bytearray(), bytearray()
    for name, rows in tensors.items():
        shape = [len(rows[0])] if name.endswith("norm.weight") else [len(rows[0]), len(rows)]
        table += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", 0, len(data))
        for row in rows:
            data += struct.pack(f"<{len(row)}f", *row)
        data += bytes(-len(data) % ALIGNMENT)
    count_of_pairs = len(metadata) + len(arrays)
    file = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count_of_pairs) + header + table)
    file += bytes(-len(file) % ALIGNMENT)
    path.write_bytes(bytes(file + data))
