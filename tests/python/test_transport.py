"""The protocol crate's transport against libzmq (pyzmq) and jupyter_client's Session, in both directions, with and without CURVE.

The Rust side is protocol/examples/echo_peer.rs. PERILUNE_ECHO_PEER names the built example; else it is where `cargo test --release`
puts it.
"""

import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from jupyter_client.session import Session

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
ECHO_PEER = Path(os.environ.get("PERILUNE_ECHO_PEER", TARGET / "release" / "examples" / "echo_peer"))
KEY = "a key for tests"
PARTS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB, "hb": zmq.REQ}
PATIENCE_MS = 20_000


def echo_peer():
    assert ECHO_PEER.exists(), f"no {ECHO_PEER}: cargo build --release -p perilune-protocol --example echo_peer"
    return str(ECHO_PEER)


def connection_file(directory, curve, **ports):
    info = {f"{part}_port": ports.get(part, 0) for part in PARTS}
    info.update(ip="127.0.0.1", transport="tcp", key=KEY, signature_scheme="hmac-sha256", kernel_name="echo")
    if curve:
        public, secret = zmq.curve_keypair()
        info.update(curve_publickey=public.decode(), curve_secretkey=secret.decode())
    path = directory / "connection.json"
    path.write_text(json.dumps(info))
    return path


def session():
    return Session(key=KEY.encode(), signature_scheme="hmac-sha256", username="tester")


class Peer:
    """libzmq's end of the connection: a client's sockets."""

    def __init__(self, info):
        self.info = info
        self.context = zmq.Context()
        self.session = session()
        self.sockets = {part: self.connect(part, kind) for part, kind in PARTS.items()}

    def connect(self, part, kind):
        sock = self.context.socket(kind)
        sock.linger = 0
        sock.rcvtimeo = PATIENCE_MS
        if "curve_publickey" in self.info:
            sock.curve_publickey, sock.curve_secretkey = zmq.curve_keypair()
            sock.curve_serverkey = self.info["curve_publickey"].encode()
        if kind == zmq.SUB:
            sock.rcvhwm = 0
            sock.subscribe(b"")
        sock.connect(f"tcp://{self.info['ip']}:{self.info[part + '_port']}")
        return sock

    def receive(self, part):
        _, message = self.session.recv(self.sockets[part], mode=0)
        return message

    def await_welcome(self):
        welcome = self.receive("iopub")
        assert welcome["msg_type"] == "iopub_welcome"
        assert welcome["parent_header"] == {}
        assert welcome["content"] == {"subscription": ""}

    def execute(self, code, part="shell"):
        content = {"code": code, "silent": False, "allow_stdin": True}
        return self.session.send(self.sockets[part], "execute_request", content)["header"]

    def published(self, request):
        """Everything published for a request, up to its idle. Only other subscribers' welcomes may come in between."""
        messages = []
        while True:
            message = self.receive("iopub")
            if message["msg_type"] == "iopub_welcome":
                continue
            assert message["parent_header"]["msg_id"] == request["msg_id"]
            messages.append(message)
            if message["content"] == {"execution_state": "idle"}:
                return messages

    def shut_down(self):
        self.session.send(self.sockets["control"], "shutdown_request", {"restart": False})
        return self.receive("control")

    def close(self):
        self.context.destroy(linger=0)


