"""`model storage`, `remove` and `copy`: what lies where, and that nothing goes but what is ours."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import parrot
import pexpect
import pytest
from conftest import Run
from frontend import Frontend

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture
def store(home: Path) -> Path:
    """A store with one model, `tiny:F32`, as a pull leaves it."""
    file = home / "made.bin"
    parrot.write(file, ["I am ", "stored"], TURNS)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    blob = home / f"store/blobs/sha256-{digest}"
    blob.parent.mkdir(parents=True)
    file.rename(blob)
    record = home / "store/names/tiny@F32.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"sha256": digest, "size_bytes": blob.stat().st_size, "source": "hf:lab/tiny", "added": 1}))
    return home / "store"


def blobs(store: Path) -> list[Path]:
    return list((store / "blobs").iterdir())


def names(perilune: Run) -> set[str]:
    models = json.loads(perilune("--output", "json", "model", "list").stdout)["models"]
    return {model["name"] for model in models if model.get("collection") == "store"}


def places(perilune: Run) -> dict[str, dict[str, object]]:
    done = perilune("--output", "json", "model", "storage")
    assert done.returncode == 0, done.stderr
    return {place["collection"]: place for place in json.loads(done.stdout)["places"]}


def test_every_place_says_what_it_takes(store: Path, home: Path, perilune: Run) -> None:
    (blob,) = blobs(store)
    parts = store / "parts"
    parts.mkdir()
    with (parts / "unfinished").open("wb") as part:
        part.write(bytes(1000))
        # What came of the end first leaves a hole.
        part.seek(1 << 20)
        part.write(b"end")
    (home / "models/own.gguf").write_bytes(blob.read_bytes())
    told = places(perilune)
    ours = told["store"]
    on_disk = (parts / "unfinished").stat().st_blocks * 512
    assert (ours["models"], ours["bytes"], ours["part_bytes"], ours["ours"]) == (1, blob.stat().st_size, on_disk, True)
    assert ours["path"] == str(store)
    disk = os.statvfs(store)
    assert ours["total_bytes"] == disk.f_blocks * disk.f_frsize
    assert 0 < ours["free_bytes"] <= ours["total_bytes"]
    assert (told["folder"]["models"], told["folder"]["bytes"], told["folder"]["ours"]) == (1, blob.stat().st_size, False)
    text = perilune("model", "storage").stdout
    for word in ("store (ours)", "folder", str(store), "unfinished downloads"):
        assert word in text, text


def test_a_model_is_copied_and_removed_by_its_names(store: Path, perilune: Run) -> None:
    (blob,) = blobs(store)
    size = blob.stat().st_size
    done = perilune("model", "copy", "tiny:F32", "mine")
    assert done.returncode == 0 and "local/mine@candle" in done.stdout, done.stderr
    assert "stored" in perilune("exec", "return LocalLLM.generate('Hi', { model = 'local/mine@candle' })").stdout
    assert names(perilune) == {"tiny:F32", "mine"}
    assert places(perilune)["store"]["bytes"] == size, "one file, counted once"

    done = perilune("model", "remove", "--yes", "tiny:F32")
    assert done.returncode == 0 and "`mine`" in done.stdout, done.stderr
    assert blob.exists()
    removed = json.loads(perilune("--output", "json", "model", "remove", "--yes", "mine").stdout)
    assert (removed["model"], removed["freed_bytes"]) == ("local/mine@candle", size)
    assert blobs(store) == [] and names(perilune) == set()
    done = perilune("model", "remove", "--yes", "mine")
    assert done.returncode == 1 and "`mine`" in done.stderr


def test_names_that_are_taken_or_cannot_be_are_refused(store: Path, home: Path, perilune: Run) -> None:
    (home / "models/own.gguf").write_bytes(b"GGUF")
    for name, word in (("moonlet", "`moonlet`"), ("own", "own.gguf"), ("../x", "separator"), (".x", "dot"), ("a b", "characters")):
        done = perilune("model", "copy", "tiny:F32", name)
        assert done.returncode == 1 and word in done.stderr, (name, done.stderr)
    assert names(perilune) == {"tiny:F32"}


def test_what_is_not_ours_is_left_alone(store: Path, home: Path, perilune: Run, tmp_path: Path) -> None:
    own = home / "models/own.gguf"
    own.write_bytes(blobs(store)[0].read_bytes())
    for name in ("own", "moonlet"):
        done = perilune("model", "remove", "--yes", name)
        assert done.returncode == 1 and "left alone" in done.stderr, done.stderr
    assert own.exists()
    for name in ("../names/tiny@F32", "..", "/etc/passwd@candle"):
        assert perilune("model", "remove", "--yes", name).returncode == 1

    # A link in the place of the file leads outside.
    (blob,) = blobs(store)
    precious = tmp_path / "precious"
    blob.rename(precious)
    blob.symlink_to(precious)
    done = perilune("model", "remove", "--yes", "tiny:F32@candle")
    assert done.returncode == 1 and "link" in done.stderr, done.stderr
    assert precious.exists() and blob.is_symlink()


def test_a_model_in_memory_stays(store: Path, frontend: Frontend) -> None:
    model = "local/tiny:F32@candle"
    assert frontend.model("load", model=model).reply["status"] == "ok"
    reply = frontend.model("remove", model=model).reply
    assert reply["kind"] == "invalid_request" and "unload it first" in reply["evalue"]
    assert blobs(store)
    frontend.model("unload", model=model)
    assert frontend.model("remove", model=model).reply["freed_bytes"] > 0
    assert blobs(store) == []


def test_a_model_without_its_file_goes_by_its_plain_name(store: Path, perilune: Run) -> None:
    blobs(store)[0].unlink()
    done = perilune("model", "remove", "--yes", "tiny:F32")
    assert done.returncode == 0 and "local/tiny:F32@candle" in done.stdout, done.stderr
    assert list((store / "names").iterdir()) == []


def test_a_record_that_says_nothing_is_told(store: Path, perilune: Run) -> None:
    record = store / "names/broken.json"
    record.write_text("{]")
    listed = perilune("model", "list")
    assert listed.returncode == 0 and "`tiny:F32`" not in listed.stdout
    for told in (listed.stdout, perilune("model", "status").stdout, perilune("doctor").stdout):
        assert str(record) in told and "delete it, and pull the model again" in told, told
    refused = perilune("model", "remove", "--yes", "broken")
    assert refused.returncode == 1 and str(record) in refused.stderr, refused.stderr
    assert blobs(store)


def test_lua_does_the_same(store: Path, frontend: Frontend) -> None:
    assert frontend.execute("return LocalLLM.copy('tiny:F32', 'mine')").result == "local/mine@candle"
    stored = "for _, place in ipairs(LocalLLM.storage()) do if place.ours then return place.models, place.disk.free_bytes > 0 end end"
    assert frontend.execute(stored).result.split() == ["2", "true"]
    assert frontend.execute("return LocalLLM.remove('tiny:F32').kept_as[1]").result == "mine"
    assert frontend.execute("return LocalLLM.remove('local/mine@candle').freed_bytes > 0").result == "true"
    for code in ("LocalLLM.remove()", "LocalLLM.copy('moonlet')", "LocalLLM.remove('moonlet')"):
        said = frontend.execute(f"local ok, error = pcall(function() {code} end) return ok, error.kind").result.split()
        assert said == ["false", "invalid_request"], code


def test_deleting_is_asked_on_a_terminal_and_refused_without_one(store: Path, binary: Path, perilune: Run) -> None:
    unknown = perilune("model", "remove", "nosuch")
    assert unknown.returncode == 1 and "`nosuch`" in unknown.stderr and "--yes" not in unknown.stderr, unknown.stderr
    done = perilune("model", "remove", "tiny:F32")
    assert done.returncode == 2 and "--yes" in done.stderr
    for answer, code in (("n", 1), ("", 1), ("y", 0)):
        process = pexpect.spawn(str(binary), ["model", "remove", "tiny:F32"], encoding="utf-8", timeout=30)
        process.expect(r"delete the model `local/tiny:F32@candle`, [\d.]+ KiB\? \[y/N\]")
        assert blobs(store)
        process.sendline(answer)
        process.expect(pexpect.EOF)
        process.close()
        assert process.exitstatus == code, process.before
    assert blobs(store) == []


def test_what_could_be_pulled_says_whether_it_fits(store: Path, home: Path, perilune: Run, frontend: Frontend) -> None:
    def available(*arguments: str) -> dict[str, dict[str, object]]:
        done = perilune("--output", "json", "model", "available", *arguments)
        assert done.returncode == 0, done.stderr
        return {model["name"]: model for model in json.loads(done.stdout)["models"]}

    known = available()
    recommended = available("--recommended")
    assert 0 < len(recommended) < len(known)
    assert all(known[name]["recommended"] and known[name]["size_bytes"] > 0 for name in recommended)
    (home / "config.toml").write_text("[providers.candle]\nmemory_budget_mib = 1\n")
    assert not any(model["fits"] for model in available("--backend", "candle").values())
    record = store / "names/tiny@F32.json"
    (store / "names/tinyllama@Q8_0.json").write_text(record.read_text())
    assert available()["tinyllama"]["stored"] == ["tinyllama:Q8_0"]
    text = perilune("model", "available").stdout
    assert "tinyllama" in text and "too large" in text
    assert frontend.execute("return #LocalLLM.available()").result == str(len(known))
    assert len(frontend.model("available", recommended=True).reply["models"]) == len(recommended)


def test_a_pipe_in_the_store_keeps_nobody_waiting(store: Path, home: Path, perilune: Run) -> None:
    (blob,) = blobs(store)
    blob.unlink()
    os.mkfifo(blob)
    os.mkfifo(store / "names/pipe.json")
    listed = perilune("model", "list")
    assert listed.returncode == 0 and "moonlet" in listed.stdout, listed.stderr
    assert "gave no answer" not in listed.stdout
    assert "pipe.json`: it is no regular file" in listed.stdout and "its file is missing" in listed.stdout
    assert perilune("model", "info", "moonlet").returncode == 0
