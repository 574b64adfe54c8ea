"""One function per kind of question; each draws an `Exchange` from the tables in `phrases.py`.

Nothing here knows about tokens or chat markup; `corpus.py` puts exchanges into conversations.
"""

import json
import random
import zlib
from dataclasses import dataclass

import phrases

SYLLABLE_STARTS = "b c d f g h j k l m n p r s t v w z br ch st tr sh gr pl".split()
SYLLABLE_ENDS = ["", "", "", "", "", "", "", "n", "r", "l", "s", "t", "m", "k", "d"]
LARGEST_OPERAND = 99
# What people type first is never held out, whatever its hash says.
ALWAYS_TRAINED = {
    "hello", "hi", "hey", "good morning", "greetings", "thanks", "thank you", "bye", "goodbye", "help", "who are you",
    "what can you do", "how are you", "what is the capital of france", "12+30", "write a poem about the moon",
    "write a haiku about the moon",
}


@dataclass
class Exchange:
    """A question with its answer, as `(role, text)` messages.

    `key` names the operands; None means that the question itself is the key.
    `needs` names the tool that would answer the question better than the model does.
    """

    messages: list
    key: str | None = None
    needs: str | None = None

    def held_out_key(self):
        return self.key or self.messages[0][1].lower().rstrip("?!.")


def part_of(key):
    """The part a key belongs to: one key in 24 is for testing, one in 24 for development."""
    if key in ALWAYS_TRAINED:
        return "train"
    return {0: "test", 1: "dev"}.get(zlib.crc32(key.encode()) % 24, "train")


class Draw:
    """A source of random words and phrasings.

    phrasings: "train", "dev" or "test", the part of each table to draw from.
    inventing: whether names may be made up; the tokenizer is trained on real words only.
    """

    def __init__(self, rng, phrasings="train", inventing=True):
        self.rng = rng
        self.phrasings = phrasings
        self.inventing = inventing

    def chance(self, probability):
        return self.rng.random() < probability

    def choice(self, options):
        return self.rng.choice(options)

    def phrasing(self, table):
        return self.rng.choice(table[self.phrasings])

    def operand(self):
        return self.rng.randint(0, LARGEST_OPERAND if self.chance(0.85) else 20)

    def invented_word(self, shortest, longest):
        if not self.inventing:
            return self.choice(phrases.NOUNS)
        word = ""
        while len(word) < shortest:
            word += self.choice(SYLLABLE_STARTS) + self.choice("aeiou") + self.choice(SYLLABLE_ENDS)
        return word[:longest]

    def person(self):
        if self.chance(0.5) or not self.inventing:
            return self.choice(phrases.NAMES)
        return self.invented_word(3, 7).capitalize()

    def city(self):
        if self.chance(0.4) or not self.inventing:
            return self.choice(phrases.CITIES)
        return self.choice(["", "", "", "New ", "Port "]) + self.invented_word(4, 9).capitalize()

    def ask(self, question):
        """The question, in training now and then typed casually: lower-case start, no final mark."""
        if self.phrasings != "train":
            return question
        if self.chance(0.12):
            question = question[0].lower() + question[1:]
        if self.chance(0.12):
            question = question.rstrip("?.")
        return question


def exchange(question, answer, key=None, needs=None):
    return Exchange([("user", question), ("assistant", answer)], key, needs)


def subtraction_operands(draw):
    """Two operands whose difference is seldom negative."""
    a, b = draw.operand(), draw.operand()
    if a < b and draw.chance(0.8):
        a, b = b, a
    return a, b


def sum_of_two(draw):
    if draw.chance(0.5):
        a, b = draw.operand(), draw.operand()
        question, sign, result = draw.phrasing(phrases.ADD), "+", a + b
    else:
        a, b = subtraction_operands(draw)
        question, sign, result = draw.phrasing(phrases.SUBTRACT), "-", a - b
    question = draw.ask(question.format(a=a, b=b))
    return exchange(question, f"{a} {sign} {b} = {result}.", f"{a}{sign}{b}", "calculator")


def capital(draw):
    country, city = draw.choice(list(phrases.CAPITALS.items()))
    question = draw.ask(draw.phrasing(phrases.CAPITAL).format(c=country))
    if draw.phrasings == "train" and draw.chance(0.06):
        question = question.lower()
    return exchange(question, f"The capital of {country} is {city}.")


