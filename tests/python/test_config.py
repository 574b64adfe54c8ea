"""`config show|path|check|schema`, `provider list|test` and `doctor`. The judge of the schema is the jsonschema package."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from conftest import Run
from openai_server import models, serving

SOUND = [
    "",
    'default_model = "local/moonlet@candle"\ndefault_backend = "candle"\ntrusted_folders = ["~/a"]',
    "[providers.candle]\ncpu_threads = 2\ncontext_size = 64\nkv_cache_type = 'q8_0'\ntimeout_seconds = 0.5",
    "[providers.candle]\nmodel_paths = ['/srv/a', 'b']\nshared_models = false\nmodel_directory = '~/m'\ndevice = 'cpu'",
    "[providers.box]\ntype = 'candle'\nmemory_budget_mib = 10\nkeep_alive_seconds = 0\nkv_cache_mib = 0\nmax_concurrent = 1024",
    "[providers.box]\ntype = 'kernel'\nconnection_file = 'resident'\nenabled = false",
    "[providers.kernel]\nconnection_file = 'a.json'\ndefault_model = 'moonlet'",
    "[providers.far]\ntype = 'openai'\npreset = 'groq'",
    "[providers.openai]\nbase_url = 'http://127.0.0.1:8000/v1'\napi_key = 'sk-1_a.b'",
]
BROKEN = [
    "xyzzy = 1",
    "default_model = 'm@'",
    "default_model = 3",
    "trusted_folders = 'a'",
    "providers = 1",
    "[providers]\ncandle = 1",
    "[providers.local]\ntype = 'candle'",
    "[providers.'a b']\ntype = 'candle'",
    "[providers.box]\ncpu_threads = 1",
    "[providers.box]\ntype = 'gpt'",
    "[providers.candle]\ntype = 'gpt'",
    "[providers.candle]\nxyzzy = 1",
    "[providers.candle]\nconnection_file = 'a'",
    "[providers.kernel]\ncpu_threads = 1",
    "[providers.candle]\ncpu_threads = 0",
    "[providers.candle]\ncpu_threads = 1025",
    "[providers.candle]\ncpu_threads = 1.5",
    "[providers.candle]\ncpu_threads = '2'",
    "[providers.candle]\ncontext_size = 1",
    "[providers.candle]\nmax_concurrent = 0",
    "[providers.candle]\nmax_concurrent = 1025",
    "[providers.candle]\nmemory_budget_mib = 0",
    "[providers.candle]\nkeep_alive_seconds = -1",
    "[providers.candle]\nkeep_alive_seconds = 31536001",
    "[providers.candle]\nkv_cache_mib = 16777217",
    "[providers.candle]\nkv_cache_type = 'q4'",
    "[providers.candle]\ndevice = 'cuda'",
    "[providers.candle]\nenabled = 'yes'",
    "[providers.candle]\ntimeout_seconds = 0",
    "[providers.candle]\ntimeout_seconds = 31536001",
    "[providers.candle]\nmodel_directory = ''",
    "[providers.candle]\nmodel_paths = 'a'",
    "[providers.candle]\nmodel_paths = ['']",
    "[providers.candle]\nmodel_paths = [1]",
    "[providers.candle]\nshared_models = 1",
    "[providers.candle]\ndefault_model = 'local/m'",
    "[providers.candle]\ndefault_model = ''",
    "[providers.kernel]\nconnection_file = 1",
    "[providers.far]\ntype = 'openai'",
    "[providers.openai]\nenabled = true",
    "[providers.far]\ntype = 'openai'\npreset = 'groq'\napi_key = \"\"\"sk-1\nsk-2\"\"\"",
]


@pytest.fixture
def schema(home: Path, perilune: Run) -> jsonschema.Draft202012Validator:
    schema = json.loads(perilune("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", SOUND + BROKEN)
def test_schema_and_program_judge_alike(text: str, schema: jsonschema.Draft202012Validator, home: Path, perilune: Run) -> None:
    file = home / "judged.toml"
    file.write_text(text)
    checked = perilune("config", "check", file)
    by_program = checked.returncode == 0
    assert by_program == (text in SOUND), checked.stderr
    assert schema.is_valid(tomllib.loads(text)) == by_program
    if not by_program:
        assert checked.returncode == 2 and str(file) in checked.stderr, checked.stderr


def settings(perilune: Run, **environment: object) -> dict[tuple[str, str], dict[str, object]]:
    shown = json.loads(perilune("--output", "json", "config", "show", **environment).stdout)
    return {(setting["table"], setting["key"]): setting for setting in shown["settings"]}


def test_every_value_names_its_layer(home: Path, perilune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    user_file = home / "config.toml"
    user_file.write_text('trusted_folders = ["~/mine"]\n[providers.candle]\ncpu_threads = 1\ncontext_size = 64\n')
    (project / "perilune.toml").write_text("[providers.candle]\ncontext_size = 32\n")
    monkeypatch.setenv("PERILUNE_MODEL", "local/moonlet@candle")
    shown = settings(perilune, cwd=project)
    candle = "providers.candle"
    assert shown[candle, "cpu_threads"]["origin"] == {"file": {"path": str(user_file), "line": 3}}
    assert shown[candle, "context_size"]["value"] == 32
    assert shown[candle, "context_size"]["origin"] == {"file": {"path": str(project / "perilune.toml"), "line": 2}}
    assert shown["", "default_model"] == {
        "table": "", "key": "default_model", "value": "local/moonlet@candle", "shown": '"local/moonlet@candle"',
        "origin": {"environment": "PERILUNE_MODEL"},
    }  # fmt: skip
    assert shown["", "trusted_folders"]["value"] == ["~/mine"]
    assert (shown[candle, "max_concurrent"]["value"], shown[candle, "max_concurrent"]["origin"]) == (8, "default")
    assert shown[candle, "keep_alive_seconds"]["value"] is None

    # As text it is a configuration that says the same.
    text = perilune("config", "show", cwd=project).stdout
    assert tomllib.loads(text)["providers"]["candle"]["context_size"] == 32, text
    assert f"`{user_file}` line 3" in text and "# default" in text
    again = home / "again.toml"
    again.write_text(text)
    assert perilune("config", "check", again).returncode == 0


def test_paths_and_errors(home: Path, perilune: Run) -> None:
    assert perilune("config", "path").stdout == f"{home}/config.toml\n"
    told = json.loads(perilune("--output", "json", "config", "path").stdout)
    assert told == {"exists": False, "user": f"{home}/config.toml", "project": None}
    assert perilune("config", "check").returncode == 0
    (home / "config.toml").write_text("[providers.candle]\ncpu_threads = 'sk-secret'\n")
    for command in (["config", "check"], ["config", "show"], ["provider", "list"]):
        done = perilune(*command)
        assert done.returncode == 2 and "config.toml` line 2" in done.stderr and "sk-secret" not in done.stderr
    assert perilune("config", "check", home / "missing.toml").returncode == 2
    assert perilune("--connect", "x.json", "config", "show").returncode == 2


def test_providers_are_listed_and_tested(home: Path, perilune: Run) -> None:
    (home / "config.toml").write_text(
        'default_backend = "candle"\n[providers.gone]\ntype = "kernel"\nconnection_file = "gone.json"\n'
        '[providers.off]\ntype = "candle"\nenabled = false\n'
    )
    listed = {each["name"]: each for each in json.loads(perilune("--output", "json", "provider", "list").stdout)}
    assert {name: (each["type"], each["enabled"], each["default"]) for name, each in listed.items()} == {
        "candle": ("candle", True, True),
        "gone": ("kernel", True, False),
        "off": ("candle", False, False),
    }
    text = perilune("provider", "list").stdout
    for word in ("default backend", "disabled", "gone.json"):
        assert word in text, text

    done = perilune("--output", "json", "provider", "test")
    assert done.returncode == 1, "one does not work"
    works = {each["provider"]: each["works"] for each in json.loads(done.stdout)}
    assert works == {"candle": True, "gone": False}
    done = perilune("provider", "test", "candle")
    assert done.returncode == 0 and "yes" in done.stdout
    done = perilune("provider", "test", "nobody")
    assert done.returncode == 1 and "`nobody`" in done.stderr and "`candle`" in done.stderr


def findings(perilune: Run, **options: object) -> tuple[int, dict[str, list[dict[str, object]]]]:
    done = perilune("--output", "json", "doctor", **options)
    told = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    by_area: dict[str, list[dict[str, object]]] = {}
    for finding in told["findings"]:
        assert (finding["remedy"] is None) == (finding["state"] == "ok"), finding
        by_area.setdefault(finding["area"], []).append(finding)
    return done.returncode, by_area


def test_the_doctor_finds_what_is_wrong_and_says_what_would_help(home: Path, perilune: Run) -> None:
    code, areas = findings(perilune)
    assert code == 0, areas
    assert set(areas) == {"configuration", "memory", "ports", "resident kernel", "jupyter", "backends", "disk"}
    assert str(home / "store") in areas["disk"][0]["what"]
    assert "nothing stands in the way" in perilune("doctor").stdout

    (home / "config.toml").write_text('[providers.gone]\ntype = "kernel"\nconnection_file = "gone.json"\n')
    (home / "run").mkdir()
    (home / "run/kernel.json").write_text("{}")
    code, areas = findings(perilune)
    assert code == 1
    wrong = {area: [each["state"] for each in found] for area, found in areas.items() if any(each["state"] == "problem" for each in found)}
    assert wrong == {"resident kernel": ["problem"], "backends": ["ok", "problem"]}, areas
    assert "gone.json" in areas["backends"][1]["what"]

    with serving(models("small", "large")) as server:
        (home / "config.toml").write_text(f'[providers.far]\ntype = "openai"\nbase_url = "{server.url}"\n')
        far = findings(perilune)[1]["backends"][-1]["what"]
        assert far == f"`far` (openai): {server.url}, 2 models"

    (home / "config.toml").write_text("[providers.candle]\ncpu_threds = 2\n")
    code, areas = findings(perilune)
    (broken,) = areas["configuration"]
    assert code == 1 and broken["state"] == "problem" and "`cpu_threads`" in broken["what"]
    assert "backends" not in areas


def test_the_doctor_looks_at_the_kernelspecs(home: Path, perilune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    code, areas = findings(perilune)
    assert (code, areas["jupyter"][0]["state"]) == (0, "warning"), areas
    specification = tmp_path / "jupyter/kernels/perilune/kernel.json"
    specification.parent.mkdir(parents=True)
    metadata = {"perilune": {"installed_by": "perilune kernel install"}}
    argv = [str(tmp_path / "gone"), "kernel", "start"]
    specification.write_text(json.dumps({"argv": argv, "display_name": "Lua", "language": "lua", "metadata": metadata}))
    code, areas = findings(perilune)
    assert (code, areas["jupyter"][0]["state"]) == (1, "problem"), areas
