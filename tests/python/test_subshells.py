"""Subshells (JEP 91): created, listed and deleted on control, answering while the main shell computes."""

import statistics
import time
from collections.abc import Callable

import pytest
from frontend import Exchange, Frontend, connect_control
from jupyter_client import KernelManager

LIMIT_MS = 20
"""An answer's bound while the main shell runs a Lua loop; it holds for the median."""
ROUNDS = 40

BUSY = {
    "a loop": "while true do n = (n or 0) + 1 end",
    "a loop within pcall": "pcall(function() while true do n = (n or 0) + 1 end end)",
    "pcall around error": "while true do pcall(error, 'again') end",
    "a loop within coroutines": "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
    "a loop that builds strings": "while true do local s = '' for i = 1, 100 do s = s .. i end end",
    "a comparator": "table.sort({ 3, 2, 1 }, function() while true do end end)",
    "a loop that prints": "while true do print('again and again') end",
    "a loop of calls that take a tenth of a millisecond": "local t = {} for i = 1, 100 do t[i] = { a = i } end while true do json.encode(t) end",
    "a loop of calls that take milliseconds": "while true do local s = ('x'):rep(1000000) end",
    "a command": "os.execute('sleep 60')",
}


def create(frontend: Frontend) -> str:
    reply = frontend.ask("create_subshell_request", channel="control").reply
    assert reply["status"] == "ok"
    return reply["subshell_id"]


def listed(frontend: Frontend) -> list[str]:
    return frontend.ask("list_subshell_request", channel="control").reply["subshell_id"]


def delete(frontend: Frontend, subshell: str) -> dict:
    return frontend.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control").reply


def start(frontend: Frontend, subshell: str, code: str, **options: object) -> Exchange:
    return frontend.start(code, subshell=subshell, **options)


def execute(frontend: Frontend, subshell: str, code: str, **options: object) -> Exchange:
    return frontend.finish(start(frontend, subshell, code, **options))


@pytest.fixture
def subshell(manager: KernelManager, frontend: Frontend) -> str:
    connect_control(manager)
    return create(frontend)


def test_the_feature_is_announced(frontend: Frontend) -> None:
    for channel in ("shell", "control"):
        assert "kernel subshells" in frontend.ask("kernel_info_request", channel=channel).reply["supported_features"]


def test_subshells_are_created_listed_and_deleted(frontend: Frontend) -> None:
    assert listed(frontend) == []
    first, second = create(frontend), create(frontend)
    assert first != second
    assert sorted(listed(frontend)) == sorted([first, second])
    assert delete(frontend, first)["status"] == "ok"
    assert listed(frontend) == [second]
    again = delete(frontend, first)
    assert again["status"] == "error"
    assert first in again["evalue"]
    assert execute(frontend, second, "return 1").result == "1"


def test_an_unknown_subshell_gets_an_error_reply(frontend: Frontend, subshell: str) -> None:
    for msg_type, content in {
        "execute_request": {"code": "print('ran')"},
        "complete_request": {"code": "pri", "cursor_pos": 3},
        "is_complete_request": {"code": "x ="},
        "kernel_info_request": {},
    }.items():
        asked = frontend.finish(frontend.send(msg_type, content, subshell="nobody"))
        assert asked.reply["status"] == "error"
        assert asked.reply["ename"] == "UnknownSubshell"
        assert "nobody" in asked.reply["evalue"]
        assert not asked.stream()


def test_the_parent_header_of_what_it_says_names_the_subshell(frontend: Frontend, subshell: str) -> None:
    ran = execute(frontend, subshell, "print('hello') return 5")
    assert ran.stream() == "hello\n"
    assert ran.result == "5"
    assert len(ran.arrivals) >= 6
    for arrival in ran.arrivals:
        assert arrival.message["parent_header"]["subshell_id"] == subshell
    assert frontend.execute("return 1").answer.message["parent_header"].get("subshell_id") is None


