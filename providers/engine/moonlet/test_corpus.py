"""Checks that what is held out stays out of training: `python -m unittest test_corpus`."""

import json
import re
import unittest
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment

import corpus
import families
import phrases
import tools as toolbox

TABLES = {
    name: table for name, table in vars(phrases).items() if isinstance(table, dict) and {"train", "dev", "test"} <= set(table)
} | phrases.CHAT


def bare(question):
    return question.lower().rstrip("?!. ")


def training_conversations(count=4000):
    for kind, conversation in corpus.CONVERSATION.items():
        draw = families.seeded(f"check {kind}")
        for _ in range(count):
            yield conversation(draw)


class HeldOut(unittest.TestCase):
    def test_a_phrasing_is_in_one_part_only(self):
        for name, table in TABLES.items():
            parts = [{bare(phrasing) for phrasing in table[part]} for part in ("train", "dev", "test")]
            self.assertEqual(sum(len(part) for part in parts), len(set.union(*parts)), name)

    def test_no_held_out_question_is_trained_on(self):
        trained = {
            bare(text) for messages in training_conversations() for role, text in messages if role == "user"
        }
        # With tools on offer the same sum has the calculator's key, so only the plain families are compared whole.
        for part in ("dev", "test"):
            for cell, items in corpus.held_out_prompts(part).items():
                if cell.split("/")[0] in corpus.FAMILIES:
                    common = trained & {bare(item["messages"][-1][1]) for item in items}
                    self.assertEqual(common, set(), f"{part} {cell}")

    def test_no_held_out_sum_is_trained_on(self):
        expression = re.compile(r"(\d+) ?([+*/-]) ?(\d+)(?: =|\"}})")
        for messages in training_conversations():
            for role, text in messages:
                if role in ("assistant", "drill"):
                    for operands in expression.findall(text.replace("\0", "")):
                        self.assertEqual(families.part_of("".join(operands)), "train", text)

    def test_what_people_type_first_is_trained_on(self):
        for key in families.ALWAYS_TRAINED:
            self.assertEqual(families.part_of(key), "train")


class ChatTemplate(unittest.TestCase):
    def test_renders_as_the_training_rows(self):
        template = Path(__file__).with_name("chat_template.jinja").read_text()
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
        offered = [toolbox.plain_tool("calculator"), toolbox.plain_tool("weather")]
        exchange = toolbox.calculation(families.seeded(1), offered[0])
        call = json.loads(exchange.messages[1][1].split("\n")[1])
        rendered = environment.from_string(template).render(
            tools=[tool.schema for tool in offered],
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": exchange.messages[0][1]},
                {"role": "assistant", "content": "", "tool_calls": [{"function": call}]},
                {"role": "tool", "content": exchange.messages[2][1]},
                {"role": "assistant", "content": exchange.messages[3][1]},
            ],
        )
        system = toolbox.system_text("Be brief.", [json.dumps(tool.schema) for tool in offered])
        trained = corpus.render([("system", system)] + exchange.messages)
        self.assertEqual(rendered, "".join(text for text, _ in trained))


if __name__ == "__main__":
    unittest.main()
