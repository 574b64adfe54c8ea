"""CURVE as jupyter_client offers it, with the wire watched, and what becomes of those without the keys."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from frontend import PATIENCE, Frontend
from jupyter_client import BlockingKernelClient, KernelManager
from wire import PORTS, Wire

WORD = "nobody else may read this"


@contextlib.contextmanager
def started(policy: str, log: Path) -> Iterator[KernelManager]:
    manager = KernelManager(kernel_name="perilune", transport_encryption=policy)
    with log.open("wb") as sink:
        manager.start_kernel(stdout=sink, stderr=sink)
        try:
            yield manager
            assert manager.is_alive(), log.read_text()
        finally:
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


@contextlib.contextmanager
def connected(connection: dict) -> Iterator[Frontend]:
    client = BlockingKernelClient()
    client.load_connection_info(connection)
    frontend = Frontend(client)
    try:
        frontend.ready()
        yield frontend
    finally:
        frontend.close()


@pytest.mark.parametrize(("policy", "encrypted"), [("disabled", False), ("auto", True), ("required", True)])
def test_jupyter_clients_policies_decide_what_is_seen_on_the_wire(policy: str, encrypted: bool, tmp_path: Path) -> None:
    with started(policy, tmp_path / "log") as manager:
        connection = manager.get_connection_info(session=False)
        assert ("curve_publickey" in connection) == encrypted
        with Wire(connection) as wire, connected(wire.connection) as frontend:
            exchange = frontend.execute(f"print('{WORD}')")
            assert exchange.stream() == f"{WORD}\n"
            frontend.answers = [WORD]
            exchange = frontend.execute("return #io.read()", allow_stdin=True)
            assert exchange.result == str(len(WORD))
            frontend.ask("kernel_info_request", channel="control")
            assert frontend.client.hb_channel.is_alive()
            assert (WORD.encode() in wire.seen) != encrypted
            assert (b"kernel_info_request" in wire.seen) != encrypted
            assert wire.seen.count(b"CURVE") >= 2 * 4 if encrypted else b"CURVE" not in wire.seen


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[KernelManager]:
    with started("required", tmp_path / "log") as manager:
        yield manager


def strangers(connection: dict, kind: str) -> Iterator[zmq.Socket]:
    """Sockets to every part of the kernel, which have no keys, others, or speak no ZeroMQ at all."""
    kinds = (zmq.DEALER, zmq.SUB, zmq.DEALER, zmq.DEALER, zmq.REQ)
    for port, socket_type in zip(PORTS, kinds, strict=True):
        stranger = zmq.Context.instance().socket(socket_type)
        stranger.linger = 0
        if kind == "wrong keys":
            stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
            stranger.curve_serverkey, _ = zmq.curve_keypair()
        if kind == "wrong pair":
            stranger.curve_publickey, _ = zmq.curve_keypair()
            _, stranger.curve_secretkey = zmq.curve_keypair()
            stranger.curve_serverkey = connection["curve_publickey"].encode()
        if socket_type == zmq.SUB:
            stranger.subscribe(b"")
        stranger.connect(f"tcp://{connection['ip']}:{connection[port]}")
        if socket_type != zmq.SUB:
            stranger.send(b"anybody there?")
        yield stranger


@pytest.mark.parametrize("kind", ["no keys", "wrong keys", "wrong pair"])
def test_a_stranger_gets_no_answer_and_slows_nobody(encrypted: KernelManager, kind: str, figures) -> None:
    connection = encrypted.get_connection_info(session=False)
    with connected(connection) as frontend:
        before = sorted(round_trip(frontend) for _ in range(100))
        sockets = [each for _ in range(4) for each in strangers(connection, kind)]
        try:
            beside = sorted(round_trip(frontend) for _ in range(300))
            frontend.execute(f"print('{WORD}')")
            assert not any(each.poll(0) for each in sockets)
        finally:
            for each in sockets:
                each.close()
        figures("a round trip, encrypted", [1000 * before[50]])
        figures(f"beside 20 sockets with {kind}", [1000 * beside[150]])
        assert beside[150] < 3 * before[50] + 0.005
        assert beside[-3] < 0.25


def round_trip(frontend: Frontend) -> float:
    exchange = frontend.execute("1 + 1")
    return exchange.idle.at - exchange.sent_at


def test_peers_that_say_nothing_keep_nobody_out(encrypted: KernelManager, figures) -> None:
    """More of them than may be about to greet at once, on every port."""
    connection = encrypted.get_connection_info(session=False)
    with connected(connection):
        pass  # it listens
    with contextlib.ExitStack() as stack:
        for port in PORTS:
            for _ in range(300):
                stack.enter_context(socket.create_connection((connection["ip"], connection[port]), PATIENCE))
        began = time.monotonic()
        with connected(connection) as frontend:
            assert frontend.execute("return 1").result == "1"
        took = time.monotonic() - began
        figures("connecting beside 1,500 peers that say nothing", [1000 * took])
        assert took < 4
