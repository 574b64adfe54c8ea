"""Two machines, as far as the network can tell: two namespaces with one link between them, on which tshark listens.

`far` runs a kernel, on an address that is not loopback; everything else happens in `near`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import program, wait_until
from frontend import PATIENCE, Frontend
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session
from terminal import CTRL_D, Terminal

FAR, NEAR = "10.213.7.1", "10.213.7.2"
PORTS = {"shell_port": 5701, "iopub_port": 5702, "stdin_port": 5703, "control_port": 5704, "hb_port": 5705}
LINK = "wire0"
"""The name of the interface on either side."""
MARKER_PORT = 5799
KEY = b"the key that signs these messages"
"""Of the kernel that a launcher started; the one that is reached from elsewhere makes its own."""
PROMPT, ANSWER = "What is the capital of France?", "Paris"
PLAINTEXT = [PROMPT, ANSWER, "execute_request", "model_request", "kernel_info", "LocalLLM", "moonlet"]
"""None of it may be seen on the link of an encrypted kernel; all of it is seen on another's."""
LOST = 10.0
"""Seconds within which a client without the right keys gives up."""


@dataclass
class Machines:
    """Both namespaces, and what runs in them until the test ends."""

    binary: Path
    folder: Path
    far: str = field(default_factory=lambda: f"perilune-far-{os.getpid()}")
    near: str = field(default_factory=lambda: f"perilune-near-{os.getpid()}")
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def link(self) -> None:
        """Makes the namespaces and the pair of interfaces that joins them."""
        for name in (self.far, self.near):
            ip("netns", "add", name)
            self.stack.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.far, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", self.near)
        for name, address in ((self.far, FAR), (self.near, NEAR)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", LINK)
            ip("-n", name, "link", "set", LINK, "up")

    def run(self, *arguments: object, home: str = "near-home", **options: object) -> subprocess.CompletedProcess[str]:
        """The binary in `near`, to its end."""
        (self.folder / home).mkdir(exist_ok=True)
        return subprocess.run(
            ["ip", "netns", "exec", self.near, self.binary, *map(str, arguments)],
            env=os.environ | {"PERILUNE_HOME": str(self.folder / home)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, **options,
        )  # fmt: skip

    def kernel(self, namespace: str, connection_file: Path, *options: str, config: str = "", **environment: str) -> None:
        """A kernel in one of the namespaces, with a home of its own."""
        home = self.folder / f"{namespace}-kernel"
        home.mkdir()
        (home / "config.toml").write_text(config)
        sink = self.stack.enter_context((home / "log").open("wb"))
        command = [self.binary, "kernel", "start", "--connection-file", connection_file, *options]
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            env=os.environ | {"PERILUNE_HOME": str(home)} | environment,
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)

        def listens() -> bool:
            assert process.poll() is None, (home / "log").read_text()
            if not connection_file.is_file():
                return False
            connection = json.loads(connection_file.read_text())
            with inside(namespace), contextlib.suppress(OSError):
                socket.create_connection((connection["ip"], connection["hb_port"]), timeout=1).close()
                return True
            return False

        wait_until(listens, f"the kernel in {namespace}")

    def attach(self, connection_file: Path) -> Frontend:
        """A jupyter_client in `near`. Unlike our own it takes the kernel's whole pair of CURVE keys for its own."""
        with inside(self.near):
            client = BlockingKernelClient(connection_file=str(connection_file))
            client.load_connection_file()
            frontend = Frontend(client)
            self.stack.callback(frontend.close)
            frontend.ready()
        return frontend

    @contextlib.contextmanager
    def capture(self) -> Iterator[Callable[[], dict[tuple[str, str], bytes]]]:
        """Records what goes over the link. What it gives back ends the recording and returns the payload of each stream and sender.

        A text goes over the link as it is before and after everything else: it proves that plaintext would have been seen then.
        """
        file = self.folder / "link.pcapng"
        with (self.folder / "tshark.log").open("wb") as log:
            tshark = subprocess.Popen(
                ["ip", "netns", "exec", self.near, "tshark", "-q", "-i", LINK, "-f", "tcp", "-w", file],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def recorded(marker: bytes) -> bool:
            assert tshark.poll() is None, (self.folder / "tshark.log").read_text()
            self.say(marker)
            return file.is_file() and marker in file.read_bytes()

        def end() -> dict[tuple[str, str], bytes]:
            wait_until(lambda: recorded(b"a text after everything"), "the recording to have it all")
            tshark.terminate()
            tshark.wait(PATIENCE)
            return payloads(file)

        try:
            wait_until(lambda: recorded(b"a text before everything"), "the recording to begin")
            yield end
        finally:
            tshark.kill()
            tshark.wait()

    def say(self, text: bytes) -> None:
        """Sends a text from `near` to `far`, as it is."""
        with inside(self.far), socket.create_server((FAR, MARKER_PORT)) as listener:
            with inside(self.near), socket.create_connection((FAR, MARKER_PORT), timeout=PATIENCE) as sender:
                sender.sendall(text)
            with listener.accept()[0] as receiver:
                assert receiver.recv(1000) == text


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=PATIENCE)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread's new sockets, and those of the threads that it starts, belong to a namespace."""
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{namespace}") as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(before.fileno())


def enter(namespace: int) -> None:
    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).setns(namespace, clone_newnet) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def payloads(file: Path) -> dict[tuple[str, str], bytes]:
    """What each side of each TCP stream sent, put together as tshark sees it."""
    fields = ["-e", "tcp.stream", "-e", "ip.src", "-e", "tcp.payload"]
    lines = subprocess.run(
        ["tshark", "-r", file, "-T", "fields", *fields, "tcp.payload"], check=True, capture_output=True, text=True, timeout=PATIENCE
    ).stdout.splitlines()
    sent: dict[tuple[str, str], bytes] = defaultdict(bytes)
    for line in lines:
        stream, source, payload = line.split("\t")
        sent[stream, source] += bytes.fromhex(payload)
    return sent


