"""A Jupyter frontend as a vocabulary for tests.

Signing, sockets and serialisation are jupyter_client's own; this file only sorts what arrives by the request it belongs to, in
order of arrival and with its time. It knows nothing of Perilune, so that the same words drive ipykernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient, KernelManager

PATIENCE = 30.0
"""Seconds until a wait is given up. Generous: it bounds a failure and measures nothing."""

GLANCE = 0.02
"""Seconds until a condition is looked at again although nothing came: it may ask the kernel itself and take the message."""

Message = dict[str, Any]


@dataclass
class Arrival:
    """One message from the kernel, and when it came (`time.monotonic`)."""

    channel: str
    message: Message
    at: float

    @property
    def kind(self) -> str:
        return self.message["header"]["msg_type"]

    @property
    def content(self) -> dict[str, Any]:
        return self.message["content"]


@dataclass
class Exchange:
    """All that came back for one request, in order of arrival."""

    request: str
    sent_at: float
    arrivals: list[Arrival] = field(default_factory=list)
    answer: Arrival | None = None
    idle: Arrival | None = None

    def arrived(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        # Asked for with every message that comes, of which there may be many.
        if self.answer is None and arrival.channel != "iopub" and arrival.kind.endswith("_reply"):
            self.answer = arrival
        if self.idle is None and arrival.kind == "status" and arrival.content["execution_state"] == "idle":
            self.idle = arrival

    def first(self, kind: str) -> Arrival | None:
        return next((arrival for arrival in self.arrivals if arrival.kind == kind), None)

    def all(self, kind: str) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.kind == kind]

    @property
    def published(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.channel == "iopub"]

    @property
    def reply(self) -> dict[str, Any]:
        assert self.answer is not None, "no reply came"
        return self.answer.content

    @property
    def result(self) -> str:
        arrival = self.first("execute_result")
        assert arrival is not None, f"no execute_result came; reply: {self.reply}"
        return arrival.content["data"]["text/plain"]

    def stream(self, name: str = "stdout") -> str:
        return "".join(a.content["text"] for a in self.all("stream") if a.content["name"] == name)


class Frontend:
    """One client of a kernel. Every wait ends with a message or with `PATIENCE`."""

    def __init__(self, client: BlockingKernelClient):
        self.client = client
        self.session = client.session
        self.exchanges: dict[str, Exchange] = {}
        self.unparented: list[Arrival] = []
        self.strangers: list[Arrival] = []
        self.answers: list[str] = []
        client.start_channels()
        self.channels = {
            "shell": client.shell_channel,
            "iopub": client.iopub_channel,
            "stdin": client.stdin_channel,
            "control": client.control_channel,
        }
        self.poller = zmq.Poller()
        for channel in self.channels.values():
            self.poller.register(channel.socket, zmq.POLLIN)

    def close(self) -> None:
        self.client.stop_channels()

    def ready(self, patience: float = PATIENCE) -> Exchange:
        """Waits until the kernel answers and its publications reach this client; returns the exchange that showed it."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            exchange = self.send("kernel_info_request")
            if self.pump_until(lambda: exchange.answer and exchange.idle, min(deadline, time.monotonic() + 0.5)):
                self.finish_all(patience)
                return exchange
            if exchange.answer:
                del self.exchanges[exchange.request]  # answered before the subscription arrived: no idle will come
        raise TimeoutError(f"the kernel did not answer kernel_info within {patience} s")

    def send(
        self,
        msg_type: str,
        content: dict[str, Any] | None = None,
        channel: str = "shell",
        subshell: str | None = None,
        buffers: list[bytes] | None = None,
    ) -> Exchange:
        message = self.session.msg(msg_type, content or {})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        exchange = Exchange(message["header"]["msg_id"], time.monotonic())
        self.exchanges[exchange.request] = exchange
        self.session.send(self.channels[channel].socket, message, buffers=buffers)
        return exchange

    def start(self, code: str, subshell: str | None = None, **options: Any) -> Exchange:
        """Sends an `execute_request` and returns at once."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        return self.send("execute_request", content | options, subshell=subshell)

    def execute(self, code: str, patience: float = PATIENCE, **options: Any) -> Exchange:
        return self.finish(self.start(code, **options), patience)

    def ask(
        self, msg_type: str, content: dict[str, Any] | None = None, channel: str = "shell", patience: float = PATIENCE
    ) -> Exchange:
        return self.finish(self.send(msg_type, content, channel), patience)

    def history(self, access: str, channel: str = "shell", **content: Any) -> list:
        reply = self.ask("history_request", {"hist_access_type": access, **content}, channel=channel).reply
        assert reply["status"] == "ok", reply
        return reply["history"]

    def start_behind(self, first: str, *codes: str, **options: Any) -> list[Exchange]:
        """Starts `first`, which must ask for input, and then the others; all of them have arrived when this returns."""
        exchanges = [self.start(first, allow_stdin=True, **options)]
        self.wait(lambda: exchanges[0].first("input_request"), "the question of the first cell")
        exchanges += [self.start(code) for code in codes]
        self.model("cancel", request="none")  # overtakes the queue, but not on the way to it
        return exchanges

    def model(self, command: str, patience: float = PATIENCE, **content: Any) -> Exchange:
        """A `model_request`, waited for."""
        return self.ask("model_request", {"command": command, **content}, patience=patience)

    def finish(self, exchange: Exchange, patience: float = PATIENCE) -> Exchange:
        """Waits for the reply and for idle."""
        self.wait(lambda: exchange.answer and exchange.idle, f"reply and idle of {exchange}", patience)
        return exchange

    def finish_all(self, patience: float = PATIENCE) -> None:
        for exchange in list(self.exchanges.values()):
            self.finish(exchange, patience)

    def wait(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
        if not self.pump_until(condition, time.monotonic() + patience):
            raise TimeoutError(f"waited {patience} s for {what[:2000]}")

    def pump_until(self, condition: Callable[[], Any], deadline: float) -> bool:
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.pump(min(left, GLANCE))
        return True

    def pump(self, seconds: float) -> None:
        """Waits for something to arrive, at most that long, and sorts everything that is there."""
        self.poller.poll(seconds * 1000)
        for name, channel in self.channels.items():
            while True:
                try:
                    message = channel.get_msg(timeout=0)
                except Empty:
                    break
                self.sort(Arrival(name, message, time.monotonic()))

    def sort(self, arrival: Arrival) -> None:
        parent = arrival.message["parent_header"].get("msg_id")
        if parent is None:
            self.unparented.append(arrival)
        elif parent not in self.exchanges:
            self.strangers.append(arrival)
        else:
            self.exchanges[parent].arrived(arrival)
        if arrival.kind == "input_request" and self.answers:
            self.client.input(self.answers.pop(0))


def connect_control(manager: KernelManager, patience: float = PATIENCE) -> None:
    """Waits until the manager's own control socket reaches the kernel.

    jupyter_client connects it right after the spawn, before the kernel listens, and libzmq tries again 100 ms later: an interrupt
    sent before that waits on the client's side.
    """
    control = manager._control_socket
    manager.session.send(control, "kernel_info_request", {})
    if not control.poll(1000 * patience):
        raise TimeoutError(f"control did not answer within {patience} s")
    manager.session.recv(control)
