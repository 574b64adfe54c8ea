"""`perilune chat` in a terminal, and through a pipe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import parrot
import pytest
from conftest import Run
from jupyter_client import KernelManager
from terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, Terminal

MODEL = "local/moonlet@candle"


@pytest.fixture
def chat(binary: Path, home: Path) -> Iterator[Terminal]:
    with Terminal([binary, "chat", MODEL, "--seed", "7"], columns=100) as terminal:
        terminal.prompt("> ")
        yield terminal


def say(chat: Terminal, text: str) -> str:
    """Says something, waits for the prompt that follows, and returns what stands between."""
    chat.prompt("> ")
    chat.line(text)
    chat.wait(lambda: chat.last != ">", "the line's end")
    chat.prompt("> ")
    lines = chat.text.splitlines()
    said = max(at for at, line in enumerate(lines) if line.startswith("> ") and line != ">")
    return "\n".join(lines[said + 1 : -1])


def test_an_answer_comes_and_the_conversation_is_kept(chat: Terminal, tmp_path: Path) -> None:
    assert len(say(chat, "What is the capital of France?")) > 3
    assert len(say(chat, "And of Italy?")) > 3
    file = tmp_path / "talk.json"
    assert str(file) in say(chat, f"/save {file}").replace("\n", "")
    saved = json.loads(file.read_text())
    assert saved["model"] == MODEL
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant", "user", "assistant"]
    assert saved["messages"][2]["content"] == "And of Italy?"
    assert "error: " in say(chat, f"/save {file}")
    chat.keys(CTRL_D)
    assert chat.ended() == 0


def test_commands(chat: Terminal, tmp_path: Path) -> None:
    assert "/save FILE" in say(chat, "/help")
    assert "`/frobnicate`" in say(chat, "/frobnicate")
    assert MODEL in say(chat, "/model")
    assert "no-such-model" in say(chat, "/model local/no-such-model@candle")
    assert MODEL in say(chat, "/model")
    assert say(chat, "/model moonlet").startswith(f"{MODEL} answers")
    say(chat, "/system You are brief.")
    assert "You are brief." in say(chat, "/system")
    say(chat, "Hello!")
    assert "answers: 1" in say(chat, "/usage")
    file = tmp_path / "talk.md"
    say(chat, f"/save {file}")
    assert file.read_text().startswith("## System\n\nYou are brief.\n\n## You\n\nHello!\n\n## Model\n\n")
    say(chat, "/reset")
    say(chat, f"/save {tmp_path / 'empty.md'}")
    assert (tmp_path / "empty.md").read_text() == "## System\n\nYou are brief.\n\n"
    chat.line("/exit")
    assert chat.ended() == 0


def test_a_message_of_many_lines(chat: Terminal, tmp_path: Path) -> None:
    chat.keys("first" + ALT_ENTER + "second")
    chat.see("| second")
    chat.keys(ENTER)
    chat.wait(lambda: not chat.last.startswith("|"), "the question's end")
    say(chat, f"/save {tmp_path / 'talk.md'}")
    assert "first\nsecond" in (tmp_path / "talk.md").read_text()


def test_ctrl_c_stops_an_answer_and_says_what_becomes_of_it(binary: Path, home: Path, tmp_path: Path) -> None:
    story = ["Once upon ", "a time\n"]
    parrot.write(home / "models/parrot.gguf", story, "{{ messages[-1].content }}", context=1 << 16, endless=True)
    with Terminal([binary, "chat", "local/parrot@candle"], columns=100) as chat:
        chat.prompt("> ")
        chat.line("Tell me a story.")
        chat.see("Once upon a time")
        chat.keys(CTRL_C)
        chat.prompt("> ")
        assert "[stopped; what was said stays in the conversation]" in chat.text
        say(chat, f"/save {tmp_path / 'talk.json'}")
    question, answer = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert answer["content"].startswith("Once upon a time\nOnce")


def test_a_conversation_that_is_too_long_is_told_with_both_lengths(chat: Terminal) -> None:
    say(chat, "Hello!")
    told = say(chat, "\x1b[200~" + "moon " * 3000 + "\x1b[201~")
    assert "error:" in told and "tokens and the context holds" in told.replace("\n", " ")
    assert "/reset" in told
    assert len(say(chat, "Hello again!")) > 3


def test_a_model_that_is_not_there_is_told_before_anything_is_asked(binary: Path, home: Path) -> None:
    with Terminal([binary, "chat", "local/no-such-model@candle"], columns=200) as chat:
        assert chat.ended() == 1
        assert "no-such-model" in chat.text


def test_it_talks_with_another_kernel(binary: Path, manager: KernelManager) -> None:
    with Terminal([binary, "--connect", manager.connection_file, "chat"], columns=200) as chat:
        chat.see("talking with the default model")
        assert len(say(chat, "Hello!")) > 3
        manager.provisioner.process.kill()
        assert chat.ended() == 3
        assert "has died" in chat.text
    manager.shutdown_kernel(now=True)


def test_a_piped_question_gets_the_answer_and_nothing_else(perilune: Run) -> None:
    first, second = (perilune("chat", MODEL, "--seed", "3", input="Hello!\n") for _ in range(2))
    assert first.returncode == 0 and first.stderr == ""
    assert first.stdout == second.stdout and first.stdout.strip() and first.stdout.endswith("\n")
    answer = json.loads(perilune("chat", MODEL, "--seed", "3", "--output", "json", input="Hello!\n").stdout)
    assert answer["text"].strip() == first.stdout.strip()
    assert answer["model"] == MODEL and answer["usage"]["completion_tokens"] > 0


def test_what_cannot_be_answered_is_an_error(perilune: Run) -> None:
    nothing = perilune("chat", input="")
    assert (nothing.returncode, nothing.stdout) == (2, "") and "pipe" in nothing.stderr
    unknown = perilune("chat", "local/no-such-model@candle", input="Hello!")
    assert (unknown.returncode, unknown.stdout) == (1, "") and "no-such-model" in unknown.stderr
    long = perilune("chat", MODEL, input="moon " * 3000)
    assert (long.returncode, long.stdout) == (1, "") and "the context holds" in long.stderr


def test_a_reader_that_leaves_ends_it(binary: Path, home: Path) -> None:
    process = subprocess.Popen([binary, "chat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.close()
    process.stdin.write("Tell me a long story.")
    process.stdin.close()
    assert process.wait(timeout=30) == 141
