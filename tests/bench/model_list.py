"""How long `perilune model list` takes when there are many model files.

    target/python-venv/bin/python tests/bench/model_list.py [--files 1000] [--rounds 9] [--tokens 32000] [--perilune BINARY]

Writes that many GGUF files with vocabularies of `--tokens` tokens, each a file of its own, into a home in a temporary directory. `cold`
is the first list, which reads every header it has time for; `warm` are the lists once all of them are known, from the start of the process
to its end. It prints figures and asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests/python")]

import parrot  # noqa: E402


def with_vocabulary(path: Path, tokens: int) -> bytes:
    """A small model whose header is as long as a large one's: an array of texts that nothing asks for is added to its metadata."""
    parrot.write(path, ["Hello"], "{{ messages }}")
    plain = path.read_bytes()
    version, tensors, pairs = struct.unpack_from("<IQQ", plain, 4)
    texts = b"".join(parrot.text(f"token{number}") for number in range(tokens))
    added = parrot.text("bench.tokens") + struct.pack("<IIQ", parrot.ARRAY, parrot.STRING, tokens) + texts
    # What follows stays aligned.
    padding = parrot.text("bench.padding") + struct.pack("<IQ", parrot.STRING, 0)
    missing = -(len(added) + len(padding)) % parrot.ALIGNMENT
    padding = parrot.text("bench.padding") + struct.pack("<I", parrot.STRING) + parrot.text("x" * missing)
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs + 2) + added + padding + plain[24:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=32_000)
    parser.add_argument("--perilune", type=Path, default=REPOSITORY / "target/release/perilune")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "models").mkdir()
        content = with_vocabulary(home / "one.bin", options.tokens)
        for number in range(options.files):
            (home / f"models/model-{number:04}.gguf").write_bytes(content)

        def listing() -> tuple[float, int, int]:
            started = time.monotonic()
            command = [options.perilune, "--output", "json", "model", "list"]
            done = subprocess.run(command, env=os.environ | {"PERILUNE_HOME": folder}, check=True, capture_output=True)
            took = time.monotonic() - started
            models = json.loads(done.stdout)["models"]
            return took, len(models), sum("architecture" in model for model in models)

        took, models, known = listing()
        print(f"{options.files} files of {len(content)} bytes")
        print(f"cold: {1000 * took:.0f} ms, {models} models, {known} headers known")
        while known < models:
            took, models, known = listing()
            print(f"then: {1000 * took:.0f} ms, {known} headers known")
        times = [1000 * listing()[0] for _ in range(options.rounds)]
        print(f"warm: median {statistics.median(times):.0f} ms, least {min(times):.0f}, most {max(times):.0f}")


if __name__ == "__main__":
    main()
