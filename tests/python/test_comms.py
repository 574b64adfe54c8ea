"""Comms between a frontend and Lua: both ways, with buffers, and through subshells in the order that JupyterLab keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from frontend import Arrival, Exchange, Frontend
from jupyter_client import KernelManager

ECHO = """
Comm.register("echo", function(comm, data)
  comm:send { opened = data }
  comm:on_message(function(data, metadata, buffers)
    if data.fail then error("no " .. data.fail) end
    print("handled", data.n)
    comm:send({ echoed = data }, { kind = "echo" }, buffers)
  end)
  comm:on_close(function(data) closed = (closed or 0) + 1 end)
end)"""


class FrontendComm:
    """One comm from the frontend's side. Its messages bear the subshell that it has, as JupyterLab's do."""

    def __init__(self, frontend: Frontend, target: str, subshell: str | None = None):
        self.frontend = frontend
        self.id = uuid4().hex
        self.target = target
        self.subshell = subshell

    def say(self, msg_type: str, buffers: list[bytes] | None = None, **content: Any) -> Exchange:
        return self.frontend.send(
            msg_type, {"comm_id": self.id, **content}, subshell=self.subshell, buffers=buffers or []
        )

    def open(self, **data: Any) -> Exchange:
        return self.say("comm_open", target_name=self.target, data=data)

    def send(self, buffers: list[bytes] | None = None, **data: Any) -> Exchange:
        return self.say("comm_msg", buffers, data=data)

    def close(self) -> Exchange:
        return self.say("comm_close", data={})

    def done(self, exchange: Exchange) -> Exchange:
        """A comm's message has no reply: idle is its end."""
        self.frontend.wait(lambda: exchange.idle, f"idle of {exchange}")
        assert exchange.answer is None
        return exchange


def comm_messages(exchange: Exchange) -> list[Arrival]:
    return [arrival for arrival in exchange.published if arrival.kind.startswith("comm_")]


def comms(frontend: Frontend, **content: Any) -> dict[str, Any]:
    return frontend.ask("comm_info_request", content).reply["comms"]


@pytest.fixture
def echo(frontend: Frontend) -> FrontendComm:
    frontend.execute(ECHO)
    return FrontendComm(frontend, "echo")


def test_a_comm_opens_carries_messages_and_closes(frontend: Frontend, echo: FrontendComm) -> None:
    opened = echo.done(echo.open(size=3))
    assert [m.content for m in comm_messages(opened)] == [{"comm_id": echo.id, "data": {"opened": {"size": 3}}}]
    assert comms(frontend) == {echo.id: {"target_name": "echo"}}
    said = echo.done(echo.send(n=1.5, list=[1, None, "é"]))
    assert said.stream() == "handled\t1.5\n"
    assert comm_messages(said)[0].content["data"] == {"echoed": {"n": 1.5, "list": [1, None, "é"]}}
    echo.done(echo.close())
    assert comms(frontend) == {}
    assert frontend.execute("return closed").result == "1"
    assert not comm_messages(echo.done(echo.send(n=2)))


def test_buffers_travel_both_ways_as_they_are(echo: FrontendComm) -> None:
    echo.done(echo.open())
    buffers = [bytes(range(256)) * 400, b"", b"\x00\xff"]
    said = echo.done(echo.send(buffers, n=1))
    answer = comm_messages(said)[0].message
    assert [bytes(buffer) for buffer in answer["buffers"]] == buffers
    assert answer["metadata"] == {"kind": "echo"}


