"""`perilune kernel start|status|stop` by hand: connection files, ports, the resident kernel, and `--connect`."""

import json
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import Run
from frontend import PATIENCE
from jupyter_client.connect import write_connection_file
from resident import attached, free_ports, kernel, wait_for_file

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


def test_a_kernel_started_by_hand_writes_its_connection_file(binary: Path, tmp_path: Path) -> None:
    file, log = tmp_path / "kernel.json", tmp_path / "log"
    with kernel(binary, file, log) as process:
        connection = wait_for_file(file, process, log)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, "the key is for its owner only"
        assert connection["ip"] == "127.0.0.1"
        assert connection["transport"] == "tcp"
        assert connection["signature_scheme"] == "hmac-sha256"
        assert len(connection["key"]) >= 32
        ports = [connection[port] for port in PORTS]
        assert len(set(ports)) == 5 and all(ports)
        with attached(file) as frontend:
            assert frontend.execute("return 6 * 7").result == "42"
            frontend.ask("shutdown_request", {"restart": False}, channel="control")
            assert process.wait(PATIENCE) == 0


def test_two_kernels_by_hand_have_different_keys_and_ports(binary: Path, tmp_path: Path) -> None:
    connections = []
    with (
        kernel(binary, tmp_path / "a.json", tmp_path / "a.log") as one,
        kernel(binary, tmp_path / "b.json", tmp_path / "b.log") as two,
    ):
        connections.append(wait_for_file(tmp_path / "a.json", one, tmp_path / "a.log"))
        connections.append(wait_for_file(tmp_path / "b.json", two, tmp_path / "b.log"))
    assert connections[0]["key"] != connections[1]["key"]
    assert not {connections[0][port] for port in PORTS} & {connections[1][port] for port in PORTS}


def test_given_ports_and_key_are_used(binary: Path, tmp_path: Path) -> None:
    """As Jupyter's launchers do it."""
    file, log = tmp_path / "given.json", tmp_path / "log"
    ports = dict(zip(PORTS, free_ports(5), strict=True))
    write_connection_file(str(file), ip="127.0.0.1", key=b"a key that was given", **ports)
    before = json.loads(file.read_text())
    with kernel(binary, file, log), attached(file) as frontend:
        assert frontend.session.key == b"a key that was given"
        assert frontend.execute("return 1").result == "1"
        after = json.loads(file.read_text())
        assert {port: after[port] for port in PORTS} == ports
        assert after["key"] == before["key"]


