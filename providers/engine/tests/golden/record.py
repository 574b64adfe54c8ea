#!/usr/bin/env python3
"""Records what llama.cpp does with a model, for tests/llama_cpp_golden.rs to compare the engine with.

    python -m venv venv && venv/bin/pip install llama-cpp-python==0.3.36 jinja2
    mkdir models && PERILUNE_WRITE_MOONLETS=$PWD/models cargo test --release --package perilune-engine --test llama_cpp_golden
    venv/bin/python record.py ../../moonlet/moonlet-q8_0.gguf
    venv/bin/python record.py models/moonlet-f16.gguf --output llama_cpp_f16.json
    venv/bin/python record.py models/moonlet-q4_k_m.gguf --output llama_cpp_q4_k_m.json

For each prompt of prompts.json: the chat template rendered by jinja2 set up as `transformers` does it, the prompt's
token ids, and the greedy continuation, token by token: the bytes each adds to the text, and the lead of its logit over the
next one's. (llama.cpp keeps keys and values in 16 bits, so where a lead is tiny another engine may rightly choose otherwise.)
"""

import argparse
import ctypes
import hashlib
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox
import llama_cpp
import numpy

MOST_TOKENS = 48
HERE = pathlib.Path(__file__).parent


def environment():
    """Jinja as `transformers.utils.chat_template_utils._compile_jinja_template` sets it up."""

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def in_template_form(message):
    """Our message as Hugging Face templates expect it."""
    form = {"role": message["role"], "content": message.get("content", "")}
    if message.get("tool_calls"):
        form["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in message["tool_calls"]
        ]
    for key in ("tool_call_id", "name"):
        if key in message:
            form[key] = message[key]
    return form


def render(template, prompt, bos, eos):
    tools = [{"type": "function", "function": tool} for tool in prompt.get("tools", [])]
    messages = [in_template_form(message) for message in prompt["messages"]]
    return template.render(messages=messages, tools=tools or None, bos_token=bos, eos_token=eos, add_generation_prompt=True)


def token_text(model, token):
    return llama_cpp.llama_vocab_get_text(llama_cpp.llama_model_get_vocab(model), token).decode() if token >= 0 else ""


def piece(llama, token):
    """The bytes a token adds to the text; none for a control token."""
    buffer = ctypes.create_string_buffer(1024)
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    length = llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)
    return buffer.raw[:length]


def greedy(llama, tokens):
    """The likeliest continuation, and how far each token's logit led the next one's."""
    vocab = llama_cpp.llama_model_get_vocab(llama.model)
    llama.reset()
    llama.eval(tokens)
    chosen, leads = [], []
    while True:
        logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llama.ctx, -1), shape=(llama.n_vocab(),))
        best = int(logits.argmax())
        second, first = numpy.partition(logits, -2)[-2:]
        chosen.append(best)
        leads.append(round(float(first - second), 4))
        if llama_cpp.llama_vocab_is_eog(vocab, best) or len(chosen) == MOST_TOKENS:
            return chosen, leads
        llama.eval([best])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--prompts", type=pathlib.Path, default=HERE / "prompts.json")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "llama_cpp.json")
    parser.add_argument("--kv", choices=["f16", "f32"], default="f16", help="what llama.cpp keeps keys and values in")
    arguments = parser.parse_args()

    kv_type = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}[arguments.kv]
    llama = llama_cpp.Llama(
        str(arguments.model), n_ctx=1024, n_batch=1024, logits_all=False, flash_attn=False, type_k=kv_type, type_v=kv_type, n_threads=1, verbose=False
    )
    template = environment().from_string(llama.metadata["tokenizer.chat_template"])
    bos, eos = token_text(llama.model, llama.token_bos()), token_text(llama.model, llama.token_eos())

    cases = []
    for prompt in json.loads(arguments.prompts.read_text(encoding="utf-8")):
        rendered = prompt["raw"] if "raw" in prompt else render(template, prompt, bos, eos)
        tokens = llama.tokenize(rendered.encode(), add_bos=not (bos and rendered.startswith(bos)), special=True)
        chosen, leads = greedy(llama, tokens)
        pieces = [piece(llama, token) for token in chosen]
        cases.append(
            {
                "name": prompt["name"],
                "rendered": rendered,
                "prompt_tokens": tokens,
                "greedy_tokens": chosen,
                "leads": leads,
                "piece_bytes": [len(each) for each in pieces],
                "text": b"".join(pieces).decode(errors="replace"),
            }
        )

    record = {
        "origin": "llama.cpp through llama-cpp-python, recorded by record.py",
        "llama_cpp_python": llama_cpp.__version__,
        "keys_and_values": arguments.kv,
        "model_sha256": hashlib.sha256(arguments.model.read_bytes()).hexdigest(),
        "cases": cases,
    }
    lines = [f'  "{key}": {json.dumps(value)}' for key, value in record.items() if key != "cases"]
    lines.append('  "cases": [\n' + ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in cases) + "\n  ]")
    arguments.output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    for case in cases:
        print(f"{case['name']}: {len(case['prompt_tokens'])} tokens, smallest lead {min(case['leads'])}: {case['text']!r}")


if __name__ == "__main__":
    main()
