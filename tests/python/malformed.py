"""A seeded generator of messages that no client should send: every type, damaged in its envelope, its signature or its content."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jupyter_client.session import DELIM, Session

REQUESTS = [
    "kernel_info_request", "execute_request", "inspect_request", "complete_request", "is_complete_request", "history_request",
    "comm_info_request", "connect_request", "usage_request", "interrupt_request", "shutdown_request", "model_request",
    "create_subshell_request", "delete_subshell_request", "list_subshell_request", "debug_request", "no_such_request",
]  # fmt: skip

OTHERS = [
    "comm_open", "comm_msg", "comm_close", "input_reply", "input_request", "status", "stream", "execute_input", "execute_result",
    "display_data", "update_display_data", "error", "clear_output", "iopub_welcome", "model_event", "execute_reply", "", "\0", "x" * 5000,
]  # fmt: skip

TYPES = REQUESTS + OTHERS

FIELDS = [
    "code", "silent", "store_history", "user_expressions", "allow_stdin", "stop_on_error", "cursor_pos", "detail_level", "hist_access_type",
    "n", "session", "start", "stop", "pattern", "unique", "output", "raw", "target_name", "comm_id", "data", "restart", "command", "model",
    "messages", "options", "prompt", "backend", "request", "perilune", "subshell_id", "value", "status",
]  # fmt: skip


@dataclass
class Malformed:
    """One message: its frames, its id, and whether it is so well formed that it must be answered."""

    kind: str
    damage: str
    frames: list[bytes]
    msg_id: str
    answered: bool


def messages(session: Session, seed: int) -> Iterator[Malformed]:
    """Without end. Every type comes in turn, with every damage in turn."""
    choice = random.Random(seed)
    damages = list(ENVELOPES) + list(CONTENTS)
    for number in range(1 << 30):
        kind = TYPES[number % len(TYPES)]
        damage = damages[(number // len(TYPES) + number) % len(damages)]
        header = session.msg_header(kind)
        # Some envelopes are so little damaged that the message counts: a shutdown must not.
        parts = [json.dumps(header, default=str).encode(), b"{}", b"{}", b'{"restart": "yes"}']
        if damage in CONTENTS:
            parts[3] = CONTENTS[damage](choice)
            frames = [DELIM, session.sign(parts), *parts]
        else:
            frames = ENVELOPES[damage](choice, session, parts)
        answered = damage in CONTENTS and kind in REQUESTS
        yield Malformed(kind, damage, frames, header["msg_id"], answered)


def signed(session: Session, parts: list[bytes]) -> list[bytes]:
    return [DELIM, session.sign(parts), *parts]


def other_key(choice: random.Random, session: Session, parts: list[bytes]) -> list[bytes]:
    return signed(Session(key=choice.randbytes(16)), parts)


def changed(choice: random.Random, session: Session, parts: list[bytes]) -> list[bytes]:
    frames = signed(session, parts)
    at = choice.randrange(2, len(frames))
    return [*frames[:at], frames[at] + b" ", *frames[at + 1 :]]


def one_byte(choice: random.Random, session: Session, parts: list[bytes]) -> list[bytes]:
    frames = signed(session, parts)
    signature = bytearray(frames[1])
    signature[choice.randrange(len(signature))] ^= 1
    return [frames[0], bytes(signature), *frames[2:]]


def too_few(choice: random.Random, session: Session, parts: list[bytes]) -> list[bytes]:
    frames = signed(session, parts)
    return frames[: choice.randrange(1, len(frames))]


def headers(*damaged: Any) -> Callable[[random.Random, Session, list[bytes]], list[bytes]]:
    def damage(choice: random.Random, session: Session, parts: list[bytes]) -> list[bytes]:
        header = choice.choice(damaged)
        return signed(session, [header if isinstance(header, bytes) else json.dumps(header).encode(), *parts[1:]])

    return damage


ENVELOPES: dict[str, Callable[[random.Random, Session, list[bytes]], list[bytes]]] = {
    "another key": other_key,
    "no signature": lambda choice, session, parts: [DELIM, b"", *parts],
    "half a signature": lambda choice, session, parts: [DELIM, session.sign(parts)[:32], *parts],
    "a wrong byte in the signature": one_byte,
    "a signature that is no text": lambda choice, session, parts: [DELIM, choice.randbytes(64), *parts],
    "changed after signing": changed,
    "no delimiter": lambda choice, session, parts: signed(session, parts)[1:],
    "too few frames": too_few,
    "two delimiters": lambda choice, session, parts: [DELIM, *signed(session, parts)],
    "nothing but noise": lambda choice, session, parts: [choice.randbytes(choice.randrange(200)) for _ in range(choice.randrange(1, 8))],
    "empty frames": lambda choice, session, parts: [b""] * choice.randrange(1, 8),
    "a header that is no object": headers([], 3, "x", None, b"", b"{", b"\xff\xfe", b"[" * 5000),
    "a header that lacks what counts": headers({}, {"msg_id": "a"}, {"msg_type": "execute_request"}, {"msg_id": None, "msg_type": None}),
    "a header of wrong types": headers({"msg_id": 3, "msg_type": ["execute_request"]}, {"msg_id": {}, "msg_type": 1e308}),
    "a parent that is no object": lambda choice, session, parts: signed(session, [parts[0], choice.choice([b"[]", b"3", b"\xff", b"{"]), *parts[2:]]),
    "metadata that are no object": lambda choice, session, parts: signed(session, [*parts[:2], choice.choice([b"[]", b"3", b"\xff", b"{"]), parts[3]]),
}  # fmt: skip


def wrong_types(choice: random.Random) -> bytes:
    values = [None, True, -1, 1e300, 1 << 70, "x", "\ud800", [], {}, [[]], {"a": {}}, "y" * 10_000]
    fields = {name: choice.choice(values) for name in FIELDS if name != "restart"} | {"restart": "yes", "code": 3}
    return json.dumps(fields).encode()


CONTENTS: dict[str, Callable[[random.Random], bytes]] = {
    "content that is no JSON": lambda choice: choice.choice([b"{", b"}", b"nope", b'{"code": ', b"{'code': 'x'}", b""]),
    "content that is no text": lambda choice: b'{"code": "' + choice.randbytes(20) + b'\xff"}',
    "content that is no object": lambda choice: choice.choice([b"[]", b"[true]", b'["x"]', b"3", b'"x"', b"true", b"[[[[]]]]"]),
    "content of wrong types": wrong_types,
    "content without end": lambda choice: b"[" * 100_000,
    "a content of noise": lambda choice: choice.randbytes(choice.randrange(1, 2000)),
    "a large content": lambda choice: b'{"code": 3, "restart": "yes", "x": "' + b"y" * (1 << 20) + b'"}',
}
