"""What it costs to ask an Ollama through Perilune: against Ollama's own Python client, in turns, on one server and one model.

    target/real-venv/bin/python tests/bench/ollama_overhead.py [--rounds 30] [--tokens 100] [--perilune BINARY]

Both ask for the same answer (one seed; so hot that no end comes before its time), and end with the same connection kept for the next. Perilune is asked as any
Jupyter client asks it: a kernel started by jupyter_client, and `model_request` messages, so that two sockets and Python's own decoding
of messages are part of what is measured. A round measures one and then the other, in an order that alternates; the model stays in
memory. It needs the Ollama that tests/ollama/build makes, and prints figures; it asserts nothing.

first text
    From the call to the first piece of the answer.
whole answer
    From the call to the end of the answer, usage included.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests/real"), str(REPOSITORY / "tests/python"), str(REPOSITORY / "tests/bench")]

import ollama  # noqa: E402
import ollama_server  # noqa: E402
from frontend import Frontend  # noqa: E402
from jupyter_client import BlockingKernelClient, KernelManager  # noqa: E402
from kernel import PATIENCE, set_up  # noqa: E402

MOONLET = REPOSITORY / "providers/engine/moonlet/moonlet-q8_0.gguf"
PROMPT = "<|im_start|>user\nTell me about the moon.<|im_end|>\n<|im_start|>assistant\n"
HOT = {"temperature": 20, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 7}

Times = tuple[float, float, int]
"""Seconds to the first text and to the end, and tokens of the answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=100, help="of an answer")
    parser.add_argument("--perilune", type=Path, default=REPOSITORY / "target/release/perilune", metavar="BINARY")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ollama_server.running(Path(scratch)) as server:
        set_up(Path(scratch), options.perilune)
        home = Path(scratch) / "home"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(f'[providers.ollama]\nbase_url = "{server.address}"\n')
        subprocess.run([options.perilune, "model", "create", "luna@ollama", MOONLET], check=True, stdout=subprocess.DEVNULL)
        manager = KernelManager(kernel_name="perilune")
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = BlockingKernelClient()
        client.load_connection_info(manager.get_connection_info(session=False))
        frontend = Frontend(client)
        try:
            frontend.ready(PATIENCE)
            compare(options, own_client(server.address, options.tokens), through_us(frontend, options.tokens))
        finally:
            frontend.close()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def own_client(address: str, tokens: int) -> Callable[[], Times]:
    client = ollama.Client(address)
    options = HOT | {"num_predict": tokens}

    def ask() -> Times:
        began = time.perf_counter()
        first = 0.0
        for part in client.generate("luna", PROMPT, raw=True, stream=True, options=options):
            first = first or time.perf_counter() - began
        return first, time.perf_counter() - began, part.eval_count

    return ask


def through_us(frontend: Frontend, tokens: int) -> Callable[[], Times]:
    request = {"command": "complete", "model": "local/luna@ollama", "prompt": PROMPT, "raw": True, "options": HOT | {"max_tokens": tokens}}

    def ask() -> Times:
        exchange = frontend.send("model_request", request)
        frontend.wait(lambda: exchange.answer, "the answer")
        frontend.finish(exchange)
        assert exchange.reply["status"] == "ok", exchange.reply
        first = next(event.at for event in exchange.all("model_event") if event.content["event"] == "text")
        return first - exchange.sent_at, exchange.answer.at - exchange.sent_at, exchange.reply["usage"]["completion_tokens"]

    return ask


def compare(options: argparse.Namespace, own: Callable[[], Times], ours: Callable[[], Times]) -> None:
    ways = {"its own Python client": own, "Perilune": ours}
    samples: dict[str, list[Times]] = {name: [] for name in ways}
    for ask in ways.values():
        ask()  # the model comes into memory, the connection about
    for number in range(options.rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            samples[name].append(ways[name]())
    lengths = {tokens for times in samples.values() for _, _, tokens in times}
    print(f"{options.rounds} rounds, answers of {sorted(lengths)} tokens; medians in ms, with the middle half of the rounds")
    print(f"{'':24}{'first text':>26}{'whole answer':>30}")
    medians = {}
    for name, times in samples.items():
        columns = [sorted(1000 * value for value in column) for column in list(zip(*times))[:2]]
        medians[name] = [statistics.median(column) for column in columns]
        cells = [f"{statistics.median(c):9.2f} ({c[len(c) // 4]:.2f} to {c[3 * len(c) // 4]:.2f})" for c in columns]
        print(f"{name:24}{cells[0]:>28}{cells[1]:>32}")
    first, whole = (ours - own for own, ours in zip(*medians.values()))
    share = 100 * whole / medians["its own Python client"][1]
    print(f"{'difference':24}{first:+18.2f} ms{whole:+22.2f} ms ({share:+.1f} %)")


if __name__ == "__main__":
    main()
