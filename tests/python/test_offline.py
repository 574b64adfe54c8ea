"""The first thing a newcomer runs: offline, real, the same in-process and on a kernel, and streamed."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SCRIPTS, Run

CHAT = "Hello!\nWhat is 12 + 30?\n\n/new\nWhat is the capital of Italy?\n/quit\nnever asked\n"


def test_hello_prints_answers(perilune: Run, home: Path, figures: Callable) -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()
        done = perilune("run", SCRIPTS / "hello.lua")
        times.append(1000 * (time.monotonic() - began))
        assert done.returncode == 0, done.stderr
    figures("hello.lua, from start to exit", times)
    questions = re.findall(r"^> (.*)\n(.*)", done.stdout, re.MULTILINE)
    assert len(questions) >= 3
    assert all(answer.strip() for _, answer in questions)
    answers = dict(questions)
    assert "Paris" in answers["What is the capital of France?"]
    assert "42" in answers["What is 12 + 30?"]
    assert done.stderr == ""


def test_hello_writes_only_what_it_took(perilune: Run, home: Path) -> None:
    before = set(home.rglob("*"))
    assert perilune("run", SCRIPTS / "hello.lua", cwd=home).returncode == 0
    assert set(home.rglob("*")) - before == {home / "ledger.sqlite3"}


def test_hello_needs_no_network(binary: Path, perilune: Run, home: Path) -> None:
    """In a network namespace of its own, where not even loopback is up."""
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True) if shutil.which("unshare") else None
    if probe is None or probe.returncode != 0:
        pytest.skip("unshare -n does not work here: it needs util-linux and the right to make a network namespace")
    inside = subprocess.run(
        ["unshare", "-n", binary, "run", SCRIPTS / "hello.lua"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert (inside.returncode, inside.stdout) == (0, perilune("run", SCRIPTS / "hello.lua").stdout), inside.stderr


def test_hello_opens_no_socket(binary: Path, home: Path, tmp_path: Path) -> None:
    """No system call of the network family at all, by any thread or child."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=%network", "-e", "signal=none", "-o", trace]
    if not shutil.which("strace") or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("strace does not work here: it needs to be installed and ptrace to be allowed")
    done = subprocess.run(
        [*command, binary, "run", SCRIPTS / "hello.lua"], capture_output=True, timeout=100, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0
    calls = [
        line for line in trace.read_text().splitlines() if not re.search(r"socketpair\(AF_UNIX|recvfrom\(\d+, .*AF_UNIX", line)
    ]
    assert [line for line in calls if re.search(r"AF_INET|connect\(|bind\(|listen\(|sendto\(", line)] == []


@pytest.fixture
def resident(perilune: Run, home: Path) -> Iterator[Path]:
    started = perilune("kernel", "start", "--detach")
    assert started.returncode == 0, started.stderr
    yield home / "run/kernel.json"
    assert perilune("kernel", "stop").returncode == 0


@pytest.mark.parametrize(
    ("script", "arguments", "stdin"),
    [
        ("hello.lua", [], ""),
        ("chat.lua", [], CHAT),
        ("chat.lua", ["local/moonlet@candle"], CHAT),
        ("model_info.lua", [], ""),
        ("model_info.lua", ["local/moonlet@candle"], ""),
    ],
    ids=["hello", "chat", "chat with a model", "model_info", "model_info of a model"],
)
def test_the_same_bytes_in_process_and_with_connect(
    perilune: Run, resident: Path, script: str, arguments: list[str], stdin: str
) -> None:
    here = perilune("run", "--seed", 7, SCRIPTS / script, *arguments, input=stdin.encode(), text=False)
    there = perilune("--connect", resident, "run", "--seed", 7, SCRIPTS / script, *arguments, input=stdin.encode(), text=False)
    again = perilune("--connect", resident, "run", "--seed", 7, SCRIPTS / script, *arguments, input=stdin.encode(), text=False)
    assert here.returncode == there.returncode == 0, (here.stderr, there.stderr)
    assert here.stdout == there.stdout == again.stdout
    assert here.stderr == there.stderr
    assert here.stdout.strip()


def test_a_seed_makes_sampling_the_same_in_process_and_with_connect(perilune: Run, resident: Path) -> None:
    hot = "temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 40"
    code = f"for i = 1, 3 do print(LocalLLM.generate('Hello', {{ {hot} }})) end"
    here = perilune("exec", "--seed", 11, code)
    there = perilune("--connect", resident, "exec", "--seed", 11, code)
    other = perilune("exec", "--seed", 12, code)
    assert here.stdout == there.stdout
    assert here.stdout != other.stdout


STREAMING = """
local seed = tonumber(arg[1])
local pieces = LocalLLM.stream({ { role = "user", content = "Hello" } },
  { temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900, seed = seed })
for piece in pieces do io.write(piece) end
io.write("\\nthe end\\n")
"""


@pytest.mark.parametrize("connect", [False, True], ids=["in-process", "connect"])
def test_the_first_token_is_seen_before_the_last_is_generated(
    binary: Path, perilune: Run, resident: Path, tmp_path: Path, connect: bool
) -> None:
    """The pipe's first bytes are here while the script still generates: stopped right there, its last line never comes."""
    script = tmp_path / "stream.lua"
    script.write_text(STREAMING)
    where = ["--connect", str(resident)] if connect else []
    for seed in range(20):
        process = subprocess.Popen([binary, *where, "run", script, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = os.read(process.stdout.fileno(), 65_536)
        process.kill()
        rest, _ = process.communicate()
        if first and b"the end" not in first + rest:
            whole = perilune(*where, "run", script, seed, text=False).stdout
            assert whole.startswith(first)
            assert whole.endswith(b"the end\n")
            assert len(whole) > len(first + rest)
            return
    pytest.fail("the output always came in one piece at the end")


def test_status_names_the_backend_and_the_model(perilune: Run, home: Path) -> None:
    done = perilune("run", SCRIPTS / "status.lua")
    assert done.returncode == 0, done.stderr
    assert "candle (candle): works" in done.stdout
    assert "model: moonlet" in done.stdout


def test_compare_times_every_model(perilune: Run, home: Path) -> None:
    done = perilune("run", SCRIPTS / "compare.lua")
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading.split()[0] == "MODEL"
    assert len(rows) >= 3
    assert all("moonlet" in row for row in rows)


def test_json_output_of_model_info(perilune: Run, home: Path) -> None:
    done = perilune("--output", "json", "model", "info", "local/moonlet@candle")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["architecture"] == "llama"
