"""What CURVE costs: the same kernel with and without it, in turns, on this machine.

    target/python-venv/bin/python tests/bench/encryption.py [--rounds 15] [--executes 100] [--perilune BINARY]

Both kernels run all the time, started by jupyter_client with `transport_encryption` disabled and required; a round measures one and
then the other, in an order that alternates. It prints figures and asserts nothing.

execute to reply, to idle
    From handing `1 + 1` to the shell socket to the arrival of execute_reply, and of status idle; one at a time. Pooled.
10,000 printed lines, 32 MB of text
    From sending a loop of `print` to idle, with all output received.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests/python"), str(REPOSITORY / "tests/bench")]

from frontend import Frontend  # noqa: E402
from jupyter_client import BlockingKernelClient, KernelManager  # noqa: E402
from kernel import LINES, PATIENCE, set_up  # noqa: E402

ROWS = {
    "reply": "execute to reply, ms",
    "idle": "execute to idle, ms",
    "lines": "10,000 printed lines, ms",
    "flood": "32 MB of text, ms",
}
FLOOD_LINES = 512
LINE = 65_535


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--executes", type=int, default=100, help="per round")
    parser.add_argument("--perilune", type=Path, default=REPOSITORY / "target/release/perilune", metavar="BINARY")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        set_up(Path(scratch), options.perilune)
        managers = {policy: start(policy) for policy in ("disabled", "required")}
        frontends = {policy: connect(manager) for policy, manager in managers.items()}
        samples = {policy: {row: [] for row in ROWS} for policy in managers}
        try:
            for number in range(options.rounds):
                for policy in list(managers)[:: 1 if number % 2 == 0 else -1]:
                    measure(frontends[policy], samples[policy], options.executes)
        finally:
            for policy, manager in managers.items():
                frontends[policy].close()
                manager.shutdown_kernel(now=True)
                manager.cleanup_resources()
    print(f"{'':28}{'plain':^22}{'CURVE':^22}")
    print(f"{'':28}" + 2 * f"{'median':>10}{'p95':>10}  " + f"{'more, %':>10}")
    for row, title in ROWS.items():
        plain, curve = samples["disabled"][row], samples["required"][row]
        more = 100 * (statistics.median(curve) / statistics.median(plain) - 1)
        print(f"{title:28}{summary(plain)}{summary(curve)}{more:10.1f}")


def start(policy: str) -> KernelManager:
    manager = KernelManager(kernel_name="perilune", transport_encryption=policy)
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return manager


def connect(manager: KernelManager) -> Frontend:
    client = BlockingKernelClient()
    client.load_connection_info(manager.get_connection_info(session=False))
    frontend = Frontend(client)
    frontend.ready(PATIENCE)
    frontend.execute("1 + 1")
    return frontend


def measure(frontend: Frontend, samples: dict[str, list[float]], executes: int) -> None:
    for _ in range(executes):
        exchange = frontend.execute("1 + 1")
        samples["reply"].append(1000 * (exchange.answer.at - exchange.sent_at))
        samples["idle"].append(1000 * (exchange.idle.at - exchange.sent_at))
    exchange = frontend.execute("for i = 1, 10000 do print(i) end", PATIENCE)
    assert exchange.stream() == LINES
    samples["lines"].append(1000 * (exchange.idle.at - exchange.sent_at))
    exchange = frontend.execute(f"local line = string.rep('x', {LINE}) for i = 1, {FLOOD_LINES} do print(line) end", PATIENCE)
    assert len(exchange.stream()) == FLOOD_LINES * (LINE + 1)
    samples["flood"].append(1000 * (exchange.idle.at - exchange.sent_at))
    frontend.exchanges.clear()


def summary(values: list[float]) -> str:
    ranked = sorted(values)
    return f"{statistics.median(ranked):10.2f}{ranked[round(0.95 * (len(ranked) - 1))]:10.2f}  "


if __name__ == "__main__":
    main()