def test_lua_opens_a_comm(frontend: Frontend) -> None:
    ran = frontend.execute("comm = Comm.open('widget', { state = 1 }, { version = '2.1.0' }, { 'x' }) comm:send { n = 1 }")
    opened, said = comm_messages(ran)
    assert opened.kind == "comm_open"
    assert opened.content["target_name"] == "widget"
    assert opened.content["data"] == {"state": 1}
    assert opened.message["metadata"] == {"version": "2.1.0"}
    assert said.content == {"comm_id": opened.content["comm_id"], "data": {"n": 1}}
    frontend.execute("comm:on_message(function(data) got = data.value end) comm:on_close(function() got = 'closed' end)")
    line = FrontendComm(frontend, "widget")
    line.id = opened.content["comm_id"]
    line.done(line.send(value=7))
    assert frontend.execute("return got").result == "7"
    line.done(line.close())
    assert frontend.execute("return got, comm:is_open()").result == "closed\tfalse"
    assert "is closed" in frontend.execute("comm:send{}").reply["evalue"]


def test_comm_info_lists_by_target(frontend: Frontend) -> None:
    frontend.execute("a, b = Comm.open('first'), Comm.open('second')")
    assert sorted(c["target_name"] for c in comms(frontend).values()) == ["first", "second"]
    assert [c["target_name"] for c in comms(frontend, target_name="second").values()] == ["second"]
    assert comms(frontend, target_name="third") == {}
    control = frontend.ask("comm_info_request", {}, channel="control").reply
    assert len(control["comms"]) == 2


def test_an_unknown_target_is_answered_with_comm_close(frontend: Frontend) -> None:
    comm = FrontendComm(frontend, "nobody")
    opened = comm.done(comm.open())
    assert [(m.kind, m.content["comm_id"]) for m in comm_messages(opened)] == [("comm_close", comm.id)]
    assert "nobody" in opened.stream("stderr")
    assert comms(frontend) == {}


def test_a_failing_handler_is_shown_and_the_comm_lives_on(frontend: Frontend, echo: FrontendComm) -> None:
    echo.done(echo.open())
    failed = echo.done(echo.send(fail="thanks"))
    assert failed.first("error").content["evalue"].endswith("no thanks")
    assert comm_messages(echo.done(echo.send(n=1)))
    assert frontend.execute("return 1").result == "1"


def test_handlers_run_in_order_between_cells(frontend: Frontend, echo: FrontendComm) -> None:
    echo.done(echo.open())
    frontend.execute("order = ''")
    first = frontend.start("io.read() order = order .. 'cell'", allow_stdin=True)
    frontend.wait(lambda: first.first("input_request"), "the cell's question")
    said = [echo.send(n=n) for n in range(20)]
    frontend.model("cancel", request="none")
    assert not any(comm_messages(exchange) for exchange in said)
    frontend.client.input("")
    frontend.finish(first)
    for exchange in said:
        echo.done(exchange)
    handled = [arrival for exchange in said for arrival in exchange.all("stream")]
    assert [a.content["text"] for a in sorted(handled, key=lambda a: a.at)] == [f"handled\t{n}\n" for n in range(20)]


def test_malformed_comm_messages_are_told_and_harmless(frontend: Frontend) -> None:
    for msg_type, content in [("comm_open", {}), ("comm_msg", {"comm_id": 5}), ("comm_close", {"data": {}})]:
        exchange = frontend.send(msg_type, content)
        frontend.wait(lambda: exchange.idle, "idle")
        assert exchange.answer is None
        assert exchange.first("error").content["ename"] == "InvalidRequest"
    assert frontend.execute("return 1").result == "1"


def test_comms_are_closed_when_the_kernel_ends(frontend: Frontend, manager: KernelManager) -> None:
    opened = comm_messages(frontend.execute("comm = Comm.open('widget')"))[0]
    frontend.send("shutdown_request", {"restart": False}, channel="control")
    closed = lambda: [a for a in frontend.unparented if a.kind == "comm_close"]  # noqa: E731
    frontend.wait(closed, "the comm's end")
    assert closed()[0].content["comm_id"] == opened.content["comm_id"]
    manager.shutdown_kernel(now=True)