def seen(sent: dict[tuple[str, str], bytes], text: str) -> bool:
    return any(text.encode() in payload for payload in sent.values())


@pytest.fixture
def machines(binary: Path, tmp_path: Path) -> Iterator[Machines]:
    program("ip", "iproute2")
    program("tshark", "tshark")
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces: run as root")
    machines = Machines(binary, tmp_path)
    with machines.stack:
        machines.link()
        yield machines


@pytest.fixture
def far(machines: Machines) -> Path:
    """An encrypted kernel on the far machine, started as a user does; the connection file that it writes for the other machine."""
    machines.kernel(machines.far, machines.folder / "far.json", "--ip", FAR, "--client-file", str(machines.folder / "near.json"))
    file = machines.folder / "near.json"
    connection = json.loads(file.read_text())
    assert connection["ip"] == FAR and connection["curve_publickey"] and not connection.get("curve_secretkey")
    return file


def written(file: Path, connection: dict) -> Path:
    file.write_text(json.dumps(connection))
    return file


def script(machines: Machines) -> Path:
    file = machines.folder / "ask.lua"
    file.write_text(f'print(LocalLLM.generate("{PROMPT}", {{ temperature = 0 }}))')
    return file


def test_everything_that_goes_to_the_other_machine_is_encrypted(machines: Machines, far: Path) -> None:
    borrowing = f'default_backend = "box"\n[providers.box]\ntype = "kernel"\nconnection_file = "{far}"\n'
    notebook_file = machines.folder / "notebook.json"
    machines.kernel(machines.near, notebook_file, config=borrowing)
    code = f'print(LocalLLM.generate("{PROMPT}", {{ temperature = 0 }}))'
    with machines.capture() as recorded:
        assert ANSWER in machines.run("--connect", far, "run", script(machines)).stdout
        assert ANSWER in machines.run("--connect", far, "exec", code).stdout
        assert "moonlet" in machines.run("--connect", far, "model", "list").stdout
        assert "moonlet" in machines.run("--connect", far, "model", "ps").stdout
        with Terminal(["ip", "netns", "exec", machines.near, machines.binary, "--connect", far, "repl"]) as repl:
            repl.prompt("[1]> ")
            repl.line(code)
            repl.prompt("[2]> ")
            assert ANSWER in repl.text.split(PROMPT)[-1]
            repl.keys(CTRL_D)
            assert repl.ended() == 0
        console = machines.attach(machines.folder / "far.json")
        assert ANSWER in console.execute(code).stream()
        notebook = machines.attach(notebook_file)
        streamed = notebook.execute(f'for piece in LocalLLM.stream("{PROMPT}", {{ temperature = 0 }}) do io.write(piece) end')
        assert ANSWER in streamed.stream()
        answer = notebook.model("chat", messages=[{"role": "user", "content": PROMPT}], options={"temperature": 0}).reply
        assert ANSWER in answer["text"] and answer["model"] == "local/moonlet@box"
        sent = recorded()
    assert seen(sent, "a text before everything") and seen(sent, "a text after everything")
    assert seen(sent, "CURVE"), "the greetings, which are not secret, were not recorded"
    assert sum(map(len, sent.values())) > 10_000
    assert [text for text in [*PLAINTEXT, json.loads(far.read_text())["key"]] if seen(sent, text)] == []


