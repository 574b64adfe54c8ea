"""Interrupting within 200 ms whatever the cell does, by jupyter_client's own `interrupt_kernel`, with the variables kept."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from frontend import Exchange, Frontend, connect_control
from jupyter_client import KernelManager

LIMIT_MS = 200
ROUNDS = 5

LOOPS = {
    "tight loop": "while true do end",
    "loop that swallows errors with pcall": "while true do pcall(function() while true do end end) end",
    "loop of pcall around error": "while true do pcall(error, 'again') end",
    "loop in a coroutine": "coroutine.wrap(function() while true do end end)()",
    "loop in a coroutine that swallows errors": """
        local c = coroutine.create(function() while true do pcall(function() while true do end end) end end)
        while true do coroutine.resume(c) end""",
    "loop that prints": "while true do print('again and again') end",
    "loop of small calls into C": "while true do string.rep('x', 100) end",
    "loop of slow calls into C": "local s = ('abc '):rep(100000) while true do s:gsub('%w+', 'x') end",
    "a command that runs for long": "os.execute('sleep 60')",
}

RAMBLE = "{ temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900, seed = %d }"
"""So hot that the end of the text is as unlikely as any other token: it goes on for hundreds of tokens."""


@pytest.fixture(autouse=True)
def connected(manager: KernelManager, frontend: Frontend) -> None:
    connect_control(manager)


def interrupt(manager: KernelManager, frontend: Frontend, running: Exchange) -> float:
    """Interrupts as Jupyter does; milliseconds until the cell's reply."""
    began = time.monotonic()
    manager.interrupt_kernel()
    frontend.wait(lambda: running.answer, "the reply of an interrupted cell")
    elapsed = 1000 * (running.answer.at - began)
    frontend.finish(running)
    return elapsed


@pytest.mark.parametrize("name", LOOPS)
def test_interrupt_of(name: str, manager: KernelManager, frontend: Frontend, figures: Callable) -> None:
    frontend.execute("kept = 'still here'\nlocal kept_local = 'here too'")
    times = []
    for _ in range(ROUNDS):
        running = frontend.start(f"print('going') {LOOPS[name]}")
        frontend.wait(lambda: running.stream(), "the cell to run")
        times.append(interrupt(manager, frontend, running))
        assert running.reply["status"] == "error"
        assert running.reply["ename"] == "Interrupted"
        assert running.first("error").content["ename"] == "Interrupted"
        assert running.published[-1].kind == "status", "idle is the last word"
    figures(f"interrupt: {name}", times)
    assert max(times) < LIMIT_MS, times
    assert "still here" in frontend.execute("return kept").result
    assert "here too" in frontend.execute("return kept_local").result


def test_an_interrupt_during_one_long_call_is_told_at_its_end(manager: KernelManager, frontend: Frontend) -> None:
    running = frontend.start("print('going') return io.popen('sleep 1; echo done'):read('a')")
    frontend.wait(lambda: running.stream(), "the cell to run")
    interrupt(manager, frontend, running)
    assert running.reply["ename"] == "Interrupted", running.reply


def test_an_interrupted_command_does_not_run_on(manager: KernelManager, frontend: Frontend) -> None:
    running = frontend.start("os.execute('echo $$; exec sleep 600')")
    frontend.wait(lambda: running.stream().endswith("\n"), "the command to say its process id")
    process = Path("/proc", running.stream().strip())
    assert process.exists()
    interrupt(manager, frontend, running)
    frontend.wait(lambda: not process.exists(), "the command to end", 5)


def steps(frontend: Frontend) -> int:
    """The engine's own count of forward passes, over all models."""
    backends = frontend.model("status").reply["backends"]
    return sum(model["steps"] for backend in backends for model in backend["loaded"])


def active(frontend: Frontend) -> int:
    backends = frontend.model("status").reply["backends"]
    return sum(model["active_requests"] for backend in backends for model in backend["loaded"])


def assert_engine_stopped(frontend: Frontend, full: int) -> None:
    """The step counter stands still, far from where the whole generation would have taken it."""
    frontend.wait(lambda: active(frontend) == 0, "the engine to let go of the request", 5)
    counts = [steps(frontend)]
    for _ in range(2):
        for _ in range(20):
            frontend.execute("local n = 0 for i = 1, 1e5 do n = n + i end")  # many times what a step takes
        counts.append(steps(frontend))
    assert counts[1] <= counts[0] + 1, f"more than the step under way followed the interrupt: {counts}"
    assert counts[2] == counts[1] < full, f"the engine went on after the interrupt: {counts}"


