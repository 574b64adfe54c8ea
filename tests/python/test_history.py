"""The history: what was run is found again, in this kernel, in the next one, and beside others; and it never stands in a cell's way."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from frontend import Frontend
from resident import attached, kernel, wait_for_file

Start = Callable[[], "contextlib.AbstractContextManager[Frontend]"]


@pytest.fixture
def start(binary: Path, home: Path, tmp_path: Path) -> Start:
    """Starts kernels that share one home."""
    count = iter(range(100))

    @contextlib.contextmanager
    def start() -> Iterator[Frontend]:
        number = next(count)
        file, log = tmp_path / f"kernel-{number}.json", tmp_path / f"log-{number}"
        with kernel(binary, file, log) as process:
            wait_for_file(file, process, log)
            with attached(file) as frontend:
                frontend.log = log
                yield frontend
                frontend.ask("shutdown_request", {"restart": False}, channel="control")
            assert process.wait(30) == 0

    return start


def cells(frontend: Frontend, access: str, **content: object) -> list[str]:
    return [cell for _, _, cell in frontend.history(access, **content)]


def test_tail_range_and_search(start: Start) -> None:
    codes = ["x = 1", "return x", "x = 1", "print('größer 🌙')", "return x + 1"]
    with start() as frontend:
        for code in codes:
            frontend.execute(code)
        assert cells(frontend, "tail", n=3) == codes[2:]
        assert cells(frontend, "tail") == codes
        session, first, _ = frontend.history("tail", n=5)[0]
        assert first == 1
        assert frontend.history("range", session=session, start=2, stop=4) == [
            [session, 2, codes[1]],
            [session, 3, codes[2]],
        ]
        assert cells(frontend, "range") == codes, "session 0 is the current one, and range may lack everything"
        assert cells(frontend, "search", pattern="return*") == [codes[1], codes[4]]
        assert cells(frontend, "search", pattern="*") == codes
        assert cells(frontend, "search", pattern="x = ?", unique=True) == ["x = 1"]
        assert frontend.history("search", pattern="x*", unique=True)[0][1] == 3, "the last time it ran"
        assert cells(frontend, "search", pattern="*x*", n=2) == [codes[2], codes[4]]
        assert cells(frontend, "search", pattern="*größer 🌙*") == [codes[3]]
        assert cells(frontend, "search", pattern="X*") == []


def test_output_comes_with_the_cell_when_asked_for(start: Start) -> None:
    with start() as frontend:
        for code in ("6 * 7", "print('shown')", "error('no')"):
            frontend.execute(code)
        pairs = [pair for _, _, pair in frontend.history("tail", n=3, output=True)]
        assert pairs == [["6 * 7", "42"], ["print('shown')", None], ["error('no')", None]]


def test_only_what_belongs_there_is_kept(start: Start, perilune: Callable, tmp_path: Path) -> None:
    with start() as frontend:
        frontend.execute("silent = 1", silent=True)
        frontend.execute("unstored = 1", store_history=False)
        frontend.execute("  \n")
        frontend.execute("kept = 1")
        (tmp_path / "script.lua").write_text("print('a script')")
        assert perilune("run", tmp_path / "script.lua").returncode == 0
        assert cells(frontend, "search", pattern="*") == ["kept = 1"]


def test_it_survives_restarts_and_sessions_count_back(start: Start) -> None:
    with start() as frontend:
        frontend.execute("first = 'kernel'")
    with start() as frontend:
        assert cells(frontend, "range", session=0) == []
        assert cells(frontend, "range", session=-1) == ["first = 'kernel'"]
        frontend.execute("second = 'kernel'")
        assert cells(frontend, "tail", n=2) == ["first = 'kernel'", "second = 'kernel'"]
        assert cells(frontend, "range", session=-1) == ["first = 'kernel'"]
        assert cells(frontend, "range") == ["second = 'kernel'"]


def test_kernels_of_one_user_share_it(start: Start) -> None:
    with start() as one, start() as two:
        exchanges = [(client, client.start(f"x = '{name}' .. {n}")) for n in range(20) for client, name in ((one, "a"), (two, "b"))]
        for client, exchange in exchanges:
            client.finish(exchange)
        own = [len(cells(client, "range", session=0)) for client in (one, two)]
        assert own == [20, 20]
        assert len(cells(one, "search", pattern="x = *")) >= 20
        one.ask("history_request", {"hist_access_type": "tail"})
        assert len(cells(two, "search", pattern="x = *")) == 40, "what `one` was asked about is written"


def test_it_is_answered_on_control_while_a_cell_runs(start: Start) -> None:
    with start() as frontend:
        running = frontend.start("print('going') while true do end")
        frontend.wait(lambda: running.stream(), "the cell to run")
        assert frontend.history("tail", channel="control")[0][2].startswith("print('going')")
        frontend.ask("interrupt_request", channel="control")
        frontend.finish(running)


def test_only_the_user_can_read_the_file(start: Start, home: Path) -> None:
    with start() as frontend:
        frontend.execute("secret = 1")
        frontend.ask("history_request", {"hist_access_type": "tail"})
        for file in home.glob("history.sqlite3*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert (home / "history.sqlite3").is_file()


@pytest.mark.parametrize("obstacle", ["garbage", "directory", "newer", "locked"])
def test_a_history_that_cannot_be_opened_breaks_nothing(start: Start, home: Path, obstacle: str) -> None:
    file = home / "history.sqlite3"
    holder = None
    if obstacle == "garbage":
        file.write_bytes(b"this is no database at all" * 100)
    elif obstacle == "directory":
        file.mkdir()
    else:
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("PRAGMA user_version = 99")
        if obstacle == "locked":
            holder.execute("BEGIN EXCLUSIVE")
    before = file.read_bytes() if obstacle == "garbage" else None
    with start() as frontend:
        exchange = frontend.execute("return 1")
        assert exchange.result == "1"
        assert (exchange.answer.at - exchange.sent_at) < 1, "a cell waits for no history"
        frontend.execute("return 2")
        assert cells(frontend, "tail") == ["return 1", "return 2"], "it is kept as long as the kernel lives"
        said = frontend.log.read_text().count("the history lasts only as long as this kernel")
        assert said == 1, frontend.log.read_text()
    if before is not None:
        assert file.read_bytes() == before, "somebody else's file is not touched"
    if holder:
        holder.close()


@pytest.mark.parametrize("content", [{}, {"hist_access_type": "all"}, {"hist_access_type": "tail", "n": "many"}, {"hist_access_type": 3}])
def test_a_wrong_request_gets_an_error(start: Start, content: dict) -> None:
    with start() as frontend:
        reply = frontend.ask("history_request", content).reply
        assert reply["status"] == "error"
        assert set(reply) >= {"ename", "evalue", "traceback"}


def test_a_killed_kernel_leaves_a_sound_file(binary: Path, home: Path, tmp_path: Path, start: Start) -> None:
    file, log = tmp_path / "killed.json", tmp_path / "killed.log"
    with kernel(binary, file, log) as process:
        wait_for_file(file, process, log)
        with attached(file) as frontend:
            frontend.execute("before = 'the end'")
            frontend.ask("history_request", {"hist_access_type": "tail"})
        process.kill()
    with start() as frontend:
        assert cells(frontend, "tail") == ["before = 'the end'"]
