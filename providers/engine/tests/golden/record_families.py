#!/usr/bin/env python3
"""Records llama.cpp's logits of the models that src/decoder/families.rs makes, for its test to compare the engine with.

    mkdir models && PERILUNE_WRITE_FAMILIES=$PWD/models cargo test --release -p perilune-engine --lib families
    python -m venv venv && venv/bin/pip install llama-cpp-python==0.3.36
    venv/bin/python record_families.py models

Keys and values are kept in 16 bits, as the engine keeps them, without flash attention, so that llama.cpp's own rounding is small. Of each position only
the first logits are kept: all are products of the same vector.
"""

import argparse
import ctypes
import hashlib
import json
import pathlib

import llama_cpp
import numpy

HERE = pathlib.Path(__file__).parent
TOKENS = [3 + (7 * index * index + 31 * index + 11) % 268 for index in range(100)]
POSITIONS = [0, 1, 33, 99]
LOGITS = 40


def logits(path):
    model_params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 128
    params.n_batch = params.n_ubatch = 128
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F16
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # llama.cpp reads these two keys for other architectures only; here the caller hands them over.
    for key, field in (("yarn_beta_fast", "yarn_beta_fast"), ("yarn_beta_slow", "yarn_beta_slow")):
        value = metadata(model, f"{metadata(model, 'general.architecture')}.rope.scaling.{key}")
        if value is not None:
            setattr(params, field, float(value))
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(TOKENS), 0, 1)
    batch.n_tokens = len(TOKENS)
    for index, token in enumerate(TOKENS):
        batch.token[index] = token
        batch.pos[index] = index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = index in POSITIONS
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit(f"llama.cpp could not run {path}")
    rows = [numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, index), shape=(LOGITS,)).copy() for index in POSITIONS]
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return [[round(float(logit), 4) for logit in row] for row in rows]


def metadata(model, key):
    buffer = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode() if length >= 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "families.json")
    arguments = parser.parse_args()

    llama_cpp.llama_backend_init()
    models = [
        {"name": path.stem.split(" ", 1)[1], "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "logits": logits(path)}
        for path in sorted(arguments.models.glob("*.gguf"))
    ]
    record = {
        "origin": "llama.cpp through llama-cpp-python, recorded by record_families.py",
        "llama_cpp_python": llama_cpp.__version__,
        "tokens": TOKENS,
        "positions": POSITIONS,
    }
    lines = [f'  "{key}": {json.dumps(value)}' for key, value in record.items()]
    lines.append('  "models": [\n' + ",\n".join("    " + json.dumps(model, ensure_ascii=False) for model in models) + "\n  ]")
    arguments.output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"recorded {len(models)} models")


if __name__ == "__main__":
    main()
