"""Make moonlet's tokenizer, packed training rows and held-out prompts.

    python corpus.py OUT_DIR

writes tokenizer.json, train.npz, dev.json and test.json. All text comes from these scripts.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import bpe
import families
import phrases
import tools as toolbox
from families import FAMILIES, sample, seeded

# Conversations of each kind, and the tokens of the rows they are packed into.
CONVERSATIONS = {"chat": 48000, "drill": 18000, "tools": 8400}
SHORT_ROW, LONG_ROW = 128, 512
PROMPTS_PER_CELL = 50
SEEDS = {"tokenizer": 1, "chat": 2, "drill": 3, "tools": 4, "order": 5, "dev": 6, "test": 7}


# --- conversations -----------------------------------------------------------------------------

def chat_conversation(draw):
    """One to three exchanges without tools, at times after a system message."""
    messages = [("system", draw.choice(phrases.SYSTEMS))] if draw.chance(0.3) else []
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3])):
        messages += sample(families.any_family(draw), draw).messages
    return messages


def tools_conversation(draw):
    """Two or three exchanges with tools on offer; a bit under half of them need none."""
    kinds = draw.choice([["calculator"], ["weather"], ["calculator", "weather"], ["weather", "calculator"]])
    offered = [toolbox.varied_tool(draw, kind) for kind in kinds]
    system = draw.choice(phrases.SYSTEMS) if draw.chance(0.3) else ""
    lines = [toolbox.schema_text(draw, tool.schema) for tool in offered]
    messages = [("system", toolbox.system_text(system, lines))]
    for _ in range(draw.choice([2, 3, 3])):
        if draw.chance(0.58):
            family = toolbox.use(draw.choice(offered))
        else:
            family = toolbox.not_needed(offered)
        messages += sample(family, draw).messages
    return messages


def drill_conversation(draw):
    """Bare sums, or words and numbers to copy; only the results are learnt."""
    if draw.chance(0.78):
        sums = [sample(families.sum_of_two, draw).messages[1][1] for _ in range(draw.rng.randint(8, 10))]
        return [("drill", line.replace("=", "=\0")) for line in sums]
    copies = [something_to_copy(draw) for _ in range(6)]
    return [("drill", f"{text}:\0 {text}") for text in copies if families.part_of(text) == "train"]


def something_to_copy(draw):
    kind = draw.rng.random()
    if kind < 0.4:
        sign = draw.choice(list(toolbox.OPERATIONS))
        return f"{toolbox.tool_operand(draw)}{sign}{toolbox.tool_operand(draw)}"
    if kind < 0.7:
        return draw.city()
    return draw.choice([draw.person(), draw.invented_word(3, 8)])


CONVERSATION = {"chat": chat_conversation, "drill": drill_conversation, "tools": tools_conversation}


def render(messages):
    """The conversation in ChatML as `(text, learnt)` pieces."""
    pieces = []
    for role, text in messages:
        if role == "drill":
            question, answer = text.split("\0")
            pieces += [(question, 0), (answer, 1), ("\n", 0)]
        elif role == "assistant":
            pieces += [("<|im_start|>assistant\n", 0), (text + "<|im_end|>", 1), ("\n", 0)]
        elif role == "tool":
            pieces.append((f"<|im_start|>user\n<tool_response>\n{text}\n</tool_response><|im_end|>\n", 0))
        else:
            pieces.append((f"<|im_start|>{role}\n{text}<|im_end|>\n", 0))
    return pieces


# --- tokens ------------------------------------------------------------------------------------

def train_tokenizer():
    draw = seeded(SEEDS["tokenizer"], inventing=False)
    texts = []
    for kind, count in (("chat", 20000), ("tools", 3000)):
        for _ in range(count):
            texts.append("".join(text for text, _ in render(CONVERSATION[kind](draw))))
    texts += 2 * (phrases.NO_CAPITAL_KNOWN + phrases.PEOPLE + phrases.NAMES + phrases.CITIES)
    return bpe.train(texts, phrases.NOUNS + phrases.NAMES + phrases.CITIES)


def encode(tokenizer, messages):
    """Token ids and, for each, whether it is learnt."""
    ids, learnt = [], []
    for text, learn in render(messages):
        piece = tokenizer.encode(text).ids
        ids += piece
        learnt += [learn] * len(piece)
    return ids, learnt


def encoded_conversations(tokenizer, kind):
    draw = seeded(SEEDS[kind])
    found = [encode(tokenizer, CONVERSATION[kind](draw)) for _ in range(CONVERSATIONS[kind])]
    lengths = [len(ids) for ids, _ in found]
    print(f"{kind}: {len(found)} conversations, {sum(lengths)} tokens, longest {max(lengths)}")
    return found


def pack(conversations, length):
    """First-fit packing into rows of `length` tokens; returns arrays of shape [rows, length].

    `tok` are token ids, `seg` numbers the conversations of a row (-1 is padding), and `wgt` is 1
    where the next token is to be learnt.
    """
    rows, open_rows = [], []
    for ids, learnt in conversations:
        ids, learnt = ids[:length], learnt[:length]
        row = next((row for row in open_rows if len(row["tok"]) + len(ids) <= length), None)
        if row is None:
            row = {"tok": [], "seg": [], "learnt": []}
            rows.append(row)
            open_rows = (open_rows + [row])[-40:]
        number = row["seg"][-1] + 1 if row["seg"] else 0
        row["tok"] += ids
        row["seg"] += [number] * len(ids)
        row["learnt"] += learnt
    tok, seg, wgt = (np.full((len(rows), length), fill, np.int16) for fill in (0, -1, 0))
    for index, row in enumerate(rows):
        used = len(row["tok"])
        tok[index, :used] = row["tok"]
        seg[index, :used] = row["seg"]
        wgt[index, : used - 1] = row["learnt"][1:]
    wgt[:, :-1] *= seg[:, :-1] == seg[:, 1:]
    return {"tok": tok, "seg": seg, "wgt": wgt}


def training_rows(tokenizer):
    by_kind = {kind: encoded_conversations(tokenizer, kind) for kind in CONVERSATIONS}
    short, long = [], []
    for kind, conversations in by_kind.items():
        for conversation in conversations:
            fits = kind != "tools" and len(conversation[0]) <= SHORT_ROW
            (short if fits else long).append(conversation)
    shuffler = seeded(SEEDS["order"]).rng
    arrays = {}
    for name, conversations, length in (("short", short, SHORT_ROW), ("long", long, LONG_ROW)):
        shuffler.shuffle(conversations)
        packed = pack(conversations, length)
        arrays |= {f"{name}_{key}": value for key, value in packed.items()}
        rows, filled, learnt = len(packed["tok"]), (packed["seg"] >= 0).mean(), packed["wgt"].mean()
        print(f"{name}: {rows} rows of {length}, {filled:.1%} filled, {learnt:.1%} learnt")
    return arrays


# --- held-out prompts --------------------------------------------------------------------------

def prompt(messages, offered=()):
    """A test item: the messages up to the answer, the tools on offer and the answer."""
    return {"messages": messages[:-1], "tools": [tool.schema for tool in offered], "answer": messages[-1][1]}


def plain_prompt(family):
    return lambda draw, part: prompt(sample(family, draw, part).messages)


def tool_prompt(used, renamed=False):
    """A prompt with tools on offer; `used` messages of a tool exchange, the last of them the answer."""

    def make(draw, part):
        kinds = draw.choice([["calculator"], ["weather"], ["calculator", "weather"], ["calculator", "weather"]])
        offered = [toolbox.varied_tool(draw, kind) if renamed else toolbox.plain_tool(kind) for kind in kinds]
        found = sample(toolbox.use(draw.choice(offered)), draw, part)
        return prompt(found.messages[:used], offered)

    return make


def tools_unused_prompt(draw, part):
    kinds = draw.choice([["calculator"], ["weather"], ["calculator", "weather"], ["calculator", "weather"]])
    offered = [toolbox.plain_tool(kind) for kind in kinds]
    return prompt(sample(toolbox.not_needed(offered), draw, part).messages, offered)


def two_turn_prompt(draw, part):
    """A held-out question after a first exchange that is of the kind seen in training."""
    earlier = families.Draw(draw.rng)
    first = sample(families.any_family(earlier), earlier)
    second = sample(families.any_family(draw), draw, part)
    return prompt(first.messages + second.messages)


TESTED = {name: plain_prompt(family) for name, (family, _) in FAMILIES.items()} | {
    "tool_call": tool_prompt(2),
    "tool_answer": tool_prompt(4),
    "tool_renamed": tool_prompt(2, renamed=True),
    "tools_unused": tools_unused_prompt,
    "two_turn": two_turn_prompt,
}


def held_out_prompts(part):
    """Prompts of `part` ("dev" or "test") for every family, held out by operands and by phrasing.

    "operands": phrasings of training with operands never trained on. "phrasings": whole phrasings
    never trained on, with operands never trained on where the family has operands to hold out.
    """
    found = {}
    for family, make in TESTED.items():
        for split, phrasings in (("operands", "train"), ("phrasings", part)):
            draw = seeded(f"{SEEDS[part]} {family} {split}", phrasings)
            distinct = {}
            for _ in range(40 * PROMPTS_PER_CELL):
                item = make(draw, part)
                distinct.setdefault(json.dumps(item["messages"]), item)
                if len(distinct) == PROMPTS_PER_CELL:
                    break
            found[f"{family}/{split}"] = list(distinct.values())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for part in ("dev", "test"):
        (out / f"{part}.json").write_text(json.dumps(held_out_prompts(part), ensure_ascii=False, indent=1))
    tokenizer = train_tokenizer()
    tokenizer.save(str(out / "tokenizer.json"))
    np.savez(out / "train.npz", **training_rows(tokenizer))
    print("vocabulary", tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