@pytest.mark.parametrize("name", BUSY)
def test_it_answers_while_the_main_shell_is_busy_with(
    name: str, frontend: Frontend, subshell: str, manager: KernelManager, figures: Callable
) -> None:
    frontend.execute("shared = 0")
    busy = frontend.start(f"print('going') {BUSY[name]}")
    frontend.wait(lambda: busy.stream(), "the cell to run")
    times = []
    for round in range(ROUNDS):
        ran = start(frontend, subshell, "shared = shared + 1 return shared")
        frontend.wait(lambda: ran.answer, "the subshell's reply")
        times.append(1000 * (ran.answer.at - ran.sent_at))
        frontend.finish(ran)
        assert ran.result == str(round + 1)
    assert not busy.answer
    manager.interrupt_kernel()
    assert frontend.finish(busy).reply["ename"] == "Interrupted"
    assert frontend.execute("return shared").result == str(ROUNDS)
    figures(f"subshell beside {name}", times)
    assert statistics.median(times) < LIMIT_MS, times


def test_editing_is_served_by_it_while_the_main_shell_is_busy(frontend: Frontend, subshell: str) -> None:
    frontend.execute("some_global = 1")
    busy = frontend.start("print('going') while not go do end")
    frontend.wait(lambda: busy.stream(), "the cell to run")
    completed = frontend.finish(frontend.send("complete_request", {"code": "some_g", "cursor_pos": 6}, subshell=subshell))
    assert "some_global" in completed.reply["matches"]
    judged = frontend.finish(frontend.send("is_complete_request", {"code": "for i = 1, 2 do"}, subshell=subshell))
    assert judged.reply["status"] == "incomplete"
    assert frontend.finish(frontend.send("comm_info_request", {}, subshell=subshell)).reply["comms"] == {}
    assert not busy.answer
    execute(frontend, subshell, "go = true")
    assert frontend.finish(busy).reply["status"] == "ok"


def test_each_has_its_own_execution_count_and_history(frontend: Frontend, subshell: str) -> None:
    """JEP 91."""
    frontend.execute("main_1 = 1")
    assert execute(frontend, subshell, "beside_1 = 1").reply["execution_count"] == 1
    assert frontend.execute("main_2 = 1").reply["execution_count"] == 2
    assert "cell 2 of subshell 1:1:" in execute(frontend, subshell, "error('here')").reply["evalue"]
    third = execute(frontend, subshell, "return beside_1")
    assert (third.reply["execution_count"], third.first("execute_result").content["execution_count"]) == (3, 3)
    asked = {"hist_access_type": "range", "session": 0, "raw": True, "output": False}
    mine = frontend.ask("history_request", asked).reply["history"]
    assert [(line, source) for _, line, source in mine] == [(1, "main_1 = 1"), (2, "main_2 = 1")]
    beside = frontend.finish(frontend.send("history_request", asked, subshell=subshell)).reply["history"]
    assert [(line, source) for _, line, source in beside] == [(1, "beside_1 = 1"), (2, "error('here')"), (3, "return beside_1")]
    assert [source for _, _, source in frontend.history("tail")][-1] == "return beside_1"


def test_an_interrupt_means_the_main_shells_cell(frontend: Frontend, subshell: str, manager: KernelManager) -> None:
    main = frontend.start("print('main') while true do end")
    beside = start(frontend, subshell, "print('beside') while not go do end return 'whole'")
    frontend.wait(lambda: main.stream() and beside.stream(), "both cells to run")
    manager.interrupt_kernel()
    assert frontend.finish(main).reply["ename"] == "Interrupted"
    assert not beside.answer
    frontend.execute("go = true")
    assert frontend.finish(beside).result == "whole"


def test_a_subshells_cell_is_interrupted_by_name(frontend: Frontend, subshell: str) -> None:
    main = frontend.start("print('main') while not go do end return 'whole'")
    beside = start(frontend, subshell, "print('beside') while true do pcall(function() while true do end end) end")
    frontend.wait(lambda: main.stream() and beside.stream(), "both cells to run")
    reply = frontend.ask("interrupt_request", {"perilune": {"request": beside.request}}, channel="control").reply
    assert reply["status"] == "ok"
    assert frontend.finish(beside).reply["ename"] == "Interrupted"
    assert not main.answer
    execute(frontend, subshell, "go = true")
    assert frontend.finish(main).result == "whole"