def test_the_same_without_encryption_is_seen(machines: Machines) -> None:
    """Only a Jupyter launcher can have such a kernel. The test above looks for the right words in the right place."""
    file = machines.folder / "plain.json"
    write_connection_file(str(file), ip=FAR, key=KEY, **PORTS)
    machines.kernel(machines.far, file, JPY_PARENT_PID=str(os.getpid()))
    with machines.capture() as recorded:
        assert ANSWER in machines.run("--connect", file, "run", script(machines)).stdout
        assert "moonlet" in machines.run("--connect", file, "model", "ps").stdout
        sent = recorded()
    assert [text for text in PLAINTEXT if not seen(sent, text)] == []
    assert not seen(sent, KEY.decode())


@pytest.mark.parametrize("wrong", ["no CURVE key", "another CURVE key", "another key", "no keys at all"])
def test_our_own_client_gets_nothing_without_the_right_keys(machines: Machines, far: Path, wrong: str) -> None:
    connection = json.loads(far.read_text())
    match wrong:
        case "no CURVE key":
            del connection["curve_publickey"]
        case "another CURVE key":
            connection["curve_publickey"] = zmq.curve_keypair()[0].decode()
        case "another key":
            connection["key"] = "another key"
        case "no keys at all":
            del connection["curve_publickey"]
            connection["key"] = ""
    file = written(machines.folder / "wrong.json", connection)
    for command in (["exec", "return 6 * 7"], ["model", "list"], ["kernel", "stop", "--connection-file", file]):
        began = time.monotonic()
        done = machines.run(*([] if "stop" in command else ["--connect", file]), *command)
        assert (done.returncode, done.stdout) == (3, ""), done
        assert time.monotonic() - began < LOST
    assert machines.run("--connect", far, "exec", "return 6 * 7").stdout == "42\n"


class Intruder:
    """A client with the wrong keys that tries without end, on every socket. `heard` counts what came back, `reached` how often an
    address let it connect, after which the handshake fails."""

    def __init__(self, connection: dict, server_key: bytes | None, key: str):
        self.context = zmq.Context()
        self.session = Session(key=key.encode())
        self.connections: list[zmq.Socket] = []
        self.sockets = [
            self.socket(kind, connection[port], server_key)
            for kind, port in (
                (zmq.DEALER, "shell_port"), (zmq.DEALER, "control_port"), (zmq.DEALER, "stdin_port"),
                (zmq.SUB, "iopub_port"), (zmq.DEALER, "hb_port"),
            )
        ]  # fmt: skip
        self.heard = self.reached = 0

    def socket(self, kind: int, port: int, server_key: bytes | None) -> zmq.Socket:
        socket = self.context.socket(kind)
        socket.linger, socket.reconnect_ivl, socket.sndhwm = 0, 10, 10
        if server_key:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = server_key
        if kind == zmq.SUB:
            socket.subscribe(b"")
        self.connections.append(socket.get_monitor_socket(zmq.EVENT_CONNECTED))
        socket.connect(f"tcp://{FAR}:{port}")
        return socket

    def try_once(self) -> None:
        content = {"code": "intruded = true", "silent": False, "allow_stdin": False}
        for socket in self.sockets:
            with contextlib.suppress(zmq.Again):
                if socket.type == zmq.DEALER:
                    socket.send_multipart(self.session.serialize(self.session.msg("execute_request", content)), zmq.NOBLOCK)
            with contextlib.suppress(zmq.Again):
                socket.recv_multipart(zmq.NOBLOCK)
                self.heard += 1
        for connections in self.connections:
            while connections.poll(0):
                connections.recv_multipart()
                self.reached += 1

    def close(self) -> None:
        self.context.destroy()


