"""A kernel started by hand, and what a hostile or broken peer can say to its sockets without a ZeroMQ library."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from frontend import PATIENCE, Frontend
from jupyter_client import BlockingKernelClient

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""RFC 37 (ZMTP 3.1): signature, version, mechanism NULL, as-server 0, filler."""


def ready(socket_type: bytes) -> bytes:
    """The READY command of the NULL mechanism."""
    body = b"\x05READY" + b"\x0bSocket-Type" + len(socket_type).to_bytes(4, "big") + socket_type
    return b"\x04" + bytes([len(body)]) + body


def long_frame_header(size: int, flags: int = 0x02) -> bytes:
    return bytes([flags]) + size.to_bytes(8, "big")


@contextlib.contextmanager
def kernel(
    binary: Path, connection_file: Path, log: Path, home: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`perilune kernel start --connection-file FILE` in the foreground, with a `PERILUNE_HOME` of its own if one is given."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [binary, "kernel", "start", "--connection-file", connection_file],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env=os.environ | ({"PERILUNE_HOME": str(home)} if home else {}),
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for_file(path: Path, process: subprocess.Popen[bytes], log: Path) -> dict:
    """The connection file, once it is there and whole."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(path.read_text())
        assert process.poll() is None, f"the kernel ended with {process.returncode}: {log.read_text()}"
        time.sleep(0.005)
    raise TimeoutError(f"no connection file within {PATIENCE} s: {log.read_text()}")


@contextlib.contextmanager
def attached(connection_file: Path, ready: bool = True) -> Iterator[Frontend]:
    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    frontend = Frontend(client)
    try:
        if ready:
            frontend.ready()
        yield frontend
    finally:
        frontend.close()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def resident_memory(pid: int) -> int:
    """Bytes of physical memory the process holds, from /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