@contextmanager
def kernel(directory, curve):
    path = connection_file(directory, curve)
    process = subprocess.Popen([echo_peer(), "kernel", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process, json.loads(path.read_text())
    finally:
        process.kill()
        process.communicate()


@contextmanager
def connected(info):
    peer = Peer(info)
    try:
        yield peer
    finally:
        peer.close()


@pytest.fixture(params=[False, True], ids=["plain", "curve"])
def curve(request):
    return request.param


def test_jupyters_session_reads_what_we_write_and_we_read_what_it_writes(tmp_path, curve):
    with kernel(tmp_path, curve) as (_, info), connected(info) as peer:
        assert all(info[f"{part}_port"] for part in PARTS)
        peer.await_welcome()
        request = peer.execute("Grüße, 月")
        reply = peer.receive("shell")
        assert reply["msg_type"] == "execute_reply"
        assert reply["parent_header"]["msg_id"] == request["msg_id"]
        assert reply["content"] == {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
        messages = peer.published(request)
        assert [message["msg_type"] for message in messages] == ["status", "stream", "status"]
        assert messages[1]["content"] == {"name": "stdout", "text": "Grüße, 月"}


def test_control_stdin_and_heartbeat_are_answered(tmp_path, curve):
    with kernel(tmp_path, curve) as (_, info), connected(info) as peer:
        peer.await_welcome()
        for beat in (b"ping", b"again"):
            peer.sockets["hb"].send(beat)
            assert peer.sockets["hb"].recv() == beat
        # A stdin socket can be asked only once the kernel knows it; with jupyter_client it has the shell socket's identity.
        control = peer.execute("on control", part="control")
        assert peer.receive("control")["parent_header"]["msg_id"] == control["msg_id"]
        assert peer.published(control)[1]["content"]["text"] == "on control"


def test_input_is_asked_from_the_client_whose_identity_asked_for_it(tmp_path, curve):
    with kernel(tmp_path, curve) as (_, info), connected(info) as peer:
        peer.await_welcome()
        for part in ("shell", "stdin"):
            peer.sockets[part].close()
            peer.sockets[part] = peer.context.socket(zmq.DEALER)
            peer.sockets[part].linger = 0
            peer.sockets[part].rcvtimeo = PATIENCE_MS
            peer.sockets[part].identity = b"the one"
            if curve:
                peer.sockets[part].curve_publickey, peer.sockets[part].curve_secretkey = zmq.curve_keypair()
                peer.sockets[part].curve_serverkey = info["curve_publickey"].encode()
            monitor = peer.sockets[part].get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            peer.sockets[part].connect(f"tcp://{info['ip']}:{info[part + '_port']}")
            assert monitor.poll(PATIENCE_MS)
            peer.sockets[part].disable_monitor()
        request = peer.execute("input")
        question = peer.receive("stdin")
        assert question["msg_type"] == "input_request"
        assert question["content"] == {"prompt": "? ", "password": False}
        peer.session.send(peer.sockets["stdin"], "input_reply", {"value": "a line"}, parent=question)
        assert peer.published(request)[1]["content"]["text"] == "a line"


def test_a_burst_reaches_every_subscriber_whole_and_in_order(tmp_path, curve):
    count = 10_000
    with kernel(tmp_path, curve) as (_, info), connected(info) as peer, connected(info) as other:
        for one in (peer, other):
            while one.receive("iopub")["msg_type"] != "iopub_welcome":
                pass
        request = peer.execute(f"burst {count}")
        for one in (peer, other):
            texts = [message["content"].get("text") for message in one.published(request)]
            assert texts == [None, *(f"{number}\n" for number in range(count)), None]


def test_a_subscriber_that_does_not_read_holds_up_nobody(tmp_path, curve):
    with kernel(tmp_path, curve) as (_, info), connected(info) as stalled, connected(info) as peer:
        peer.await_welcome()
        stalled.sockets["iopub"].close()
        sleeper = stalled.context.socket(zmq.SUB)
        sleeper.rcvhwm = 1
        if curve:
            sleeper.curve_publickey, sleeper.curve_secretkey = zmq.curve_keypair()
            sleeper.curve_serverkey = info["curve_publickey"].encode()
        sleeper.subscribe(b"")
        sleeper.connect(f"tcp://{info['ip']}:{info['iopub_port']}")
        assert sleeper.poll(PATIENCE_MS), "the sleeper is subscribed once something has arrived"
        for _ in range(5):
            request = peer.execute("burst 20000")
            messages = [m for m in peer.published(request) if m["msg_type"] == "stream"]
            assert len(messages) == 20_000


def test_a_wrong_key_is_dropped_and_the_next_message_is_answered(tmp_path, curve):
    with kernel(tmp_path, curve) as (process, info), connected(info) as peer:
        peer.await_welcome()
        liar = Session(key=b"another key", signature_scheme="hmac-sha256")
        liar.send(peer.sockets["shell"], "execute_request", {"code": "lie"})
        request = peer.execute("truth")
        assert peer.receive("shell")["parent_header"]["msg_id"] == request["msg_id"]
        assert peer.published(request)[1]["content"]["text"] == "truth"
        assert "wrong signature" in process.stderr.readline()


def test_a_replayed_message_is_dropped(tmp_path):
    with kernel(tmp_path, False) as (process, info), connected(info) as peer:
        peer.await_welcome()
        message = peer.session.msg("execute_request", {"code": "once"})
        for _ in range(2):
            peer.sockets["shell"].send_multipart(peer.session.serialize(message))
        request = peer.execute("then")
        assert peer.receive("shell")["parent_header"]["msg_id"] == message["header"]["msg_id"]
        assert peer.receive("shell")["parent_header"]["msg_id"] == request["msg_id"]
        assert "seen before" in process.stderr.readline()


def test_a_shutdown_is_answered_before_the_kernel_ends(tmp_path, curve):
    with kernel(tmp_path, curve) as (process, info), connected(info) as peer:
        peer.await_welcome()
        reply = peer.shut_down()
        assert reply["msg_type"] == "shutdown_reply"
        assert reply["content"] == {"status": "ok", "restart": False}
        states = [peer.receive("iopub")["content"]["execution_state"] for _ in range(2)]
        assert states == ["busy", "idle"]
        assert process.wait(timeout=PATIENCE_MS / 1000) == 0


def test_a_client_without_the_curve_key_gets_nothing(tmp_path):
    with kernel(tmp_path, True) as (_, info), connected(info) as peer:
        peer.await_welcome()
        plain = {name: value for name, value in info.items() if not name.startswith("curve")}
        with connected(plain) as outsider:
            outsider.execute("let me in")
            assert not outsider.sockets["shell"].poll(500)
        request = peer.execute("still here")
        assert peer.receive("shell")["parent_header"]["msg_id"] == request["msg_id"]


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + b"\0" * 48 + b"\x02\x40" + b"\0" * 7,
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + b"\0" * 48 + b"\x06\x40" + b"\0" * 7,
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + b"\0" * 48
        + b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0" + b"\x02\x40" + b"\0" * 7,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
        b"\xff\x00\x00",
        os.urandom(4096),
    ],
    ids=["huge-frame-first", "huge-command", "huge-frame-after-ready", "http", "half-a-greeting", "noise"],
)
def test_hostile_bytes_harm_nobody_else(tmp_path, curve, bytes_sent):
    with kernel(tmp_path, curve) as (process, info), connected(info) as peer:
        peer.await_welcome()
        hostile = []
        for part in PARTS:
            sock = socket.create_connection((info["ip"], info[part + "_port"]), timeout=PATIENCE_MS / 1000)
            sock.sendall(bytes_sent)
            hostile.append(sock)
        for number in range(20):
            request = peer.execute(f"still {number}")
            assert peer.receive("shell")["parent_header"]["msg_id"] == request["msg_id"]
            peer.published(request)
        peer.sockets["hb"].send(b"alive")
        assert peer.sockets["hb"].recv() == b"alive"
        assert resident_megabytes(process.pid) < 100
        for sock in hostile:
            sock.close()


def resident_megabytes(pid):
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Kernel(threading.Thread):
    """libzmq's end of the connection: a kernel's sockets, for our client to connect to."""

    def __init__(self, info):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.session = session()
        kinds = {"shell": zmq.ROUTER, "control": zmq.ROUTER, "stdin": zmq.ROUTER, "iopub": zmq.XPUB, "hb": zmq.REP}
        self.sockets = {part: self.bind(info, part, kind) for part, kind in kinds.items()}
        self.received = []
        self.failure = None

    def bind(self, info, part, kind):
        sock = self.context.socket(kind)
        sock.linger = 1000
        sock.rcvtimeo = PATIENCE_MS
        if "curve_publickey" in info:
            sock.curve_server = True
            sock.curve_publickey = info["curve_publickey"].encode()
            sock.curve_secretkey = info["curve_secretkey"].encode()
        info[f"{part}_port"] = sock.bind_to_random_port(f"tcp://{info['ip']}")
        return sock

    def run(self):
        try:
            self.serve()
        except Exception as failure:
            self.failure = failure
        finally:
            self.context.destroy(linger=1000)

    def serve(self):
        assert self.sockets["hb"].recv() == (1).to_bytes(8, "big")
        self.sockets["hb"].send((1).to_bytes(8, "big"))
        assert self.sockets["iopub"].recv() == b"\x01"
        identities, request = self.session.recv(self.sockets["shell"], mode=0)
        self.received.append(request)
        self.publish("status", {"execution_state": "busy"}, request)
        # Their client's stdin socket is another peer than its shell socket, so it speaks first here: there is nothing to ask it.
        self.publish("display_data", {"data": {"text/plain": "Ω"}, "metadata": {}, "transient": {}}, request)
        self.publish("status", {"execution_state": "idle"}, request)
        reply = {"status": "ok", "execution_count": 3, "payload": [], "user_expressions": {}}
        self.session.send(self.sockets["shell"], "execute_reply", reply, parent=request, ident=identities)

    def publish(self, kind, content, parent):
        self.session.send(self.sockets["iopub"], kind, content, parent=parent, ident=kind.encode())


def test_our_client_speaks_to_a_kernel_on_libzmq(tmp_path, curve):
    path = connection_file(tmp_path, curve)
    info = json.loads(path.read_text())
    theirs = Kernel(info)
    path.write_text(json.dumps(info))
    theirs.start()
    ours = subprocess.run([echo_peer(), "client", str(path), "1 + 1"], capture_output=True, text=True, timeout=60)
    theirs.join(timeout=PATIENCE_MS / 1000)
    assert theirs.failure is None
    assert ours.returncode == 0, ours.stderr
    lines = [json.loads(line) for line in ours.stdout.splitlines()]
    assert lines[0] == {"heartbeat": True}
    by_type = {line["msg_type"]: line["content"] for line in lines[1:]}
    assert by_type["execute_reply"]["execution_count"] == 3
    assert by_type["display_data"]["data"] == {"text/plain": "Ω"}
    (request,) = theirs.received
    assert request["content"]["code"] == "1 + 1"
    assert request["content"]["user_expressions"] == {}
    assert request["header"]["version"] == "5.5"