@contextlib.contextmanager
def intruding(namespace: str, connection: dict) -> Iterator[Any]:
    """Twenty of them, ten without CURVE and ten with another key, in a process that leaves the processors to others: on a machine of
    their own they would not compete for them. Gives the counts of what they heard and of how often each reached the kernel."""
    methods = multiprocessing.get_context("fork")
    counts, over = methods.Array("q", 21), methods.Event()

    def intrude() -> None:
        os.nice(19)
        intruders = [Intruder(connection, None, connection["key"]) for _ in range(10)]
        intruders += [Intruder(connection, zmq.curve_keypair()[0], connection["key"]) for _ in range(10)]
        while not over.wait(0.01):
            for intruder in intruders:
                intruder.try_once()
            counts[:] = [sum(intruder.heard for intruder in intruders), *(intruder.reached for intruder in intruders)]
        for intruder in intruders:
            intruder.close()

    with inside(namespace):
        process = methods.Process(target=intrude)
        process.start()
    try:
        yield counts
        assert process.is_alive(), "the intruders gave up"
    finally:
        over.set()
        process.join(PATIENCE)
        process.kill()


def round_trips(frontend: Frontend, count: int = 200) -> list[float]:
    """Milliseconds from a cell to its reply."""
    exchanges = [frontend.execute("return 1") for _ in range(count)]
    return [1000 * (exchange.answer.at - exchange.sent_at) for exchange in exchanges]


def test_clients_with_the_wrong_keys_get_nothing_and_slow_nobody(
    machines: Machines, far: Path, figures: Callable[[str, list[float]], None]
) -> None:
    connection = json.loads(far.read_text())
    server_key = connection["curve_publickey"].encode()
    frontend = machines.attach(machines.folder / "far.json")
    frontend.execute("intruded = nil")
    round_trips(frontend)
    quiet = round_trips(frontend)
    with intruding(machines.near, connection) as counts:
        loud = round_trips(frontend)
        # Long enough for every handshake to have been tried several times.
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            loud += round_trips(frontend, 20)
    figures("execute from another machine, encrypted", quiet)
    figures("the same among 20 clients with wrong keys", loud)
    heard, *reached = counts
    assert heard == 0
    assert min(reached) >= len(PORTS), "the intruders did not get far enough to disturb anybody"
    assert frontend.execute("return intruded == nil").result == "true"
    # They try a hundred times a second each; to wait for one of their handshakes would take seconds.
    assert statistics.median(loud) < 3 * statistics.median(quiet) + 5
    assert max(loud) < 1000


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_a_link_that_is_down_for_a_moment_ends_no_run(machines: Machines, far: Path, seconds: float) -> None:
    file = machines.folder / "tick.lua"
    file.write_text("for i = 1, 12 do print(i) os.execute('sleep 0.5') end")
    command = ["ip", "netns", "exec", machines.near, machines.binary, "--connect", far, "run", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert [run.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
        ip("-n", machines.near, "link", "set", LINK, "down")
        time.sleep(seconds)
        ip("-n", machines.near, "link", "set", LINK, "up")
        rest, problems = run.communicate(timeout=PATIENCE)
    assert (run.returncode, problems) == (0, "")
    assert rest.split() == [str(number) for number in range(3, 13)]


def test_the_right_curve_key_is_not_enough(machines: Machines, far: Path) -> None:
    """Who can encrypt but not sign hears the heartbeat and what is published, which he cannot forge, and nothing that he asks is done."""
    connection = json.loads(far.read_text())
    frontend = machines.attach(machines.folder / "far.json")
    with inside(machines.near):
        intruder = Intruder(connection, connection["curve_publickey"].encode(), "another key")
    shell, control, stdin, _, heart = intruder.sockets
    for _ in range(20):
        intruder.try_once()
    assert heart.poll(1000 * PATIENCE), "the connection with the right CURVE key did not come about"
    assert frontend.execute("return intruded == nil").result == "true"
    assert [socket.poll(0) for socket in (shell, control, stdin)] == [0, 0, 0]
    intruder.close()
