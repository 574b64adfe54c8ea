"""`--ssh`: through OpenSSH's own server, run here on a port of its own with keys made for the test."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run
from frontend import PATIENCE
from resident import free_ports, kernel, wait_for_file

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`user@127.0.0.1:port` of a running sshd; `ssh` in the PATH takes the test's key and configuration."""
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("OpenSSH's server or client is not installed: apt-get install openssh-server openssh-client")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (port,) = free_ports(1)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\n"
    )
    (folder / "config").write_text(f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\nBatchMode yes\n")
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it, where it separates its privileges
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
            yield f"{getpass.getuser()}@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def far(binary: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    file, log = tmp_path / "far.json", tmp_path / "log"
    with kernel(binary, file, log) as process:
        wait_for_file(file, process, log)
        yield process, file


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left behind: no folder, and no ssh, whose control socket lies in it."""
    folder = Path("/tmp") / f"pl-{os.getpid()}"  # short: a socket's path has at most a hundred letters or so
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    left = list(folder.iterdir())
    ssh = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True).stdout.split()
    shutil.rmtree(folder)
    assert not left and not ssh


def test_a_file_here_and_a_file_over_there(server: str, far, perilune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = far
    done = perilune("--ssh", server, "--connect", file, "exec", "return 6 * 7")
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr
    script = tmp_path / "script.lua"
    script.write_text("for line in io.lines() do print('<' .. line .. '>') end os.exit(7)")
    done = perilune("--ssh", server, "--connect", file, "run", script, input="one\n")
    assert (done.stdout, done.returncode) == ("<one>\n", 7), done.stderr
    assert perilune("--ssh", server, "--connect", file, "model", "list").returncode == 0
    # A path that exists over there alone: relative to the home directory of the account.
    there = Path.home() / f"perilune-test-{os.getpid()} it's.json"
    there.write_text(file.read_text())
    try:
        done = perilune("--ssh", server, "--connect", there.name, "exec", "return 1")
        assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    finally:
        there.unlink()


def test_a_kernel_is_stopped_through_the_tunnel(server: str, far, perilune: Run) -> None:
    process, file = far
    done = perilune("--ssh", server, "--connect", file, "kernel", "stop")
    assert done.returncode == 0, done.stderr
    assert process.wait(PATIENCE) == 0


def test_failures_are_told_in_sshs_own_words(server: str, far, perilune: Run, tmp_path: Path) -> None:
    process, file = far
    user, _, port = server.rpartition(":")
    (closed,) = free_ports(1)
    for host, told in [
        (f"{user}:{closed}", "Connection refused"),
        (f"nobody-of-that-name@127.0.0.1:{port}", "Permission denied"),
        ("-oProxyCommand=true", "user@"),
    ]:
        done = perilune(f"--ssh={host}", "--connect", file, "exec", "1")
        assert done.returncode in (2, 3)
        assert told in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    done = perilune("--ssh", server, "--connect", tmp_path / "nowhere.json", "exec", "1")
    assert done.returncode == 3 and "nowhere.json" in done.stderr and "No such file" in done.stderr
    process.kill()
    process.wait()
    done = perilune("--ssh", server, "--connect", file, "exec", "1")
    assert done.returncode == 3
    assert "far.json@" in done.stderr and "refused" in done.stderr, done.stderr


def test_ctrl_c_interrupts_the_run_and_ends_the_tunnel(server: str, far, binary: Path, perilune: Run) -> None:
    _, file = far
    endless = "print('going') while true do end"
    process = subprocess.Popen(
        [binary, "--ssh", server, "--connect", file, "exec", endless], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "going\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to everybody in the foreground
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert perilune("--connect", file, "exec", "return 1").stdout == "1\n"
