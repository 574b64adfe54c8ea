"""Perilune's engine beside llama.cpp and, if asked, candle, on the same files, threads and machine, in one interleaved run.

    tests/bench/engine.py [--rounds 5] [--threads 2] [--models tinyllama-q4_k_m,tinyllama-q8_0,...] [--instruction-set avx2]
                          [--candle] [--llama FOLDER] [--perilune BINARY] [--json FILE]

Without `--llama` (a folder with llama-bench and llama-batched-bench) it builds llama.cpp natively from the source package of
llama-cpp-python 0.3.36 under target/bench, which needs pip, cmake and a C++ compiler and takes some minutes. With
`--instruction-set` all are held to that one: llama.cpp is built for it. With `--candle` a third takes part: candle 0.11.1's own model,
built with AVX2 (what it has for more it chooses when it runs), whose own variables hold it to the instruction set; it has no
streams. Models are the ones that `perilune bench --synthetic` writes: random weights in the shape of a well-known model.

Each round runs all, in an order that changes, every test twice in llama.cpp: with flash attention and without, and the better
median counts for it. Ours are measured through the engine's own door, with tokenising, sampling and streaming; llama-bench has none of
these, nor has candle-bench. Figures are tokens/s:

prefill N     a prompt of N tokens
decode        64 tokens after a prompt of 128
streams N     32 tokens of each of N sequences after prompts of 128, while all of them generate; the sum
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = "llama-cpp-python==0.3.36"
PREFILL = [128, 512]
DECODE = 64
DECODE_AFTER = 128
STREAMS = [1, 2, 4, 8, 16]
STREAM_TOKENS = 32
MODELS = ["tinyllama-q4_k_m", "tinyllama-q8_0", "qwen2.5-0.5b-q4_k_m", "qwen2.5-0.5b-q8_0"]
ROWS = [*(f"prefill {tokens}" for tokens in PREFILL), "decode", *(f"streams {count}" for count in STREAMS)]
# gcc 12 drops the stores of the tile shapes before this call, and the first product on an AMX machine is an illegal instruction.
FAULTY, MENDED = "_tile_loadconfig(&tc);", '__asm__ volatile("" : "+m"(tc)); _tile_loadconfig(&tc);'

AVX2 = ["SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2"]
AVX512_VNNI = [*AVX2, "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"]
# What holds candle 0.11.1 to each set of ours.
CANDLE_FORCES = {"avx2": {"MISTRALRS_FORCE_AVX2": "1"}, "avx-vnni": {"MISTRALRS_FORCE_AVXVNNI": "1"}}
# What llama.cpp calls the instructions of each set of ours.
LLAMA_FLAGS = {"avx2": AVX2, "avx-vnni": [*AVX2, "AVX_VNNI"], "avx512-vnni": AVX512_VNNI}

Samples = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--instruction-set", choices=LLAMA_FLAGS, help="hold all to it")
    parser.add_argument("--candle", action="store_true", help="compare with candle, built with AVX2, too")
    parser.add_argument("--llama", type=Path, metavar="FOLDER", help="where llama-bench and llama-batched-bench are")
    parser.add_argument("--perilune", type=Path, default=REPOSITORY / "target/release/perilune", metavar="BINARY")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample")
    options = parser.parse_args()
    llama = options.llama or build_llama(REPOSITORY / "target/bench", options.instruction_set)
    candle = build_candle(REPOSITORY / "target/bench/candle-avx2") if options.candle else None
    print(f"processor: {processor()}, {options.threads} threads; system: {platform.system()} {platform.release()}")
    written = {}
    for model in options.models.split(","):
        ours: Samples = defaultdict(list)
        theirs = {"off": defaultdict(list), "on": defaultdict(list)}
        candles: Samples = defaultdict(list)
        memory: dict[str, list[float]] = defaultdict(list)
        facts = {}
        for number in range(options.rounds):
            turns = [
                lambda: facts.update(run_ours(options, model, ours, memory)),
                lambda: run_theirs(llama, model_file(options, model), options.threads, "off", theirs["off"], memory),
                lambda: run_theirs(llama, model_file(options, model), options.threads, "on", theirs["on"], memory),
            ]
            if candle:
                turns.append(lambda: run_candle(candle, options, model, candles))
            if number == 0:
                model_file(options, model)
            for turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
                turn()
            print(f"\r{model}: round {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        report(model, facts, ours, theirs, candles, memory)
        written[model] = {"facts": facts, "perilune": ours, "llama.cpp": theirs, "candle": candles, "memory": memory}
    if options.json:
        options.json.write_text(json.dumps(written, indent=1) + "\n")


def run_ours(options: argparse.Namespace, model: str, samples: Samples, memory: Samples) -> dict:
    environment = dict(os.environ)
    if options.instruction_set:
        environment["PERILUNE_INSTRUCTION_SET"] = options.instruction_set
    command = [options.perilune, "bench", "--synthetic", model, "--threads", options.threads, "--rounds", 1]
    found = json.loads(output([*command, "--output", "json"], environment))
    for tokens in PREFILL:
        samples[f"prefill {tokens}"].append(found["prefill"][str(tokens)])
    samples["decode"].append(found["decode"])
    for count in STREAMS:
        samples[f"streams {count}"].append(found["streams"][str(count)])
    samples["of the limit"].append(found["decode"] / found["decode_limit"])
    samples["load to first token"].append(found["load_seconds"] + found["first_token_seconds"]["128"])
    samples["known prompt"].append(found["known_first_token_seconds"]["512"] / found["first_token_seconds"]["512"])
    memory["perilune"].append(found["peak_memory"] / 2**20)
    return {key: found[key] for key in ("executor", "weight_bytes")}


def run_theirs(llama: Path, file: Path, threads: int, flash: str, samples: Samples, memory: Samples) -> None:
    common = ["-m", file, "-t", threads, "-fa", flash]
    bench = [llama / "llama-bench", *common, "-r", 1, "-o", "json"]
    for result in json.loads(output([*bench, "-p", ",".join(map(str, PREFILL)), "-n", 0])):
        samples[f"prefill {result['n_prompt']}"].append(result["avg_ts"])
    for result in json.loads(output([*bench, "-p", 0, "-n", DECODE, "-d", DECODE_AFTER])):
        samples["decode"].append(result["avg_ts"])
    context = max(STREAMS) * (DECODE_AFTER + STREAM_TOKENS)
    shape = ["-c", context, "-npp", DECODE_AFTER, "-ntg", STREAM_TOKENS, "-npl", ",".join(map(str, STREAMS))]
    text, peak = output_and_peak([llama / "llama-batched-bench", *common, *shape, "--output-format", "jsonl"])
    for line in text.splitlines():
        if line.startswith("{"):
            result = json.loads(line)
            samples[f"streams {result['pl']}"].append(result["speed_tg"])
    memory["llama.cpp"].append(peak / 1024)


def run_candle(program: Path, options: argparse.Namespace, model: str, samples: Samples) -> None:
    tests = [*(f"prefill {tokens}" for tokens in PREFILL), f"decode {DECODE} {DECODE_AFTER}"]
    environment = dict(os.environ, RAYON_NUM_THREADS=str(options.threads), **CANDLE_FORCES.get(options.instruction_set, {}))
    found = json.loads(output([program, model_file(options, model), *tests], environment))
    for row, test in zip(ROWS, tests):
        samples[row].append(found[test])


def report(
    model: str, facts: dict, ours: Samples, theirs: dict[str, Samples], candles: Samples, memory: Samples
) -> None:
    print(f"\n{model}, {facts['executor']}; tokens/s, median [least to most]")
    print(f"{'':14}{'perilune':>26}{'llama.cpp, its best':>30}{'ratio':>8}", end="")
    print(f"{'candle':>26}{'ratio':>8}" if candles else "")
    for row in ROWS:
        best = max(theirs.values(), key=lambda samples: statistics.median(samples[row]))
        line = f"{row:14}{spread(ours[row]):>26}"
        for rival, width in [(best, 30), (candles, 26)]:
            if row not in rival:
                continue
            ratio = statistics.median(ours[row]) / statistics.median(rival[row])
            line += f"{spread(rival[row]):>{width}}{ratio:8.2f}"
        print(line)
    print(f"decode reaches {statistics.median(ours['of the limit']):.0%} of what reading the weights once a token allows")
    print(f"from the file to the first token after 128: {statistics.median(ours['load to first token']):.2f} s")
    print(f"first token of a known prompt of 512: {statistics.median(ours['known prompt']):.1%} of the cold time")
    print("peak memory, MiB: " + ", ".join(f"{name} {statistics.median(peaks):.0f}" for name, peaks in memory.items()))


def spread(samples: list[float]) -> str:
    return f"{statistics.median(samples):.1f} [{min(samples):.1f} to {max(samples):.1f}]"


def model_file(options: argparse.Namespace, model: str) -> Path:
    """Where `perilune bench --synthetic` keeps a model; written by its first run."""
    home = Path(os.environ.get("PERILUNE_HOME") or Path.home() / ".local/share/perilune")
    found = [path for path in (home / "synthetic" / f"{model}.gguf", home / "data/synthetic" / f"{model}.gguf") if path.is_file()]
    if not found:
        output([options.perilune, "bench", "--synthetic", model, "--rounds", 1, "--output", "json"])
        return model_file(options, model)
    return found[0]


def build_llama(folder: Path, instruction_set: str | None) -> Path:
    """llama.cpp for this very machine, or for an instruction set, in a folder that is kept."""
    source = folder / "llama.cpp"
    build = source / ("build" if instruction_set is None else f"build-{instruction_set}")
    if (build / "bin/llama-batched-bench").exists():
        return build / "bin"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, SOURCE]
        output(pip)
        archive = next(folder.glob("llama_cpp_python-*.tar.gz"))
        output(["tar", "--extract", "--file", archive, "--directory", folder])
        next(folder.glob("llama_cpp_python-*/vendor/llama.cpp")).rename(source)
        faulty = source / "ggml/src/ggml-cpu/amx/mmq.cpp"
        faulty.write_text(faulty.read_text().replace(FAULTY, MENDED))
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"]
    flags += ["-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF"]
    flags.append(f"-DGGML_NATIVE={'ON' if instruction_set is None else 'OFF'}")
    flags += [f"-DGGML_{name}=ON" for name in LLAMA_FLAGS.get(instruction_set, [])]
    output(["cmake", "-S", source, "-B", build, *flags])
    targets = ["llama-bench", "llama-batched-bench", "llama-quantize"]
    output(["cmake", "--build", build, "--parallel", os.cpu_count(), "--target", *targets])
    return build / "bin"


def build_candle(folder: Path) -> Path:
    """candle's models with its AVX2 kernels, some of which it has only when it is built for them."""
    environment = dict(os.environ, RUSTFLAGS="-C target-feature=+avx2,+fma,+f16c")
    manifest = Path(__file__).parent / "candle/Cargo.toml"
    output(["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", folder], environment)
    return folder / "release/candle-bench"


def output(command: list, environment: dict | None = None) -> str:
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def output_and_peak(command: list) -> tuple[str, int]:
    """What a command prints, and the most memory it had resident, in KiB."""
    command = [str(part) for part in command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return text, usage.ru_maxrss


def processor() -> str:
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in described.splitlines() if line.startswith("model name")), platform.machine())
    flags = next((line.split(":")[1].split() for line in described.splitlines() if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx_vnni", "avx512_vnni", "amx_int8") if flag in flags]
    return f"{name} ({', '.join(known)})"


if __name__ == "__main__":
    main()
