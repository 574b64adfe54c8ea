"""Floods of output, beside subscribers that do not read or read slowly, with and without CURVE."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from frontend import PATIENCE, Frontend
from jupyter_client.session import Session
from resident import attached, kernel, wait_for_file

MEGABYTE = 1 << 20
LINE = 65_535
"""Characters of a line that fills a merged message of its own."""


class Running:
    """A kernel, its connection file and what it logs."""

    def __init__(self, pid: int, file: Path, log: Path):
        self.pid, self.file, self.log = pid, file, log
        self.connection = json.loads(file.read_text())

    def memory(self, field: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field + ":")).split()[1]) * 1024

    @contextlib.contextmanager
    def subscriber(self, high_water_mark: int) -> Iterator[zmq.Socket]:
        """Subscribed to everything; reads nothing by itself."""
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.rcvhwm = high_water_mark
            if "curve_publickey" in self.connection:
                socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
                socket.curve_serverkey = self.connection["curve_publickey"].encode()
            socket.subscribe(b"")
            socket.connect(f"tcp://127.0.0.1:{self.connection['iopub_port']}")
            assert socket.poll(1000 * PATIENCE), "the welcome did not come"
            yield socket


@pytest.fixture(params=[False, True], ids=["plain", "curve"])
def running(request: pytest.FixtureRequest, binary: Path, tmp_path: Path) -> Iterator[Running]:
    file, log = tmp_path / "kernel.json", tmp_path / "log"
    given = {f"{part}_port": 0 for part in ("shell", "iopub", "stdin", "control", "hb")}
    given |= {"ip": "127.0.0.1", "key": "a key", "transport": "tcp", "signature_scheme": "hmac-sha256"}
    if request.param:
        public, secret = zmq.curve_keypair()
        given |= {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}
    file.write_text(json.dumps(given))
    with kernel(binary, file, log) as process:
        deadline = time.monotonic() + PATIENCE
        while wait_for_file(file, process, log)["shell_port"] == 0:
            assert time.monotonic() < deadline, log.read_text()
        yield Running(process.pid, file, log)
        assert process.poll() is None, log.read_text()


def flood(frontend: Frontend, megabytes: int) -> tuple[float, float]:
    """Prints that much and receives it; returns the seconds it took, and the longest in which nothing came."""
    lines = megabytes * MEGABYTE // (LINE + 1)
    exchange = frontend.execute(f"local line = string.rep('x', {LINE}) for i = 1, {lines} do print(line) end", patience=120)
    assert len(exchange.stream()) == lines * (LINE + 1)
    assert exchange.published[-1].kind == "status", "idle is the last word"
    times = [exchange.sent_at, *(arrival.at for arrival in exchange.published)]
    return times[-1] - times[0], max(after - before for before, after in zip(times, times[1:], strict=False))


def test_those_that_do_not_read_delay_nobody_cost_no_more_than_64_megabytes_and_may_come_back(running: Running, figures) -> None:
    kind = "with CURVE" if "curve_publickey" in running.connection else "plain"
    with attached(running.file) as frontend, contextlib.ExitStack() as stack:
        flood(frontend, 16)  # what printing costs by itself
        before = running.memory("VmHWM")
        stalled = [stack.enter_context(running.subscriber(1)) for _ in range(3)]
        beside, gap = flood(frontend, 160)
        grown = running.memory("VmHWM") - before
        alone, usual = flood(frontend, 160)
        figures(f"160 MB, {kind}", [1000 * alone])
        figures(f"160 MB beside three that do not read, {kind}", [1000 * beside])
        figures(f"the longest without a message, {kind}", [1000 * gap])
        figures(f"memory that four share, in MB, {kind}", [grown / MEGABYTE])
        assert grown <= 64 * MEGABYTE, "what waits is there once, however many wait for it"
        assert gap < 3 * usual + 0.5, "somebody was waited for"
        assert beside < 2 * alone + 1
        assert "cut off" in running.log.read_text()
        assert "count=3" in running.log.read_text()
        assert frontend.ask("usage_request", channel="control").reply["perilune"]["peers"]["cut_off"] == 3
        frontend.execute("print('welcome back')")
        for socket in stalled:
            assert hears(socket, frontend, "still here")


def hears(socket: zmq.Socket, frontend: Frontend, text: str) -> bool:
    """Whether a subscriber that was cut off gets what is printed once it has come back."""
    session = Session(key=frontend.session.key)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frontend.execute(f"print('{text}')")
        while socket.poll(200):
            _, parts = session.feed_identities(socket.recv_multipart())
            message = session.deserialize(parts)
            if message["content"].get("text") == f"{text}\n":
                return True
    return False


def test_a_slow_one_within_the_bound_loses_nothing(running: Running) -> None:
    with attached(running.file) as frontend, running.subscriber(1) as slow:
        flood(frontend, 40)
        session = Session(key=frontend.session.key)
        heard = 0
        while heard < 40 * MEGABYTE:
            assert slow.poll(1000 * PATIENCE), f"only {heard} bytes came"
            _, parts = session.feed_identities(slow.recv_multipart())
            heard += len(session.deserialize(parts)["content"].get("text", ""))
            time.sleep(0.001)
        assert "cut off" not in running.log.read_text()


def test_200_000_lines_arrive_complete_before_idle_in_few_messages(running: Running, figures) -> None:
    kind = "with CURVE" if "curve_publickey" in running.connection else "plain"
    with attached(running.file) as frontend, running.subscriber(1):
        exchange = frontend.execute("for i = 1, 200000 do print(i) end", patience=120)
        assert exchange.stream() == "".join(f"{number}\n" for number in range(1, 200_001))
        assert exchange.published[-1].kind == "status", "idle is the last word"
        assert len(exchange.published) < 3_000
        figures(f"200,000 lines, {kind}", [1000 * (exchange.idle.at - exchange.sent_at)])


def test_two_streams_that_take_turns_are_complete_in_few_messages(running: Running) -> None:
    with attached(running.file) as frontend:
        exchange = frontend.execute("for i = 1, 100000 do print(i) io.stderr:write(i, '\\n') end", patience=120)
        lines = "".join(f"{number}\n" for number in range(1, 100_001))
        assert exchange.stream() == exchange.stream("stderr") == lines
        assert len(exchange.published) < 3_000
        # A few keep their order.
        few = frontend.execute("print('one') io.stderr:write('two\\n') print('three')")
        assert [(a.content["name"], a.content["text"]) for a in few.all("stream")] == [
            ("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "three\n"),
        ]  # fmt: skip


def test_small_messages_cost_one_that_does_not_read_no_more(running: Running) -> None:
    code = "for i = 1, 60000 do display.markdown(('x'):rep(180)) end"
    with attached(running.file) as frontend:
        frontend.execute(code, patience=120)
        before = running.memory("VmHWM")
        with running.subscriber(1):
            frontend.execute(code, patience=120)
            assert running.memory("VmHWM") - before <= 64 * MEGABYTE
            assert "cut off" in running.log.read_text()


def test_one_long_text_is_whole(running: Running, figures) -> None:
    with attached(running.file) as frontend:
        exchange = frontend.execute("io.write(('é'):rep(32 << 20))", patience=120)
        assert exchange.stream() == "é" * (32 << 20)
        figures("64 MiB in one text", [1000 * (exchange.idle.at - exchange.sent_at)])
