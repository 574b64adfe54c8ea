"""A real Ollama behind the `ollama` provider: everything that moonlet can do there, by the kernel, the command line and Lua."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ollama_server
import pytest
from conftest import PATIENCE, server
from front_door import MOONLET, Run
from frontend import Exchange, Frontend
from ollama_server import Ollama
from resident import attached, free_ports, kernel, wait_for_file

MODEL = "local/luna@ollama"
PARIS = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# Ollama does not read the template in a GGUF file. By the tag before `.ToolCalls` it finds calls in an answer.
TEMPLATE = """\
{{- if .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}

{{ end }}# Tools

You may call these functions:
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>

To call one, reply with
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{{ else if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{- if .Content }}
{{ .Content }}
{{- end }}
{{- if .ToolCalls }}{{ range .ToolCalls }}
<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>
{{- end }}{{ end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}"""
# So hot that every token is as likely as any other, so that it goes on to the end of the context.
ENDLESS = {"temperature": 20, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 7}


@pytest.fixture(scope="module")
def ollama(surroundings: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ollama]:
    """A server that this home's configuration names, without models."""
    configuration = surroundings / "home/config.toml"
    with ollama_server.running(tmp_path_factory.mktemp("ollama")) as server:
        configuration.write_text(f'[providers.ollama]\nbase_url = "{server.address}"\n')
        yield server
    configuration.unlink()


@pytest.fixture(scope="module")
def luna(ollama: Ollama, binary: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Moonlet there, by a name that no other backend has."""
    template = tmp_path_factory.mktemp("template") / "luna.template"
    template.write_text(TEMPLATE)
    made = create(binary, "luna@ollama", MOONLET, "--template", template, "--parameter", 'stop=["<|im_end|>"]')
    assert made.returncode == 0, made.stderr
    return MODEL


def create(binary: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`perilune model create`, which the fixture `perilune` is too short-lived for."""
    command = [binary, "model", "create", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def chat(frontend: Frontend, messages: list[dict[str, Any]] = PARIS, tools: list[Any] | None = None, **options: Any) -> Exchange:
    options = {"temperature": 0} | options
    return frontend.model("chat", model=MODEL, messages=messages, tools=tools or [], options=options)


def answered(exchange: Exchange) -> dict[str, Any]:
    assert exchange.reply["status"] == "ok", exchange.reply
    return exchange.reply


def refused(exchange: Exchange, kind: str) -> str:
    assert exchange.reply["status"] == "error", exchange.reply
    assert exchange.reply["kind"] == kind, exchange.reply
    return exchange.reply["evalue"]


def of_event(exchange: Exchange, kind: str) -> list[dict[str, Any]]:
    events = [arrival.content for arrival in exchange.all("model_event")]
    return [event for event in events if event["event"] == kind]


def test_an_answer_comes_in_pieces_and_says_what_it_took(luna: str, ollama: Ollama, frontend: Frontend) -> None:
    exchange = chat(frontend)
    reply = answered(exchange)
    pieces = [event["text"] for event in of_event(exchange, "text")]
    assert len(pieces) > 1 and "".join(pieces) == reply["text"]
    assert "Paris" in reply["text"]
    alone = ollama.ask("/api/chat", {"model": "luna", "messages": PARIS, "stream": False, "options": {"temperature": 0}})
    assert reply["text"] == alone["message"]["content"]
    usage = reply["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (alone["prompt_eval_count"], alone["eval_count"])
    assert (reply["finish_reason"], reply["model"]) == ("stop", MODEL)


def test_options_are_heard(luna: str, frontend: Frontend) -> None:
    short = answered(chat(frontend, max_tokens=2))
    assert (short["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 2)
    hot = [answered(chat(frontend, **ENDLESS, max_tokens=8))["text"] for _ in range(2)]
    assert hot[0] == hot[1] != answered(chat(frontend, **(ENDLESS | {"seed": 8}), max_tokens=8))["text"]
    assert "Paris" not in answered(chat(frontend, stop=["Paris"]))["text"]
    more = chat(frontend, extra_body={"options": {"num_predict": 1}})
    assert answered(more)["usage"]["completion_tokens"] == 1


def test_a_tool_is_called_and_its_answer_heard(luna: str, frontend: Frontend) -> None:
    question = {"role": "user", "content": "What is the weather in Paris?"}
    exchange = chat(frontend, [question], [WEATHER])
    reply = answered(exchange)
    (call,) = reply["tool_calls"]
    assert (call["name"], call["arguments"], reply["finish_reason"]) == ("get_weather", {"city": "Paris"}, "tool_calls")
    assert call["id"].startswith("call_") and len(of_event(exchange, "tool_call")) == 1
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    heard = {"role": "tool", "content": '{"weather": "sunny"}', "tool_call_id": call["id"]}
    after = answered(chat(frontend, [question, called, heard], [WEATHER]))
    assert after["text"] and not after["tool_calls"]
    assert after["usage"]["prompt_tokens"] > reply["usage"]["prompt_tokens"]


def test_an_answer_keeps_to_a_schema(luna: str, frontend: Frontend) -> None:
    schema = {"type": "object", "properties": {"size": {"enum": ["small", "large"]}}, "required": ["size"]}
    answer = json.loads(answered(chat(frontend, schema=schema, max_tokens=40))["text"])
    assert answer["size"] in ("small", "large")
    refused(chat(frontend, schema={"type": "no such type"}), "invalid_request")


def test_tokens_are_told_with_their_probabilities(luna: str, frontend: Frontend) -> None:
    reply = answered(chat(frontend, logprobs=2))
    assert "".join(token["token"] for token in reply["logprobs"]) == reply["text"]
    assert all(token["logprob"] <= 0 and len(token["top"]) == 2 for token in reply["logprobs"])


def test_a_text_goes_on_without_a_template(luna: str, frontend: Frontend) -> None:
    written = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    options = {"temperature": 0}
    raw = answered(frontend.model("complete", model=MODEL, prompt=written, raw=True, options=options))
    assert raw["text"] == answered(chat(frontend))["text"]


def test_what_does_not_fit_is_refused_with_the_context(luna: str, frontend: Frontend) -> None:
    long = [{"role": "user", "content": "moon " * 1500}]
    assert "1024" in refused(chat(frontend, long), "context_overflow")
    assert answered(chat(frontend, long, truncate=True, max_tokens=1))["usage"]["prompt_tokens"] <= 1024
    # The end of the context ends the answer, too: nothing before it is dropped without a word. Chance may end one earlier.
    # The last token of an answer needs no place.
    small = {"extra_body": {"options": {"num_ctx": 128}}}
    answers = [answered(chat(frontend, **(ENDLESS | {"seed": seed} | small))) for seed in range(4)]
    assert "length" in [answer["finish_reason"] for answer in answers]
    assert max(answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"] for answer in answers) <= 129


def test_refusals_have_kinds(luna: str, frontend: Frontend) -> None:
    missing = frontend.model("chat", model="local/lune:latest@ollama", messages=PARIS)
    assert "`luna:latest`" in refused(missing, "model_not_found")
    refused(chat(frontend, extra_body={"think": True}), "invalid_request")
    refused(chat(frontend, extra_body={"options": {"temperature": "hot"}}), "invalid_request")
    refused(frontend.model("info", model="local/lune@ollama"), "model_not_found")


def test_a_model_is_found_listed_and_described(luna: str, ollama: Ollama, frontend: Frontend, perilune: Run) -> None:
    listed = {model["name"]: model for model in frontend.model("list", backend="ollama").reply["models"]}
    size = next(model["size"] for model in ollama.ask("/api/tags")["models"] if model["name"] == "luna:latest")
    assert (listed["luna:latest"]["size_bytes"], listed["luna:latest"]["location"]) == (size, ollama.address)
    info = frontend.model("info", model=MODEL).reply
    facts = {"architecture": "llama", "layers": 6, "hidden": 256, "heads": 4, "kv_heads": 2, "vocabulary": 1536}
    assert {fact: info[fact] for fact in facts} == facts
    assert (info["quantization"], info["supports_tools"], info["context_length"]) == ("Q8_0", True, 1024)
    # No backend is named: the instance that has it is found, with and without the tag.
    for name in ("luna", "local/luna", "local/luna:latest"):
        assert "Paris" in frontend.model("chat", model=name, messages=PARIS, options={"temperature": 0}).reply["text"]
    assert "ready" in perilune("model", "status", "ollama").stdout


def test_a_resident_kernel_loads_and_unloads(luna: str, ollama: Ollama, binary: Path, perilune: Run, tmp_path: Path) -> None:
    file, log = tmp_path / "kernel.json", tmp_path / "kernel.log"
    with kernel(binary, file, log) as process:
        wait_for_file(file, process, log)

        def there(*arguments: object) -> str:
            done = perilune("--connect", file, "model", *arguments)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "in memory" in there("load", MODEL, "--keep-alive", 1000)
        assert ollama.in_memory() == ["luna:latest"]
        (loaded,) = json.loads(there("ps", "--output", "json"))
        assert 900 < loaded["keep_alive_seconds"] <= 1000 and not loaded["pinned"]
        assert (loaded["context_size"], loaded["backend"]) == (1024, "ollama")
        there("load", MODEL, "--pin")
        assert "pinned" in there("ps")
        with attached(file) as frontend:
            # A request does not take back what was said.
            answered(chat(frontend))
        assert "pinned" in there("ps")
        there("unload", MODEL)
        assert ollama.in_memory() == []
        again = perilune("--connect", file, "model", "unload", MODEL)
        assert again.returncode != 0 and "not loaded" in again.stderr


def test_another_kernel_borrows_it(luna: str, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, log = tmp_path / "kernel.json", tmp_path / "kernel.log"
    with kernel(binary, file, log) as process:
        wait_for_file(file, process, log)
        home = tmp_path / "home"
        home.mkdir()
        (home / "config.toml").write_text(f'[providers.box]\ntype = "kernel"\nconnection_file = "{file}"\n')
        borrower, log = tmp_path / "borrower.json", tmp_path / "borrower.log"
        with kernel(binary, borrower, log, home=home) as process:
            wait_for_file(borrower, process, log)
            with attached(borrower) as frontend:
                exchange = frontend.model("chat", model="local/luna@box", messages=PARIS, options={"temperature": 0})
                assert "Paris" in answered(exchange)["text"]


def test_a_cancel_stops_the_far_side_within_200_ms(luna: str, ollama: Ollama, frontend: Frontend) -> None:
    ask = {"command": "chat", "model": MODEL, "messages": PARIS, "options": ENDLESS}
    # How it is while an answer is generated.
    exchange = frontend.send("model_request", ask)
    frontend.wait(lambda: of_event(exchange, "text"), "the first text")
    busy = ollama.share(0.3)
    assert busy > 0.1
    began = time.monotonic()
    frontend.model("cancel", request=exchange.request)
    frontend.finish(exchange)
    assert exchange.reply["finish_reason"] == "cancelled"
    time.sleep(max(0.0, began + 0.2 - time.monotonic()))
    assert ollama.share(0.3) < busy / 5
    # The same when a script leaves its stream.
    left = frontend.execute(f"for piece in LocalLLM.stream('Hi', {{ model = '{MODEL}', temperature = 20, top_k = 0, min_p = 0, top_p = 1 }}) do break end")
    assert left.reply["status"] == "ok", left.reply
    time.sleep(0.2)
    assert ollama.share(0.3) < busy / 5


def test_a_runner_that_dies_is_told(luna: str, ollama: Ollama, frontend: Frontend) -> None:
    exchange = frontend.send("model_request", {"command": "chat", "model": MODEL, "messages": PARIS, "options": ENDLESS})
    frontend.wait(lambda: of_event(exchange, "text"), "the first text")
    for runner in ollama.runners():
        runner.kill()
    frontend.finish(exchange)
    assert exchange.reply["status"] == "error", exchange.reply
    assert exchange.reply["kind"] in ("internal", "network"), exchange.reply
    # Ollama starts another one.
    assert "Paris" in answered(chat(frontend))["text"]


def test_a_file_is_sent_unless_it_is_there(luna: str, ollama: Ollama, binary: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(MOONLET.read_bytes()).hexdigest()
    blob = Path(f"{ollama.folder}/models/blobs/sha256-{digest}")
    written = blob.stat().st_mtime_ns
    made = create(binary, "second@ollama", MOONLET, "--system", "You are brief.", "--parameter", "temperature=0.5")
    assert made.returncode == 0, made.stderr
    assert "second:latest" in ollama.stored() and blob.stat().st_mtime_ns == written
    shown = ollama.ask("/api/show", {"model": "second"})
    assert shown["system"] == "You are brief." and "temperature" in shown["parameters"]
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not for long")
    failed = create(binary, "third@ollama", broken)
    assert failed.returncode == 1 and failed.stderr.startswith("error: "), failed.stderr
    assert "third:latest" not in ollama.stored()
    elsewhere = create(binary, "fourth@candle", MOONLET)
    assert elsewhere.returncode == 1 and "`ollama`" in elsewhere.stderr


@pytest.fixture(scope="module")
def registry(luna: str, ollama: Ollama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of Debian's, that holds luna; its address, without a scheme.

    An Ollama wants to be sent to another host for a file, as its own registry sends it. Ours sends it to its folder of files.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs `docker-registry`: a pull by an Ollama")
    folder = tmp_path_factory.mktemp("registry")
    port, files_port = free_ports(2)
    place = f"localhost:{port}"
    configuration = {
        "version": 0.1,
        "http": {"addr": f"127.0.0.1:{port}"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "files")}},
        "middleware": {"storage": [{"name": "redirect", "options": {"baseurl": f"http://127.0.0.1:{files_port}/"}}]},
    }
    (folder / "files").mkdir()
    (folder / "registry.yml").write_text(json.dumps(configuration))  # JSON is YAML
    files = [sys.executable, "-m", "http.server", str(files_port), "--bind", "127.0.0.1", "--directory", folder / "files"]
    with (
        server([program, "serve", folder / "registry.yml"], f"http://{place}/v2/", folder / "registry.log"),
        server(files, f"http://127.0.0.1:{files_port}/", folder / "files.log"),
    ):
        ollama.ask("/api/copy", {"source": "luna", "destination": f"{place}/lab/luna:q8"})
        ollama.ask("/api/push", {"model": f"{place}/lab/luna:q8", "insecure": True, "stream": False})
        ollama.ask("/api/delete", {"model": f"{place}/lab/luna:q8"}, "DELETE")
        yield place


@contextmanager
def without(ollama: Ollama, name: str) -> Iterator[None]:
    """The model is away meanwhile, and with it the files that no other one needs."""
    shown = ollama.ask("/api/show", {"model": name})
    files = {Path(line.split(maxsplit=1)[1]).name for line in shown["modelfile"].splitlines() if line.startswith("FROM /")}
    ollama.ask("/api/delete", {"model": name}, "DELETE")
    try:
        yield
    finally:
        digests = {"model.gguf": file.replace("sha256-", "sha256:") for file in files}
        made = {"model": name, "files": digests, "template": shown["template"], "parameters": {"stop": ["<|im_end|>"]}}
        ollama.ask("/api/create", made | {"stream": False})


def test_it_gets_models_from_its_registry(registry: str, ollama: Ollama, binary: Path, frontend: Frontend) -> None:
    name = f"{registry}/lab/luna:q8"
    # With luna still there its files need not come, only its name.
    digest = hashlib.sha256(MOONLET.read_bytes()).hexdigest()
    there = frontend.model("pull", spec=f"http://{name}@ollama")
    assert not answered(there)["was_there"], there.reply
    ollama.ask("/api/delete", {"model": name}, "DELETE")
    for kept in [kept for kept in ollama.stored() if kept != "luna:latest"]:
        ollama.ask("/api/delete", {"model": kept}, "DELETE")
    command = [binary, "model", "pull", f"http://{name}@ollama"]
    with without(ollama, "luna:latest"):
        assert not (ollama.folder / f"models/blobs/sha256-{digest}").exists()
        exchange = frontend.model("pull", spec=f"http://{name}@ollama")
        reply = answered(exchange)
        assert (reply["name"], reply["specifier"], reply["was_there"]) == (name, f"local/{name}@ollama", False)
        assert reply["size_bytes"] > MOONLET.stat().st_size
        pulling = of_event(exchange, "pull")
        assert pulling and pulling[-1]["completed_bytes"] == pulling[-1]["total_bytes"], pulling
        assert (ollama.folder / f"models/blobs/sha256-{digest}").exists()
        pulled = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert pulled.returncode == 0, pulled.stderr
        assert "was there already" in pulled.stdout and f"local/{name}@ollama" in pulled.stdout
        script = f"local m = LocalLLM.pull('http://{name}@ollama'); return m.name, m.was_there, m.location"
        assert frontend.execute(script).result == f"{name}\ttrue\tnil"
        chatted = frontend.model("chat", model=f"local/{name}@ollama", messages=PARIS, options={"temperature": 0})
        assert "Paris" in answered(chatted)["text"]
        frontend.model("unload", model=f"local/{name}@ollama")
    refused(frontend.model("pull", spec=f"http://{registry}/lab/nothing@ollama"), "model_not_found")
    refused(frontend.model("pull", spec=f"http://{name}@ollama", name="other"), "invalid_request")
    ollama.ask("/api/delete", {"model": name}, "DELETE")


def test_its_models_get_names_and_go(luna: str, ollama: Ollama, frontend: Frontend, perilune: Run) -> None:
    assert answered(frontend.model("copy", model=MODEL, name="selene"))["model"] == "local/selene@ollama"
    assert "selene:latest" in ollama.stored()
    taken = refused(frontend.model("copy", model=MODEL, name="selene"), "invalid_request")
    assert "selene" in taken
    # Only by its backend's name: `remove selene` is for what was pulled into the store.
    assert "selene@ollama" in refused(frontend.model("remove", model="selene"), "invalid_request")
    assert "selene:latest" in ollama.stored()
    gone = perilune("model", "remove", "selene@ollama", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert "luna:latest" in gone.stdout and ollama.stored() == {"luna:latest"}
    refused(frontend.model("remove", model="local/selene@ollama"), "model_not_found")
    frontend.model("load", model=MODEL)
    refused(frontend.model("remove", model=MODEL), "invalid_request")
    frontend.model("unload", model=MODEL)
