"""What a kernel takes of its machine, and where it listens."""

from __future__ import annotations

import os
import socket
import time

import psutil
import pytest
import zmq
from frontend import PATIENCE, Frontend
from jupyter_client import KernelManager
from resident import resident_memory


def usage(frontend: Frontend) -> dict:
    reply = frontend.ask("usage_request", channel="control").reply
    assert reply["status"] == "ok"
    return reply


def test_it_says_what_jupyter_resource_usage_reads(manager: KernelManager, frontend: Frontend) -> None:
    pid = manager.provisioner.process.pid
    reply = usage(frontend)
    assert reply["pid"] == pid
    assert reply["hostname"] == socket.gethostname()
    assert reply["cpu_count"] == len(os.sched_getaffinity(0))
    assert reply["kernel_memory"] == pytest.approx(resident_memory(pid), rel=0.2)
    machine = psutil.virtual_memory()
    memory = reply["host_virtual_memory"]
    assert memory["total"] == machine.total
    assert memory["available"] == pytest.approx(machine.available, rel=0.3)
    assert 0 <= memory["percent"] <= 100
    assert set(memory) >= {"total", "available", "percent", "used", "free", "active", "inactive", "buffers", "cached", "shared", "slab"}
    assert 0 <= reply["host_cpu_percent"] <= 100


def test_the_first_reading_is_true(frontend: Frontend) -> None:
    """A cell that computes takes most of a processor, however busy the machine, and the first answer says so."""
    running = frontend.start("print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    assert usage(frontend)["kernel_cpu"] > 15
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)
    usage(frontend)
    deadline = time.monotonic() + 30
    while usage(frontend)["kernel_cpu"] > 10:
        assert time.monotonic() < deadline, "a kernel that rests takes no processor"


def test_it_tells_the_memory_of_models(frontend: Frontend) -> None:
    told = usage(frontend)["perilune"]
    assert (told["model_memory"], told["models"]) == (0, [])
    loaded = frontend.model("load", model="local/moonlet@candle").reply
    told = usage(frontend)["perilune"]
    assert [model["name"] for model in told["models"]] == ["moonlet"]
    assert told["model_memory"] == told["models"][0]["memory_bytes"] == loaded["memory_bytes"] > 1_000_000


def test_it_counts_who_listens(manager: KernelManager, frontend: Frontend) -> None:
    def connected() -> int:
        return usage(frontend)["perilune"]["peers"]["connected"]

    assert usage(frontend)["perilune"]["peers"] == {"connected": 1, "cut_off": 0, "turned_away": 0}
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.subscribe(b"")
        subscriber.connect(f"tcp://127.0.0.1:{manager.iopub_port}")
        assert subscriber.poll(1000 * PATIENCE), "the welcome did not come"
        assert connected() == 2
    with socket.create_connection(("127.0.0.1", manager.iopub_port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert not stranger.recv(1000).endswith(b"GET")
    deadline = time.monotonic() + PATIENCE
    while connected() > 1 or not usage(frontend)["perilune"]["peers"]["turned_away"]:
        assert time.monotonic() < deadline, usage(frontend)["perilune"]


def test_connect_tells_the_ports(manager: KernelManager, frontend: Frontend) -> None:
    info = manager.get_connection_info()
    for channel in ("shell", "control"):
        reply = frontend.ask("connect_request", channel=channel).reply
        assert reply == {"status": "ok"} | {name: port for name, port in info.items() if name.endswith("_port")}
