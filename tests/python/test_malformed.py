"""A thousand messages that no client should send, and the kernel answers the next one as if nothing had been."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable

import malformed
import pytest
from frontend import Exchange, Frontend
from jupyter_client import KernelManager
from resident import resident_memory

COUNT = 1000


@pytest.mark.parametrize("seed", [1, 20261121])
def test_a_thousand_malformed_messages(
    manager: KernelManager, frontend: Frontend, figures: Callable[[str, list[float]], None], seed: int
) -> None:
    frontend.execute("kept = 'kept'")
    before = resident_memory(manager.provisioner.process.pid)
    generator = malformed.messages(frontend.session, seed)
    sent = [next(generator) for _ in range(COUNT)]
    assert {message.kind for message in sent} == set(malformed.TYPES)
    assert {message.damage for message in sent} == set(malformed.ENVELOPES) | set(malformed.CONTENTS)
    waiting: list[tuple[malformed.Malformed, Exchange]] = []
    for number, message in enumerate(sent):
        if message.answered:
            exchange = Exchange(message.msg_id, time.monotonic())
            frontend.exchanges[message.msg_id] = exchange
            waiting.append((message, exchange))
        channel = ("shell", "control", "stdin")[number % 3 if not message.answered else number % 2]
        frontend.channels[channel].socket.send_multipart(message.frames)
        if number % 50 == 49:
            frontend.pump(0)

    answers = []
    for number in range(60):
        exchange = frontend.ask("kernel_info_request", channel=("shell", "control")[number % 2])
        answers.append(1000 * (exchange.answer.at - exchange.sent_at))
    figures(f"kernel_info after {COUNT} malformed messages, seed {seed}", answers[2:])
    assert statistics.median(answers) < 100

    for message, exchange in waiting:
        frontend.wait(lambda exchange=exchange: exchange.answer and exchange.idle, f"an answer to {message.kind}: {message.damage}")
        assert exchange.reply["status"] in ("ok", "error"), message
        if exchange.reply["status"] == "error":
            assert set(exchange.reply) >= {"ename", "evalue", "traceback"}, message
            assert len(str(exchange.reply["evalue"])) < 2000, "an error does not repeat what came"
    refused = Counter(message.kind for message, exchange in waiting if exchange.reply["status"] == "error")
    for kind in malformed.REQUESTS:
        assert refused[kind], kind
    assert frontend.execute("return kept").result == "kept"
    assert resident_memory(manager.provisioner.process.pid) - before < 64 << 20


@pytest.mark.parametrize("kind", [kind for kind in malformed.REQUESTS if kind != "no_such_request"])
@pytest.mark.parametrize("channel", ["shell", "control"])
def test_a_content_that_is_no_object_is_answered(frontend: Frontend, kind: str, channel: str) -> None:
    """Signed well, so somebody of ours waits; a `shutdown_request` that says nonsense must not end the kernel."""
    for content in (b"[]", b"[true]", b'"x"', b"{"):
        header = frontend.session.msg_header(kind)
        exchange = Exchange(header["msg_id"], time.monotonic())
        frontend.exchanges[exchange.request] = exchange
        parts = [frontend.session.pack(header), b"{}", b"{}", content]
        frontend.channels[channel].socket.send_multipart(malformed.signed(frontend.session, parts))
        frontend.finish(exchange)
        assert exchange.reply["status"] == "error", (kind, content, exchange.reply)
    assert frontend.execute("return 1").result == "1"
