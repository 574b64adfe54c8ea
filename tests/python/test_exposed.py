"""`perilune kernel start --ip`: a kernel for other machines, reached by an address of this machine that is not loopback."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run
from frontend import PATIENCE
from jupyter_client import BlockingKernelClient

Start = tuple[Path, Path]


@pytest.fixture(scope="module")
def address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]


@pytest.fixture
def start(perilune: Run, tmp_path: Path) -> Iterator[object]:
    """Starts a kernel in the background; returns its own file and the other machines'."""
    files: list[Path] = []

    def start(*arguments: object) -> Start:
        own = tmp_path / f"kernel-{len(files)}.json"
        started = perilune("kernel", "start", "--detach", "--connection-file", own, *arguments, "--output", "json")
        assert started.returncode == 0, started.stderr
        files.append(own)
        said = json.loads(started.stdout)
        assert said["connection_file"] == str(own)
        return own, Path(said["client_file"])

    yield start
    for own in files:
        if own.exists():
            assert perilune("kernel", "stop", "--connection-file", own).returncode == 0


@pytest.mark.parametrize("ip", ["the machine's", "0.0.0.0"])
def test_a_second_file_is_made_for_the_other_machine(start, perilune: Run, address: str, ip: str, tmp_path: Path) -> None:
    own, client = start("--ip", address if ip == "the machine's" else ip)
    ours, theirs = json.loads(own.read_text()), json.loads(client.read_text())
    assert stat.S_IMODE(own.stat().st_mode) == stat.S_IMODE(client.stat().st_mode) == 0o600
    assert theirs["ip"] == address
    assert len(ours["curve_secretkey"]) == 40
    assert "curve_secretkey" not in theirs, "who may ask the kernel may not pass for it"
    assert theirs["curve_publickey"] == ours["curve_publickey"] and theirs["key"] == ours["key"]
    for file in (own, client):
        assert perilune("--connect", file, "exec", "return 6 * 7").stdout == "42\n"
    assert perilune("--connect", client, "model", "list").returncode == 0
    assert perilune("--connect", client, "kernel", "status").returncode == 0
    stopped = perilune("--connect", client, "kernel", "stop")
    assert stopped.returncode == 0, stopped.stderr
    deadline = time.monotonic() + PATIENCE
    while own.exists() or client.exists():
        assert time.monotonic() < deadline, "something is left"
        time.sleep(0.005)


def test_how_to_use_it_is_said_on_stderr(perilune: Run, address: str, tmp_path: Path) -> None:
    own = tmp_path / "kernel.json"
    started = perilune("kernel", "start", "--detach", "--connection-file", own, "--ip", address)
    assert started.returncode == 0, started.stderr
    try:
        assert started.stdout == f"{own}\n"
        assert str(tmp_path / "kernel-client.json") in started.stderr
        assert "--connect kernel-client.json" in started.stderr
    finally:
        perilune("kernel", "stop", "--connection-file", own)


def test_keys_that_are_missing_or_wrong_are_told_by_name(start, perilune: Run, address: str, tmp_path: Path) -> None:
    own, client = start("--ip", address)
    other, _ = start("--ip", address)
    given = json.loads(client.read_text())
    stranger = tmp_path / "stranger.json"
    cases = [
        ({"curve_publickey": None}, "no `curve_publickey`"),
        ({"curve_publickey": json.loads(other.read_text())["curve_publickey"]}, "are these the keys"),
        ({"key": "another"}, "key"),
    ]
    for change, told in cases:
        stranger.write_text(json.dumps(given | change))
        done = perilune("--connect", stranger, "exec", "return 1")
        assert done.returncode == 3
        assert told in done.stderr, done.stderr
    assert perilune("--connect", client, "exec", "return 1").stdout == "1\n"
    assert "turned away" in own.with_suffix(".log").read_text()


def answers(file: Path, patience: float) -> bool:
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels(hb=False)
    try:
        return client.kernel_info(reply=True, timeout=patience)["content"]["status"] == "ok"
    except TimeoutError:
        return False
    finally:
        client.stop_channels()


def test_jupyters_own_client_needs_the_secret_which_is_given_when_asked_for(start, address: str) -> None:
    _, without = start("--ip", address)
    assert not answers(without, 1.5), "jupyter_client does without by now: `--for-jupyter` can go"
    _, with_secret = start("--ip", address, "--for-jupyter")
    assert answers(with_secret, PATIENCE)


def test_what_cannot_be_obeyed_is_refused(perilune: Run, tmp_path: Path) -> None:
    file = tmp_path / "there.json"
    ports = {f"{part}_port": 0 for part in ("shell", "iopub", "stdin", "control", "hb")}
    file.write_text(json.dumps(ports | {"ip": "127.0.0.1", "key": "a key"}))
    done = perilune("kernel", "start", "--connection-file", file, "--ip", "0.0.0.0")
    assert done.returncode == 2 and "there.json" in done.stderr and "--ip" in done.stderr
    done = perilune("kernel", "start", "--advertise", "gpu-box")
    assert done.returncode == 2 and "--ip" in done.stderr
    file.write_text(json.dumps(ports | {"ip": "0.0.0.0", "key": "a key"}))
    done = perilune("kernel", "start", "--connection-file", file)
    assert done.returncode == 3 and "CURVE" in done.stderr, "listening beyond loopback has no way around keys"


def test_loopback_has_no_second_file(perilune: Run, tmp_path: Path) -> None:
    own = tmp_path / "kernel.json"
    started = perilune("kernel", "start", "--detach", "--ip", "127.0.0.2", "--connection-file", own, "--output", "json")
    assert started.returncode == 0, started.stderr
    try:
        assert json.loads(started.stdout)["client_file"] is None
        assert json.loads(own.read_text())["ip"] == "127.0.0.2"
        assert perilune("--connect", own, "exec", "return 1").stdout == "1\n"
    finally:
        assert perilune("kernel", "stop", "--connection-file", own).returncode == 0
