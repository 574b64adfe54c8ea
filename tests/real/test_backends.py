"""One Lua script, unchanged, against every backend: our engine, another kernel's, llama-cpp-python's server, a real Ollama."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import llama_cpp_server
import pytest
from front_door import MOONLET, Run
from resident import kernel, wait_for_file

SCRIPT = Path(__file__).with_name("backends.lua")
MODELS = {"candle": "local/moonlet@candle", "kernel": "local/moonlet@box", "openai": "llamacpp/moonlet", "ollama": "local/moonlet@ollama"}
EXPECTED = {
    "candle": {"schema": "invalid_request"},
    "kernel": {"schema": "invalid_request"},
    "openai": {},
    "ollama": {},
}
"""Where a backend answers something else than `yes`."""
ABILITIES = ["text", "stream", "tools", "schema", "embed", "cancel"]


@pytest.fixture(scope="module")
def backends(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """A home with all of them, and which could be had."""
    folder = tmp_path_factory.mktemp("backends")
    config, there = "", ["candle"]
    with ExitStack() as stack:
        box = folder / "box"
        box.mkdir()
        process = stack.enter_context(kernel(binary, box / "connection.json", box / "log", box))
        wait_for_file(box / "connection.json", process, box / "log")
        config += f'[providers.box]\ntype = "kernel"\nconnection_file = "{box / "connection.json"}"\n'
        there.append("kernel")
        for name, start in {"openai": openai, "ollama": ollama}.items():
            try:
                config += start(stack, folder)
                there.append(name)
            except pytest.skip.Exception as reason:
                print(f"!! {name}: {reason}")
        (folder / "config.toml").write_text(config)
        yield folder, there


def openai(stack: ExitStack, folder: Path) -> str:
    return stack.enter_context(llama_cpp_server.running(folder)).config()


def ollama(stack: ExitStack, folder: Path) -> str:
    server_of = pytest.importorskip("ollama_server")
    template = pytest.importorskip("test_ollama").TEMPLATE
    peer = stack.enter_context(server_of.running(folder))
    (folder / "Modelfile").write_text(f'FROM {MOONLET}\nTEMPLATE """{template}"""\nPARAMETER stop "<|im_end|>"\n')
    create = [server_of.program(), "create", "moonlet", "-f", folder / "Modelfile"]
    subprocess.run(create, check=True, capture_output=True, env={"OLLAMA_HOST": peer.address, "HOME": str(folder)})
    return f'[providers.ollama]\ntype = "ollama"\nbase_url = "{peer.address}"\n'


def test_one_script_runs_on_all(backends: tuple[Path, list[str]], perilune: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    home, there = backends
    monkeypatch.setenv("PERILUNE_HOME", str(home))
    results = {}
    for name in there:
        began = time.monotonic()
        done = perilune("run", "--model", MODELS[name], SCRIPT, timeout=120)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        results[name] = json.loads(done.stdout.splitlines()[-1]) | {"seconds": f"{time.monotonic() - began:.1f}"}
    with capsys.disabled():
        print(f"\n{'':8} " + " ".join(f"{ability:>16}" for ability in [*ABILITIES, "seconds"]))
        for name, result in results.items():
            print(f"{name:8} " + " ".join(f"{result[ability]:>16}" for ability in [*ABILITIES, "seconds"]))
    for name, result in results.items():
        expected = {ability: "yes" for ability in ABILITIES} | EXPECTED[name]
        assert {ability: result[ability] for ability in ABILITIES} == expected, name
    missing = set(MODELS) - set(there)
    if missing:
        pytest.skip(f"not tried, see above: {', '.join(sorted(missing))}")
