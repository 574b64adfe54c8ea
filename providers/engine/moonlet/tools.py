"""The two tools moonlet was shown, a calculator and a weather report, in Hermes form."""

import json
from dataclasses import dataclass

import families
import phrases
from families import Exchange

LARGEST_TOOL_OPERAND_DIGITS = 4
OPERATIONS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


@dataclass
class Tool:
    """A tool as offered: what it does (`kind`) and how it and its argument are called."""

    kind: str
    name: str
    argument: str
    schema: dict


def plain_tool(kind):
    """The tool in its usual form, as the tests offer it."""
    name, argument, text = {
        "calculator": ("calculator", "expression", phrases.CALCULATOR_TEXTS[0]),
        "weather": ("weather", "city", phrases.WEATHER_TEXTS[0]),
    }[kind]
    return Tool(kind, name, argument, function_schema(name, argument, text))


def varied_tool(draw, kind):
    """The tool with its name, argument, description and schema varied."""
    if draw.chance(0.5):
        tool = plain_tool(kind)
        name, argument = tool.name, tool.argument
    elif kind == "calculator":
        name, argument = draw.choice(phrases.CALCULATOR_NAMES), draw.choice(phrases.CALCULATOR_ARGUMENTS)
    else:
        name, argument = draw.choice(phrases.WEATHER_NAMES), draw.choice(phrases.WEATHER_ARGUMENTS)
    texts = phrases.CALCULATOR_TEXTS if kind == "calculator" else phrases.WEATHER_TEXTS
    schema = function_schema(name, argument, draw.choice(texts))
    parameters = schema["function"]["parameters"]
    if draw.chance(0.3):
        hint = {"calculator": ["The expression", "e.g. 2*3"], "weather": ["The city", "Name of the city"]}[kind]
        parameters["properties"][argument]["description"] = draw.choice(hint)
    if draw.chance(0.2):
        del parameters["required"]
    return Tool(kind, name, argument, schema)


def function_schema(name, argument, text):
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": parameters}}


def schema_text(draw, schema):
    """The schema as a line of JSON; key order and spacing differ between template engines."""
    separators = (",", ":") if draw.chance(0.15) else None
    return json.dumps(schema, sort_keys=draw.chance(0.4), separators=separators)


def system_text(system, schema_lines):
    """The system message; `chat_template.jinja` renders the same when tools are given."""
    if not schema_lines:
        return system
    opening = f"{system}\n\n" if system else ""
    return (
        opening + "# Tools\n\nYou may call these functions:\n<tools>\n" + "\n".join(schema_lines)
        + "\n</tools>\n\nTo call one, reply with\n<tool_call>\n"
        + '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def call_text(tool, value):
    call = {"name": tool.name, "arguments": {tool.argument: value}}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def calculation(draw, tool):
    """A question for the calculator, the call, its result and the answer."""
    if draw.chance(0.35):
        asked = families.sum_of_two(draw)
        question, expression = asked.messages[0][1], asked.key
    else:
        a, b = tool_operand(draw), tool_operand(draw)
        sign, word = draw.choice(list(OPERATIONS.items()))
        question = draw.ask(draw.phrasing(phrases.TIMES).format(a=a, b=b, op=sign, w=word))
        expression = f"{a}{sign}{b}"
    result = calculation_result(draw, expression)
    response = draw.choice([f"{result}", f"{result}", json.dumps({"result": result})])
    messages = [
        ("user", question), ("assistant", call_text(tool, expression)), ("tool", response),
        ("assistant", f"The result is {result}."),
    ]
    return Exchange(messages, expression)


def tool_operand(draw):
    digits = draw.choice([1, 2, 2, 3, 3, LARGEST_TOOL_OPERAND_DIGITS])
    return draw.rng.randint(0, 10**digits - 1)


def calculation_result(draw, expression):
    """What the calculator says; now and then any number, for the answer must copy it, not know it."""
    if draw.chance(0.3):
        return draw.rng.randint(-(10**4), 10 ** draw.rng.randint(1, 6))
    for sign in OPERATIONS:
        a, found, b = expression.partition(sign)
        if found:
            a, b = int(a), int(b)
            return {"+": a + b, "-": a - b, "*": a * b, "/": round(a / max(b, 1), 2)}[sign]
    raise ValueError(f"`{expression}` has none of the signs + - * /")


def weather(draw, tool):
    """A question for the weather tool, the call, its report and the answer."""
    city, sky, degrees = draw.city(), draw.choice(phrases.SKIES), draw.rng.randint(-15, 42)
    response = draw.choice([
        f"{sky}, {degrees} C", f"{sky}, {degrees} degrees", f"{degrees} C, {sky}",
        json.dumps({"temperature": degrees, "condition": sky}), json.dumps({"condition": sky, "temperature": degrees}),
        json.dumps({"city": city, "temperature": degrees, "condition": sky}),
    ])
    question = draw.ask(draw.phrasing(phrases.WEATHER).format(c=city))
    messages = [
        ("user", question), ("assistant", call_text(tool, city)), ("tool", response),
        ("assistant", f"It is {sky} and {degrees} degrees in {city}."),
    ]
    return Exchange(messages, f"weather {city}")


USES = {"calculator": calculation, "weather": weather}


def use(tool):
    """A family that asks for this tool."""
    return lambda draw: USES[tool.kind](draw, tool)


def not_needed(tools):
    """A family of questions that none of the tools on offer answers."""
    kinds = {tool.kind for tool in tools}

    def family(draw):
        while True:
            found = families.any_family(draw)(draw)
            if found.needs not in kinds:
                return found

    return family
