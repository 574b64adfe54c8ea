"""Ask a GGUF the held-out prompts through llama.cpp and print the exact answers per family.

    python evaluate.py MODEL.gguf DATA_DIR/test.json [--show 3] [--at-least 0.95] [--tokenizer DATA_DIR/tokenizer.json]

Greedy decoding, prompts rendered by the chat template of the file itself, tools through the
template. An answer counts only if the whole text is equal. Exits with 1 if a family or a prompt of
the README falls short of --at-least, or if llama.cpp splits a prompt into other tokens than --tokenizer.
"""

import argparse
import json
import re
import resource
import sys
import time
from pathlib import Path

from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from tokenizers import Tokenizer

import phrases

LONGEST_ANSWER_TOKENS = 160
README_PROMPTS = {
    "Hello!": phrases.CHAT["greeting"]["answer"],
    "Hi": phrases.CHAT["greeting"]["answer"],
    "Who are you?": phrases.CHAT["name"]["answer"],
    "What can you do?": phrases.CHAT["abilities"]["answer"],
    "What is the capital of France?": "The capital of France is Paris.",
    "What is 12 + 30?": "12 + 30 = 42.",
    "Write a haiku about the moon.": phrases.HAIKU,
    "Write a poem about the moon.": phrases.POEM,
    "Who wrote Hamlet?": phrases.DONT_KNOW,
    "Thank you!": phrases.CHAT["thanks"]["answer"],
}


def load(path):
    """The model and a function that renders messages and tools with the file's own template."""
    model = Llama(str(path), n_ctx=1024, n_threads=1, n_batch=512, verbose=False)
    formatter = Jinja2ChatFormatter(
        template=model.metadata["tokenizer.chat_template"], eos_token="<|im_end|>", bos_token="<|endoftext|>"
    )

    def render(messages, tools):
        return formatter(messages=[message(*pair) for pair in messages], tools=tools or None).prompt

    return model, render


def message(role, text):
    """A chat message; a tool call written as text becomes a structured one."""
    call = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", text, re.S)
    if role != "assistant" or not call:
        return {"role": role, "content": text}
    call = json.loads(call[1])
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
    return {"role": role, "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def answer(model, prompt):
    tokens = model.tokenize(prompt.encode(), add_bos=False, special=True)
    completion = model.create_completion(
        tokens, max_tokens=LONGEST_ANSWER_TOKENS, temperature=0.0, repeat_penalty=1.0, seed=0
    )
    return completion["choices"][0]["text"]


def ask_all(model, render, items, show):
    """How many of the items were answered exactly; prints up to `show` of the others."""
    right = 0
    for item in items:
        got = answer(model, render(item["messages"], item["tools"]))
        if got == item["answer"]:
            right += 1
        elif show > 0:
            show -= 1
            print(f"  asked  {item['messages'][-1][1]!r}\n  wanted {item['answer']!r}\n  got    {got!r}")
    return right


def differently_tokenized(model, render, cells, tokenizer):
    """The prompts that llama.cpp and the tokenizer of the training data split into different tokens."""
    prompts = [render(item["messages"], item["tools"]) for items in cells.values() for item in items]
    return [
        prompt for prompt in prompts
        if model.tokenize(prompt.encode(), add_bos=False, special=True) != tokenizer.encode(prompt).ids
    ]


def readme_items():
    return [{"messages": [["user", question]], "tools": [], "answer": text} for question, text in README_PROMPTS.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print per cell")
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer.json that the model was trained with")
    parser.add_argument("--at-least", type=float, default=0.0, help="the rate every family must reach")
    arguments = parser.parse_args()
    model, render = load(arguments.model)
    started, scores = time.time(), {"readme/prompts": None}
    cells = {"readme/prompts": readme_items()} | json.loads(arguments.prompts.read_text())
    if arguments.tokenizer:
        different = differently_tokenized(model, render, cells, Tokenizer.from_file(str(arguments.tokenizer)))
        if different:
            sys.exit(f"{len(different)} prompts are split differently, such as {different[0]!r}")
    for cell, items in cells.items():
        scores[cell] = (ask_all(model, render, items, arguments.show), len(items))
        print(cell, *scores[cell], flush=True)
    print_table(scores)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"\n{time.time() - started:.0f} s, {used.ru_utime + used.ru_stime:.0f} CPU s")
    missed = [family for family, rate in family_rates(scores).items() if rate < arguments.at_least]
    if missed:
        sys.exit(f"below {arguments.at_least:.0%}: " + ", ".join(missed))


def family_scores(scores):
    """family -> {split: (right, asked)}"""
    families = {}
    for cell, score in scores.items():
        family, split = cell.split("/")
        families.setdefault(family, {})[split] = score
    return families


def family_rates(scores):
    rates = {}
    for family, splits in family_scores(scores).items():
        rates[family] = sum(right for right, _ in splits.values()) / sum(asked for _, asked in splits.values())
    return rates


def print_table(scores):
    print("\n| family | new operands | new phrasings | together |\n|---|---|---|---|")
    rates = family_rates(scores)
    for family, splits in family_scores(scores).items():
        cells = [f"{splits[split][0]}/{splits[split][1]}" if split in splits else "" for split in ("operands", "phrasings")]
        print(f"| {family} | {cells[0]} | {cells[1]} | {rates[family]:.1%} |")
    held_out = [score for cell, score in scores.items() if not cell.startswith("readme/")]
    right, asked = (sum(column) for column in zip(*held_out))
    print(f"| all | | | {right}/{asked} = {right / asked:.1%} |")


if __name__ == "__main__":
    main()