def test_several_subshells_compute_side_by_side(frontend: Frontend, subshell: str) -> None:
    shells = [subshell, create(frontend), create(frontend)]
    count = "print('going') local n = 0 while not go do n = n + 1 end return n"
    cells = [frontend.start(count), *(start(frontend, shell, count) for shell in shells)]
    frontend.wait(lambda: all(cell.stream() for cell in cells), "all cells to run")
    fresh = create(frontend)
    times = []
    for _ in range(ROUNDS):
        asked = start(frontend, fresh, "return 1")
        frontend.wait(lambda: asked.answer, "the reply of one more subshell")
        times.append(1000 * (asked.answer.at - asked.sent_at))
        frontend.finish(asked)
    execute(frontend, fresh, "go = true")
    counts = [int(frontend.finish(cell).result) for cell in cells]
    assert max(counts) < 5 * min(counts), counts
    assert statistics.median(times) < 2 * LIMIT_MS, times


def test_each_asks_its_own_client_for_input(frontend: Frontend, subshell: str, connect: Callable[[], Frontend]) -> None:
    other = connect()
    main = frontend.start("return io.read()", allow_stdin=True)
    frontend.wait(lambda: main.first("input_request"), "the main shell's question")
    asked = other.start("return io.read()", subshell=subshell, allow_stdin=True)
    other.wait(lambda: asked.first("input_request"), "the subshell's question")
    other.client.input("beside")
    assert other.finish(asked).result == "beside"
    frontend.client.input("main")
    assert frontend.finish(main).result == "main"


def test_a_deleted_subshell_answers_what_it_had_queued(frontend: Frontend, subshell: str) -> None:
    running = start(frontend, subshell, "print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    queued = [start(frontend, subshell, "ran = true") for _ in range(3)]
    judged = frontend.send("is_complete_request", {"code": "x = 1"}, subshell=subshell)
    frontend.execute("return 1")  # what was sent before has arrived
    assert delete(frontend, subshell)["status"] == "ok"
    assert frontend.finish(running).reply["ename"] == "Interrupted"
    assert {frontend.finish(cell).reply["ename"] for cell in queued} == {"Aborted"}
    assert frontend.finish(judged).reply["status"] == "complete"
    assert frontend.finish(start(frontend, subshell, "return 1")).reply["ename"] == "UnknownSubshell"
    assert frontend.execute("return ran == nil").result == "true"


def test_a_failed_cell_aborts_only_its_own_shells_queue(frontend: Frontend, subshell: str) -> None:
    waiting, behind = frontend.start_behind("io.read() return 'main'", "return 'behind'")
    failing = execute(frontend, subshell, "error('here')")
    assert failing.reply["ename"] == "LuaError"
    frontend.client.input("go on")
    assert frontend.finish(waiting).result == "main"
    assert frontend.finish(behind).result == "behind"


def test_there_is_a_bound_to_subshells(frontend: Frontend) -> None:
    ids = [create(frontend) for _ in range(64)]
    assert frontend.ask("create_subshell_request", channel="control").reply["status"] == "error"
    assert execute(frontend, ids[-1], "return 1").result == "1"
    assert delete(frontend, ids[0])["status"] == "ok"
    create(frontend)


def test_a_kernel_with_busy_subshells_ends_at_once(frontend: Frontend, subshell: str, manager: KernelManager) -> None:
    cells = [frontend.start("print('on') while true do end"), start(frontend, subshell, "print('on') while true do end")]
    frontend.wait(lambda: all(cell.stream() for cell in cells), "both cells to run")
    began = time.monotonic()
    manager.shutdown_kernel()
    assert time.monotonic() - began < 3
