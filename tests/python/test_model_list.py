"""Models that other programs keep, read in place: Hugging Face's cache, Ollama's manifests and blobs, LM Studio's folders, more paths.
The layouts are written here as those programs write them; `tests/real` has the programs themselves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import parrot
import pytest
from conftest import Run
from frontend import Frontend

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"
REVISION, OLDER = "a" * 40, "b" * 40


def gguf(says: str) -> bytes:
    """A model that answers with that text."""
    path = Path(os.environ["PERILUNE_HOME"]) / "made.bin"
    parrot.write(path, [f"I am {says}"], TURNS)
    return path.read_bytes()


class Others:
    """The folders of other programs."""

    def __init__(self, root: Path):
        self.hub, self.ollama, self.lm_studio = root / "huggingface/hub", root / "ollama", root / ".lmstudio/models"

    def hugging_face(self, repository: str, file: str, content: bytes, revision: str = REVISION, branch: str | None = "main") -> Path:
        folder = self.hub / f"models--{repository.replace('/', '--')}"
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link = folder / "snapshots" / revision / file
        for parent in (blob.parent, link.parent, folder / "refs"):
            parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
        if branch:
            (folder / "refs" / branch).write_text(revision)
        return link

    def in_ollama(self, name: str, content: bytes) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        return self.manifest(name, f"sha256:{digest}", content)

    def manifest(self, name: str, digest: str, content: bytes = b"") -> Path:
        blob = self.ollama / "blobs" / digest.replace(":", "-")
        manifest = self.ollama / "manifests" / name
        manifest.parent.mkdir(parents=True, exist_ok=True)
        if content:
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
        layers = [
            {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 3},
            {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": len(content)},
        ]
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
        return blob

    def in_lm_studio(self, path: str, content: bytes) -> Path:
        file = self.lm_studio / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file


@pytest.fixture
def others(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Others:
    """Empty folders of other programs, which this process and what it starts take for the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Others(tmp_path)


def listed(perilune: Run, *arguments: object) -> dict[str, dict[str, object]]:
    done = perilune("--output", "json", "model", "list", *arguments)
    assert done.returncode == 0, done.stderr
    return {model["name"]: model for model in json.loads(done.stdout)["models"]}


