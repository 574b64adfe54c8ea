"""A client whose connection breaks, or whose kernel dies, freezes or cannot be reached any more: it goes on, or says so within 5 s."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import Run
from frontend import PATIENCE
from resident import kernel, wait_for_file
from wire import Wire

TOLD_WITHIN = 5.0

ENDLESS = "print('going') while true do end"
GENERATING = "print('going') while true do LocalLLM.generate('On the Moon', { max_tokens = 400, temperature = 1 }) end"


class Client:
    """`perilune --connect FILE exec CODE` while it runs."""

    def __init__(self, binary: Path, file: Path, code: str):
        self.process = subprocess.Popen(
            [binary, "--connect", file, "exec", code],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def expect(self, line: str) -> None:
        assert self.process.stdout.readline() == line + "\n", self.process.communicate(timeout=PATIENCE)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


class Far:
    """A kernel behind a wire."""

    def __init__(self, process: subprocess.Popen[bytes], wire: Wire, file: Path, run: Callable[[str], Client]):
        self.process, self.wire, self.file, self.run = process, wire, file, run


@pytest.fixture
def far(binary: Path, tmp_path: Path) -> Iterator[Far]:
    near, log, file = tmp_path / "near.json", tmp_path / "log", tmp_path / "far.json"
    clients: list[Client] = []

    def run(code: str) -> Client:
        clients.append(Client(binary, file, code))
        return clients[-1]

    with kernel(binary, near, log) as process, Wire(wait_for_file(near, process, log)) as wire:
        file.write_text(json.dumps(wire.connection))
        try:
            yield Far(process, wire, file, run)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            for client in clients:
                if client.process.poll() is None:
                    client.process.kill()
                    client.process.communicate()


@pytest.mark.parametrize("code", [ENDLESS, GENERATING], ids=["a run", "a generation"])
@pytest.mark.parametrize("how", ["killed", "frozen", "unreachable"])
def test_a_lost_kernel_is_told_within_five_seconds(far: Far, how: str, code: str, figures) -> None:
    client = far.run(code)
    client.expect("going")
    began = time.monotonic()
    match how:
        case "killed":
            far.process.kill()
        case "frozen":
            far.process.send_signal(signal.SIGSTOP)
        case "unreachable":
            far.wire.freeze()
    status, _, err = client.finish()
    took = time.monotonic() - began
    figures(f"until a kernel that is {how} is told", [1000 * took])
    assert status == 3
    assert "far.json" in err and "no sign of life" in err
    assert took < TOLD_WITHIN


def test_a_frozen_kernel_is_told_before_anything_runs(far: Far) -> None:
    far.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    status, _, err = far.run("return 1").finish()
    assert status == 3
    assert "frozen" in err, err
    assert time.monotonic() - began < TOLD_WITHIN


def test_a_run_goes_on_when_the_connection_was_cut(far: Far) -> None:
    client = far.run("print('going') for i = 1, 30 do os.execute('sleep 0.1') print(i) end print('done') return 7")
    client.expect("going")
    for _ in range(3):
        opened = far.wire.opened
        far.wire.cut()
        deadline = time.monotonic() + PATIENCE
        while far.wire.opened < opened + 5:
            assert time.monotonic() < deadline, "it did not connect again"
            time.sleep(0.01)
    status, out, err = client.finish()
    assert status == 0, err
    assert out.endswith("30\ndone\n7\n"), out
    assert "broke and is back" in err
    assert len(err.strip().splitlines()) == 1, "it is told once"


def test_a_reply_that_was_lost_with_the_connection_is_not_waited_for(far: Far) -> None:
    client = far.run("print('going') os.execute('sleep 0.3') return 7")
    client.expect("going")
    far.wire.freeze()
    time.sleep(0.8)  # the run ends meanwhile, and what it says is lost
    far.wire.cut()
    far.wire.freeze(False)
    status, _, err = client.finish()
    assert status == 3, err
    assert "its answer is lost" in err


@contextlib.contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that is no kernel."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def stranger(tmp_path: Path, port: int) -> Path:
    ports = {f"{part}_port": port for part in ("shell", "iopub", "stdin", "control", "hb")}
    file = tmp_path / "stranger.json"
    file.write_text(json.dumps(ports | {"ip": "127.0.0.1", "key": "a key", "transport": "tcp", "signature_scheme": "hmac-sha256"}))
    return file


class Hello(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_what_is_no_kernel_is_called_by_what_it_says(perilune: Run, tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = perilune("--connect", stranger(tmp_path, server.server_port), "exec", "1")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 3
    assert "is no kernel" in done.stderr and "keys" not in done.stderr, done.stderr
    for answer, told in [
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9\r\n") or connection.shutdown(socket.SHUT_WR), "SSH-2.0-OpenSSH_9"),
        (lambda connection: connection.close(), "end"),
        (lambda connection: None, "frozen"),
    ]:
        with peer(answer) as port:
            done = perilune("--connect", stranger(tmp_path, port), "exec", "1")
            assert done.returncode == 3
            assert told in done.stderr and "keys" not in done.stderr, done.stderr
