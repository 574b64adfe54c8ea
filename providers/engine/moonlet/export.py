"""Write a checkpoint as GGUF (architecture "llama").

    python export.py DATA_DIR RUN_DIR/moonlet.npz OUT.gguf --type q8_0
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

from bpe import CONTROL, MARKUP
from train import MODEL

TEMPLATE = Path(__file__).with_name("chat_template.jinja")
FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
LAYER_TENSORS = {
    "attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v",
    "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}


def interleave(weight, heads):
    """Rows of q or k: from train.py's half-split rotation to the pairs (2i, 2i+1) of GGUF's llama."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weight.shape)


def tensors(checkpoint):
    """GGUF's `(name, [out, in] array)` pairs; there is no output.weight, for the head is tied."""
    yield "token_embd.weight", checkpoint["['embedding']"]
    yield "output_norm.weight", checkpoint["['norm']"]
    for layer in range(MODEL["layers"]):
        for ours, theirs in LAYER_TENSORS.items():
            weight = checkpoint[f"['layers'][{layer}]['{ours}']"].T
            if ours in ("q", "k"):
                weight = interleave(weight, MODEL["heads" if ours == "q" else "kv_heads"])
            yield f"blk.{layer}.{theirs}.weight", np.ascontiguousarray(weight)


def add_description(writer, file_type):
    writer.add_name("moonlet")
    writer.add_description("A tiny model for offline demos and tests")
    writer.add_license("CC0-1.0")
    writer.add_file_type(FILE_TYPES[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(MODEL["context"])
    writer.add_embedding_length(MODEL["dim"])
    writer.add_block_count(MODEL["layers"])
    writer.add_feed_forward_length(MODEL["ffn"])
    writer.add_head_count(MODEL["heads"])
    writer.add_head_count_kv(MODEL["kv_heads"])
    writer.add_layer_norm_rms_eps(MODEL["rms_eps"])
    writer.add_rope_freq_base(MODEL["rope_freq_base"])
    writer.add_rope_dimension_count(MODEL["dim"] // MODEL["heads"])


def token_type(token):
    if token in CONTROL:
        return gguf.TokenType.CONTROL
    if token in MARKUP:
        return gguf.TokenType.USER_DEFINED
    return gguf.TokenType.UNUSED if token.startswith("<|unused_") else gguf.TokenType.NORMAL


def add_tokenizer(writer, model):
    vocabulary = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([token_type(token) for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_eos_token_id(vocabulary.index("<|im_end|>"))
    writer.add_pad_token_id(vocabulary.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE.read_text())


def add_tensor(writer, name, array, file_type):
    """Norms stay F32; matrices take the file's type."""
    if array.ndim == 1:
        writer.add_tensor(name, array.astype(np.float32))
    elif file_type == "f16":
        writer.add_tensor(name, array.astype(np.float16))
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(array.astype(np.float32), kind), raw_dtype=kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=FILE_TYPES, default="q8_0")
    arguments = parser.parse_args()
    writer = gguf.GGUFWriter(arguments.out, "llama")
    add_description(writer, arguments.type)
    add_tokenizer(writer, json.loads((arguments.data / "tokenizer.json").read_text())["model"])
    for name, array in tensors(np.load(arguments.checkpoint)):
        add_tensor(writer, name, array, arguments.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(arguments.out, arguments.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
