"""The kernel behind jupyter_kernel_gateway, over its WebSocket: directly, and through a jupyter_server with `--gateway-url`."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, server
from resident import free_ports
from websocket_kernel import WebSocketKernel, finished, of_kind, stdout

@pytest.fixture(scope="module")
def gateway(surroundings: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "kernel_gateway", "--KernelGatewayApp.ip=127.0.0.1", f"--KernelGatewayApp.port={port}"]
    with server(command, f"{address}/api", surroundings / "gateway.log", env=os.environ | {"KG_ENV_PROCESS_WHITELIST": "PERILUNE_HOME"}):
        yield address


@pytest.fixture(scope="module")
def server_with_gateway(gateway: str, surroundings: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyter_server", f"--gateway-url={gateway}", f"--port={port}", "--ip=127.0.0.1", "--no-browser"]
    command += ["--allow-root", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={surroundings}"]
    with server(command, f"{address}/api", surroundings / "server.log", env=os.environ | {"JUPYTER_PLATFORM_DIRS": "1"}):
        yield address


@pytest.fixture(params=["gateway", "server_with_gateway"])
def kernel(request: pytest.FixtureRequest) -> Iterator[WebSocketKernel]:
    kernel = WebSocketKernel(request.getfixturevalue(request.param))
    try:
        yield kernel
    finally:
        kernel.close()


def test_the_gateway_lists_the_kernel(gateway: str) -> None:
    with urllib.request.urlopen(f"{gateway}/api/kernelspecs", timeout=PATIENCE) as reply:
        spec = json.load(reply)["kernelspecs"]["perilune"]["spec"]
    assert (spec["language"], spec["interrupt_mode"]) == ("lua", "message")


def test_a_cell_answers_and_its_variables_stay(kernel: WebSocketKernel) -> None:
    assert finished(kernel.execute("answer = 42"))
    result = of_kind(kernel.execute("return answer"), "execute_result")
    assert result[0]["data"]["text/plain"] == "42"


def test_text_arrives_while_the_cell_runs_and_an_interrupt_ends_it(kernel: WebSocketKernel) -> None:
    request = kernel.start("print('going') while true do end")
    running = kernel.gather(request, lambda messages: "going" in stdout(messages))
    assert not of_kind(running, "execute_reply")
    began = time.monotonic()
    kernel.http("POST", f"{kernel.path}/interrupt")
    reply = of_kind(kernel.gather(request, finished), "execute_reply")[0]
    assert reply["status"] == "error"
    assert time.monotonic() - began < 5
    assert of_kind(kernel.execute("return 1"), "execute_result")


def test_many_lines_arrive_whole_and_before_idle(kernel: WebSocketKernel) -> None:
    messages = kernel.execute("for number = 1, 10000 do print(number) end")
    assert stdout(messages) == "".join(f"{number}\n" for number in range(1, 10_001))
    assert messages[-1]["msg_type"] in ("status", "execute_reply")


def test_a_model_streams(kernel: WebSocketKernel) -> None:
    messages = kernel.execute("for piece in LocalLLM.stream('Hello') do io.write(piece) io.flush() end")
    assert of_kind(messages, "execute_reply")[0]["status"] == "ok", messages
    assert stdout(messages).strip()


def test_a_restart_gives_a_fresh_state_on_the_same_socket(kernel: WebSocketKernel) -> None:
    kernel.execute("kept = 1")
    kernel.restart()
    assert of_kind(kernel.execute("return kept == nil"), "execute_result")[0]["data"]["text/plain"] == "true"