def test_a_port_in_use_is_named(binary: Path, perilune: Run, tmp_path: Path) -> None:
    file = tmp_path / "taken.json"
    ports = dict(zip(PORTS, free_ports(5), strict=True))
    with socket.create_server(("127.0.0.1", ports["control_port"])):
        write_connection_file(str(file), ip="127.0.0.1", key=b"key", **ports)
        done = perilune("kernel", "start", "--connection-file", file)
    assert done.returncode not in (0, 101)
    assert str(ports["control_port"]) in done.stderr
    assert "in use" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_the_resident_kernel_starts_answers_and_stops(perilune: Run, home: Path) -> None:
    try:
        started = perilune("kernel", "start", "--detach")
        assert started.returncode == 0, started.stderr
        file = Path(started.stdout.strip().splitlines()[-1].split()[-1])
        assert file.is_file(), started.stdout
        assert file.is_relative_to(home), "PERILUNE_HOME moves everything"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert perilune("kernel", "status").returncode == 0
        assert perilune("--connect", file, "exec", "return 6 * 7").stdout == "42\n"
        with attached(file) as frontend:
            assert frontend.execute("return 2").result == "2"
    finally:
        stopped = perilune("kernel", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not file.exists()
    gone = perilune("kernel", "status")
    assert gone.returncode == 3
    assert gone.stderr


def test_a_second_resident_kernel_is_refused(perilune: Run, home: Path) -> None:
    try:
        first = perilune("kernel", "start", "--detach")
        assert first.returncode == 0, first.stderr
        second = perilune("kernel", "start", "--detach")
        assert second.returncode != 0 or second.stdout == first.stdout
        assert perilune("kernel", "status").returncode == 0
    finally:
        assert perilune("kernel", "stop").returncode == 0


def test_a_model_loaded_into_the_resident_kernel_stays_there(perilune: Run, home: Path) -> None:
    try:
        assert perilune("kernel", "start", "--detach").returncode == 0
        assert "moonlet" not in perilune("model", "ps").stdout
        loaded = perilune("model", "load", "local/moonlet@candle")
        assert loaded.returncode == 0, loaded.stderr
        assert "moonlet" in perilune("model", "ps").stdout
        assert perilune("model", "unload", "local/moonlet@candle").returncode == 0
        assert "moonlet" not in perilune("model", "ps").stdout
    finally:
        assert perilune("kernel", "stop").returncode == 0


def test_modules_beside_the_script_travel_with_connect(perilune: Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "parts").mkdir(parents=True)
    (folder / "main.lua").write_text("local shout = require('parts.shout')\nprint(shout(arg[1]), require('sibling').name)\n")
    (folder / "parts" / "shout.lua").write_text("return function(text) return text:upper() .. '!' end\n")
    (folder / "sibling.lua").write_text("return { name = ... }\n")
    alone = perilune("run", folder / "main.lua", "hello", cwd=tmp_path)
    assert alone.stdout == "HELLO!\tsibling\n", alone.stderr
    try:
        assert perilune("kernel", "start", "--detach", cwd="/").returncode == 0
        file = home / "run/kernel.json"
        connected = perilune("--connect", file, "run", folder / "main.lua", "hello", cwd=tmp_path)
        assert (connected.stdout, connected.returncode) == (alone.stdout, 0), connected.stderr
    finally:
        assert perilune("kernel", "stop").returncode == 0


def test_each_run_has_a_fresh_workspace(perilune: Run, home: Path) -> None:
    try:
        assert perilune("kernel", "start", "--detach").returncode == 0
        file = home / "run/kernel.json"
        assert perilune("--connect", file, "exec", "left_behind = 1").returncode == 0
        assert perilune("--connect", file, "exec", "return left_behind == nil").stdout == "true\n"
        with attached(file) as frontend:
            assert frontend.execute("return left_behind == nil").result == "true"
    finally:
        assert perilune("kernel", "stop").returncode == 0


@pytest.mark.parametrize("connect", [False, True])
def test_exit_codes_and_errors_are_the_same_here_and_there(perilune: Run, home: Path, tmp_path: Path, connect: bool) -> None:
    def write(name: str, code: str) -> Path:
        (tmp_path / name).write_text(code)
        return tmp_path / name

    where: list[object] = []
    try:
        if connect:
            assert perilune("kernel", "start", "--detach").returncode == 0
            where = ["--connect", home / "run/kernel.json"]
        failing = perilune(*where, "run", write("failing.lua", "print('so far')\n\nerror('on purpose')\n"))
        assert failing.returncode == 1
        assert failing.stdout == "so far\n"
        assert "failing.lua:3: on purpose" in failing.stderr
        assert "traceback" in failing.stderr
        assert perilune(*where, "run", write("exits.lua", "print('bye') os.exit(7)")).returncode == 7
        good = perilune(*where, "run", write("good.lua", "io.stderr:write('aside') print(...)"), "a", "b c")
        assert (good.returncode, good.stdout, good.stderr) == (0, "a\tb c\n", "aside")
        reading = perilune(
            *where, "run", write("reads.lua", "for line in io.lines() do print('<' .. line .. '>') end"), input="one\ntwo\n"
        )
        assert (reading.returncode, reading.stdout) == (0, "<one>\n<two>\n"), reading.stderr
    finally:
        if connect:
            assert perilune("kernel", "stop").returncode == 0


def test_a_run_over_connect_is_interrupted_by_ctrl_c(binary: Path, perilune: Run, home: Path, tmp_path: Path) -> None:
    script = tmp_path / "endless.lua"
    script.write_text("print('going') while true do pcall(function() while true do end end) end")
    try:
        assert perilune("kernel", "start", "--detach").returncode == 0
        for where in ([], ["--connect", home / "run/kernel.json"]):
            process = subprocess.Popen([binary, *where, "run", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert process.stdout.readline() == "going\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
            process.communicate()
        assert perilune("--connect", home / "run/kernel.json", "exec", "return 1").stdout == "1\n"
    finally:
        assert perilune("kernel", "stop").returncode == 0