class JupyterLab:
    """How JupyterLab 4.4 and later send comms (`packages/services/src/kernel/comm.ts`, setting `commsOverSubshells` at its
    default `perCommTarget`): the first comm of a target creates a subshell; what is said before its id has come goes to the main
    shell; the last comm's close is followed at once by the subshell's deletion, on control."""

    def __init__(self, frontend: Frontend):
        self.frontend = frontend

    def create(self, comm: FrontendComm) -> Exchange:
        return self.frontend.send("create_subshell_request", {}, channel="control")

    def created(self, comm: FrontendComm, asked: Exchange) -> None:
        self.frontend.finish(asked)
        comm.subshell = asked.reply["subshell_id"]

    def close(self, comm: FrontendComm) -> tuple[Exchange, Exchange]:
        closed = comm.close()
        return closed, self.frontend.send("delete_subshell_request", {"subshell_id": comm.subshell}, channel="control")


def test_jupyterlabs_comms_reach_their_handlers_while_a_cell_runs(
    frontend: Frontend, echo: FrontendComm, manager: KernelManager
) -> None:
    lab = JupyterLab(frontend)
    lab.created(echo, lab.create(echo))
    busy = frontend.start("print('going') while not stop do end return 'whole'")
    frontend.wait(lambda: busy.stream(), "the cell to run")
    echo.done(echo.open(early=True))
    for n in range(10):
        said = echo.done(echo.send(n=n))
        assert comm_messages(said)[0].content["data"] == {"echoed": {"n": n}}
        assert said.stream() == f"handled\t{n}\n"
        assert comm_messages(said)[0].message["parent_header"]["subshell_id"] == echo.subshell
    closed, deleted = lab.close(echo)
    echo.done(closed)
    assert frontend.finish(deleted).reply["status"] == "ok"
    assert not busy.answer
    manager.interrupt_kernel()
    frontend.finish(busy)
    assert frontend.execute("return closed").result == "1", "the close handler ran although its subshell was deleted"
    assert comms(frontend) == {}


def test_a_comm_opened_before_its_subshell_keeps_its_order(frontend: Frontend, echo: FrontendComm) -> None:
    lab = JupyterLab(frontend)
    busy = frontend.start("io.read()", allow_stdin=True)
    frontend.wait(lambda: busy.first("input_request"), "the cell's question")
    asked = lab.create(echo)
    opened = echo.open()  # to the main shell, behind the cell
    lab.created(echo, asked)
    said = [echo.send(n=n) for n in range(5)]  # to the subshell, which is idle
    frontend.model("cancel", request="none")
    frontend.client.input("")
    frontend.finish(busy)
    echo.done(opened)
    for n, exchange in enumerate(said):
        assert comm_messages(echo.done(exchange))[0].content["data"] == {"echoed": {"n": n}}
    on_its_subshell = echo.done(echo.send(n=9))
    assert comm_messages(on_its_subshell)


@pytest.mark.parametrize("round", range(20))
def test_a_close_that_the_deletion_overtakes_is_handled(round: int, frontend: Frontend, echo: FrontendComm) -> None:
    lab = JupyterLab(frontend)
    lab.created(echo, lab.create(echo))
    echo.done(echo.open())
    deleted = frontend.send("delete_subshell_request", {"subshell_id": echo.subshell}, channel="control")
    closed = echo.close()
    echo.done(closed)
    frontend.finish(deleted)
    assert frontend.execute("return closed").result == "1"


def test_a_comm_answers_quickly_while_a_cell_computes(frontend: Frontend, echo: FrontendComm, figures: Callable) -> None:
    lab = JupyterLab(frontend)
    lab.created(echo, lab.create(echo))
    echo.done(echo.open())
    busy = frontend.start("print('going') while not stop do end")
    frontend.wait(lambda: busy.stream(), "the cell to run")
    times = []
    for n in range(40):
        began = time.monotonic()
        said = echo.send(n=n)
        frontend.wait(lambda: comm_messages(said), "the answer over the comm")
        times.append(1000 * (comm_messages(said)[0].at - began))
        echo.done(said)
    figures("comm message to answer beside a loop", times)
    frontend.finish(frontend.start("stop = true", subshell=echo.subshell))
    frontend.finish(busy)
    assert sorted(times)[len(times) // 2] < 20, times