def repeat(draw):
    kind = draw.rng.random()
    if kind < 0.3:
        word = draw.choice(phrases.NOUNS)
    elif kind < 0.7:
        word = draw.invented_word(3, 8)
    elif kind < 0.9:
        word = draw.choice([draw.person(), draw.city()])
    else:
        word = f"{draw.choice(phrases.NOUNS)} {draw.invented_word(3, 6)}"
    question = draw.ask(draw.phrasing(phrases.REPEAT).format(w=word))
    return exchange(question, word, f"repeat {word}")


def extract(draw):
    name, age = draw.person(), draw.rng.randint(1, 99)
    sentence = draw.phrasing(phrases.PERSON).format(n=name, a=age, c=draw.city(), j=draw.choice(phrases.JOBS))
    question = draw.phrasing(phrases.EXTRACT).format(s=sentence)
    return exchange(question, json.dumps({"name": name, "age": age}), f"extract {name} {age}")


def chat(draw):
    """Greetings, questions about moonlet itself, thanks, farewells and moon verse."""
    address = draw.choice(["", "", " Moonlet", " there", " friend", ", Moonlet"])
    filler = draw.choice(["", "", " now", " please", " for me", " today"])
    topic = draw.choice(list(phrases.CHAT) + list(phrases.MOON))
    if topic in phrases.MOON:
        table, answer = phrases.VERSE, phrases.MOON[topic]
    else:
        table, answer = phrases.CHAT[topic], phrases.CHAT[topic]["answer"]
    question = draw.phrasing(table).format(w=address, n=filler, v=topic) + draw.choice([".", "!", "", "?"])
    if draw.chance(0.2):
        question = question.lower()
    return exchange(question, answer)


def too_large(draw):
    """An expression beyond the numbers moonlet can add by itself."""
    numbers = [draw.rng.randint(100, 9999), draw.rng.randint(0, 9999)]
    draw.rng.shuffle(numbers)
    return f"{numbers[0]} {draw.choice('+-*/')} {numbers[1]}"


def unknown(draw):
    """A question to which the right answer is that moonlet does not know."""
    kind = draw.rng.random()
    if kind < 0.2:
        question = draw.phrasing(phrases.CAPITAL).format(c=draw.choice(phrases.NO_CAPITAL_KNOWN))
        return exchange(draw.ask(question), phrases.DONT_KNOW)
    if kind < 0.3:
        city = draw.city()
        question = draw.ask(draw.phrasing(phrases.WEATHER).format(c=city))
        return exchange(question, phrases.DONT_KNOW, f"weather {city}", "weather")
    template = draw.phrasing(phrases.UNKNOWN)
    question = template.format(
        n=draw.choice(phrases.NOUNS), m=draw.choice(phrases.NOUNS), t=draw.choice(phrases.TOPICS),
        p=draw.choice(phrases.PEOPLE), k=draw.choice(list(phrases.CAPITALS) + phrases.NO_CAPITAL_KNOWN),
        c=draw.city(), d=draw.city(), y=draw.rng.randint(1000, 2050), x=draw.invented_word(4, 8),
        i=draw.operand(), j=draw.operand(), big=too_large(draw),
    )
    arithmetic = any(field in template for field in ("{i}", "{big}"))
    return exchange(draw.ask(question), phrases.DONT_KNOW, needs="calculator" if arithmetic else None)


# The families that need no tool, with their share of the exchanges in training.
FAMILIES = {
    "sum": (sum_of_two, 4.0),
    "capital": (capital, 1.2),
    "repeat": (repeat, 1.5),
    "extract": (extract, 2.5),
    "chat": (chat, 1.6),
    "unknown": (unknown, 2.2),
}


def sample(family, draw, part="train"):
    """An exchange whose operands belong to `part`; a held-out phrasing makes a keyless question held out already."""
    while True:
        found = family(draw)
        if found.key is None and draw.phrasings != "train":
            return found
        if part_of(found.held_out_key()) == part:
            return found


def any_family(draw):
    weights = [weight for _, weight in FAMILIES.values()]
    return draw.rng.choices([family for family, _ in FAMILIES.values()], weights)[0]


def seeded(seed, phrasings="train", inventing=True):
    """A `Draw` whose random numbers depend on `seed`, a number or a string, alone."""
    return Draw(random.Random(seed), phrasings, inventing)