def test_interrupt_of_a_streamed_generation_stops_the_engine(
    manager: KernelManager, frontend: Frontend, figures: Callable
) -> None:
    frontend.execute("LocalLLM.load('local/moonlet@candle') kept = 1")
    times = []
    for seed in range(40):
        before = steps(frontend)
        running = frontend.start(
            "for piece in LocalLLM.stream({ { role = 'user', content = 'Hello' } }, %s) do io.write(piece) end" % (RAMBLE % seed)
        )
        frontend.wait(lambda: running.stream() or running.answer, "the first tokens")
        if running.answer:
            frontend.finish(running)
            continue  # a short text, over before its first piece was seen
        elapsed = interrupt(manager, frontend, running)
        if running.reply["status"] == "ok":
            continue  # it ended while the interrupt was on its way
        assert running.reply["ename"] == "Interrupted"
        times.append(elapsed)
        assert_engine_stopped(frontend, before + 850)
        if len(times) == ROUNDS:
            break
    assert len(times) == ROUNDS, "no generation was long enough to interrupt"
    figures("interrupt: streamed generation", times)
    assert max(times) < LIMIT_MS, times
    assert frontend.execute("return kept").result == "1"


def test_interrupt_of_a_whole_generation_stops_the_engine(manager: KernelManager, frontend: Frontend, figures: Callable) -> None:
    """`LocalLLM.generate` gives nothing until it is done: the engine's counter says that it runs."""
    frontend.execute("LocalLLM.load('local/moonlet@candle') kept = 1")
    times = []
    for seed in range(40):
        before = steps(frontend)
        running = frontend.start("text = LocalLLM.generate('Hello', %s)" % (RAMBLE % seed))
        frontend.wait(lambda: running.answer or (active(frontend) == 1 and steps(frontend) > before + 3), "the generation to run")
        if running.answer:
            frontend.finish(running)
            continue
        elapsed = interrupt(manager, frontend, running)
        if running.reply["status"] == "ok":
            continue
        assert running.reply["ename"] == "Interrupted"
        times.append(elapsed)
        assert_engine_stopped(frontend, before + 850)
        if len(times) == ROUNDS:
            break
    assert len(times) == ROUNDS, "no generation was long enough to interrupt"
    figures("interrupt: generation", times)
    assert max(times) < LIMIT_MS, times
    assert frontend.execute("return kept, text").result.startswith("1")


def test_interrupt_of_a_generation_that_pcall_guards(manager: KernelManager, frontend: Frontend) -> None:
    running = frontend.start("print('going') while true do pcall(LocalLLM.generate, 'Hello', { max_tokens = 50 }) end")
    frontend.wait(lambda: running.stream() and active(frontend), "the generation to run")
    interrupt(manager, frontend, running)
    assert running.reply["ename"] == "Interrupted"
    frontend.wait(lambda: active(frontend) == 0, "the engine to let go of the request", 5)


def test_cells_queued_behind_an_interrupted_one_are_refused(manager: KernelManager, frontend: Frontend) -> None:
    running, queued = frontend.start_behind("io.read()", "ran = true")
    interrupt(manager, frontend, running)
    assert frontend.finish(queued).reply["status"] == "error"
    assert frontend.execute("return ran == nil").result == "true"


def test_interrupt_when_nothing_runs_harms_nothing(frontend: Frontend) -> None:
    assert frontend.ask("interrupt_request", channel="control").reply["status"] == "ok"
    assert frontend.execute("return 1").result == "1"
    assert frontend.execute("local n = 0 for i = 1, 1e6 do n = n + 1 end return n").result == "1000000"


def test_sigint_interrupts_the_cell_and_not_the_kernel(manager: KernelManager, frontend: Frontend) -> None:
    """What Ctrl-C in the terminal of a foreground kernel, or a launcher that ignores `interrupt_mode`, sends."""
    running = frontend.start("kept = 2 print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    manager.signal_kernel(signal.SIGINT)
    assert frontend.finish(running).reply["ename"] == "Interrupted"
    assert frontend.execute("return kept").result == "2"


def test_a_cell_that_waits_its_turn_can_be_interrupted_by_name(frontend: Frontend) -> None:
    first, second, third = frontend.start_behind("io.read()", "second = true", "return second")
    reply = frontend.ask("interrupt_request", {"perilune": {"request": second.request}}, channel="control").reply
    assert reply["status"] == "ok"
    frontend.client.input("go on")
    assert frontend.finish(first).reply["status"] == "ok"
    assert frontend.finish(second).reply["ename"] == "Interrupted"
    assert frontend.finish(third).reply["ename"] == "Aborted"
    assert frontend.execute("return second").first("execute_result") is None, "the second cell did nothing"


def test_an_interrupt_that_found_nothing_says_so(frontend: Frontend) -> None:
    reply = frontend.ask("interrupt_request", {"perilune": {"request": "nobody"}}, channel="control").reply
    assert reply["status"] == "error"
    assert reply["kind"] == "not_running"
    assert "nobody" in reply["evalue"]