def snapshot(root: Path) -> list[tuple[str, int, int]]:
    """Every file and folder with size and time of change."""
    paths = sorted(root.rglob("*"))
    return [(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths]


def test_what_others_keep_is_listed_and_runs_where_it_lies(others: Others, home: Path, perilune: Run, tmp_path: Path) -> None:
    others.hugging_face("lab/Tiny-GGUF", "sub/tiny-q8_0.gguf", gguf("from the hub"))
    others.in_ollama("registry.ollama.ai/library/parrot/1b", gguf("from ollama"))
    others.in_lm_studio("lab/Bird-GGUF/bird.gguf", gguf("from the studio"))
    more = tmp_path / "more"
    more.mkdir()
    (more / "more.gguf").write_bytes(gguf("from more"))
    (home / "models/own.gguf").write_bytes(gguf("own"))
    (home / "config.toml").write_text(f'[providers.candle]\nmodel_paths = ["{more}"]\n')
    before = [snapshot(place) for place in (others.hub, others.ollama, others.lm_studio, more)]

    models = listed(perilune)
    collections = {name: model.get("collection") for name, model in models.items()}
    assert collections == {
        "moonlet": None,
        "own": "folder",
        "more": "path",
        "tiny-q8_0": "hugging_face",
        "parrot:1b": "ollama",
        "bird": "lm_studio",
    }
    assert models["parrot:1b"]["location"].startswith(str(others.ollama / "blobs/sha256-"))
    for name, says in (("tiny-q8_0", "the hub"), ("parrot:1b", "ollama"), ("bird", "the studio"), ("more", "more"), ("own", "own")):
        done = perilune("exec", f"return LocalLLM.generate('Hi', {{ model = 'local/{name}@candle' }})")
        assert says in done.stdout, (name, done.stderr)
    assert [snapshot(place) for place in (others.hub, others.ollama, others.lm_studio, more)] == before, "others' files are only read"

    (home / "config.toml").write_text("[providers.candle]\nshared_models = false\n")
    assert set(listed(perilune)) == {"moonlet", "own"}


def test_facts_come_from_the_headers(others: Others, home: Path, perilune: Run, frontend: Frontend) -> None:
    blob = others.in_ollama("registry.ollama.ai/library/parrot/latest", gguf("here"))
    unknown = gguf("strange").replace(b"llama", b"mamba")
    (home / "models/strange.gguf").write_bytes(unknown)
    (home / "models/broken.gguf").write_bytes(b"PK\x03\x04")
    models = listed(perilune, "--backend", "candle")
    facts = perilune("--output", "json", "model", "info", "parrot:latest")
    info = json.loads(facts.stdout)
    for fact in ("architecture", "parameters", "quantization", "context_length"):
        assert models["parrot:latest"][fact] == info[fact], fact
    assert models["parrot:latest"]["size_bytes"] == blob.stat().st_size
    assert models["strange"]["architecture"] == "mamba" and "`mamba`" in models["strange"]["problem"]
    assert "GGUF" in models["broken"]["problem"]

    text = perilune("model", "list", "--verbose").stdout
    for word in (str(blob), "llama", "256", "F32", "does not run here: `strange`", "does not run here: `broken`"):
        assert word in text, text
    assert frontend.execute("for _, m in ipairs(LocalLLM.list()) do if m.name == 'parrot:latest' then return m.facts.context_length end end").result == "256"
    assert {model["name"] for model in frontend.model("list").reply["models"]} == set(models)


def test_several_files_of_one_name_are_told_apart(others: Others, home: Path, perilune: Run) -> None:
    others.hugging_face("lab/A-GGUF", "model.gguf", gguf("a"))
    others.hugging_face("lab/A-GGUF", "model.gguf", gguf("an older a"), OLDER, branch=None)
    others.hugging_face("lab/B-GGUF", "model.gguf", gguf("b"))
    others.hugging_face("lab/B-GGUF", "model.gguf", gguf("b"), OLDER, branch=None)
    others.in_lm_studio("lab/A-GGUF/model.gguf", gguf("from the studio"))
    others.in_ollama("registry.ollama.ai/library/moonlet/latest", gguf("c"))
    others.in_ollama("registry.ollama.ai/me/moonlet/latest", gguf("d"))
    names = set(listed(perilune))
    assert names == {
        "moonlet",
        "model",
        "A-GGUF:model",
        "B-GGUF:model",
        "lab--A-GGUF:model",
        "moonlet:latest",
        "me--moonlet:latest",
    }, names


def test_records_that_lie_lead_nowhere(others: Others, home: Path, perilune: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(gguf("secret"))
    others.manifest("registry.ollama.ai/library/up/1", "sha256:../../secret")
    others.manifest("registry.ollama.ai/library/gone/1", "sha256:" + "1" * 64)
    others.manifest("registry.ollama.ai/library/none/1", "")
    (others.ollama / "manifests/registry.ollama.ai/library/none/2").write_text("{]")
    os.mkfifo(others.ollama / "manifests/registry.ollama.ai/library/none/3")
    (others.hub / "models--").mkdir(parents=True)
    assert set(listed(perilune)) == {"moonlet"}


def test_a_header_is_read_again_when_the_file_changed_and_only_then(others: Others, home: Path, perilune: Run) -> None:
    path = home / "models/a.gguf"
    path.write_bytes(gguf("a"))
    assert listed(perilune)["a"]["architecture"] == "llama"
    changed = path.stat()
    path.write_bytes(path.read_bytes().replace(b"llama", b"mamba"))
    os.utime(path, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert listed(perilune)["a"]["architecture"] == "llama", "size and time are as they were, so nothing was read"
    os.utime(path, ns=(changed.st_atime_ns, changed.st_mtime_ns + 1))
    assert listed(perilune)["a"]["architecture"] == "mamba"

    remembered = home / "model-headers.json"
    remembered.write_text("no longer JSON")
    assert listed(perilune)["a"]["architecture"] == "mamba"
    assert json.loads(remembered.read_text())["headers"]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_backends_that_are_down_are_named_at_once(home: Path, perilune: Run, silent: int) -> None:
    connection = {
        "transport": "tcp", "ip": "127.0.0.1", "key": "k", "signature_scheme": "hmac-sha256",
        **{f"{name}_port": silent for name in ("shell", "iopub", "stdin", "control", "hb")},
    }  # fmt: skip
    (home / "silent.json").write_text(json.dumps(connection))
    config = ["[providers.candle]\nenabled = false"]
    for name, file in (("mute", "silent.json"), ("mute2", "silent.json"), ("gone", "missing.json")):
        config.append(f'[providers.{name}]\ntype = "kernel"\nconnection_file = "{file}"')
    (home / "config.toml").write_text('default_model = "local/m@mute"\n' + "\n".join(config))
    times = []
    for _ in range(3):
        started = time.monotonic()
        done = perilune("model", "list")
        times.append(time.monotonic() - started)
        assert done.returncode == 0, done.stderr
        for name in ("mute", "mute2", "gone"):
            assert f"left out: {name}: " in done.stdout, done.stdout
    # The machine may be busy with something else; once in three it is not.
    assert min(times) < 1.0, times


@pytest.mark.parametrize(
    ("command", "code"),
    [(["model", "list", "--backend", "mute"], 0), (["model", "status"], 0), (["model", "info", "nosuch"], 1), (["model", "info", "m@mute"], 1)],
    ids=["list", "status", "info", "info of its model"],
)
def test_a_server_that_says_nothing_is_named_soon(home: Path, perilune: Run, silent: int, command: list[str], code: int) -> None:
    (home / "config.toml").write_text(f'[providers.mute]\ntype = "ollama"\nbase_url = "http://127.0.0.1:{silent}"\n')
    started = time.monotonic()
    done = perilune(*command)
    # It is waited for a second, where it was five or ten.
    assert time.monotonic() - started < 4
    assert done.returncode == code, done.stderr
    assert re.search(r"mute.*(gave no answer|did not answer).* s", done.stdout + done.stderr), done.stdout + done.stderr
