#!/usr/bin/env python3
"""render.py TEMPLATES OUTPUT: renders every chat template of a folder for every conversation of conversations.json, by jinja2
as transformers sets it up, for the engine's test to compare with."""

import datetime
import json
import os
import pathlib
import sys
import time

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
BOS, EOS = "<s>", "</s>"


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what the model wrote; it shows in nothing that is rendered."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("written"), [], [], body).set_lineno(line)

    def written(self, caller):
        return caller()


def environment(moment):
    """Jinja as `transformers.utils.chat_template_utils._compile_jinja_template` sets it up, at one moment."""

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(form):
        return moment.strftime(form)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def in_template_form(message):
    """Our message as templates expect it."""
    form = {"role": message["role"], "content": message["content"]}
    if "tool_calls" in message:
        form["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in message["tool_calls"]
        ]
    for key in ("tool_call_id", "name"):
        if key in message:
            form[key] = message[key]
    return form


def main():
    templates, output = map(pathlib.Path, sys.argv[1:])
    os.environ["TZ"] = "UTC"
    time.tzset()
    seconds = int(time.time())
    env = environment(datetime.datetime.fromtimestamp(seconds))
    cases = []
    for path in sorted(templates.glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for conversation in json.loads((HERE / "conversations.json").read_text(encoding="utf-8")):
            case = {"template": path.name, "conversation": conversation["name"]}
            messages = [in_template_form(message) for message in conversation["messages"]]
            tools = [{"type": "function", "function": tool} for tool in conversation.get("tools", [])]
            try:
                case["rendered"] = env.from_string(source).render(
                    messages=messages, tools=tools or None, documents=None, bos_token=BOS, eos_token=EOS, add_generation_prompt=True
                )
            except Exception as error:  # whatever a template does wrong, or refuses
                case["refused"] = f"{type(error).__name__}: {error}"
            cases.append(case)
    output.write_text(json.dumps({"seconds": seconds, "cases": cases}), encoding="utf-8")
    print(f"{sum('rendered' in case for case in cases)} of {len(cases)} conversations rendered by jinja2 {jinja2.__version__}")


if __name__ == "__main__":
    main()
