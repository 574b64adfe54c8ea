"""A terminal that a program runs in, as a person has one: keys go in, and what counts is what stands on the screen.

The screen is pyte's, which also answers what programs ask of a terminal, such as where its cursor is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

import pexpect
import pyte

PATIENCE = 30.0
"""Seconds until a wait is given up. It bounds a failure and measures nothing."""

ENTER, TAB, UP, CTRL_C, CTRL_D, CTRL_R = "\r", "\t", "\x1b[A", "\x03", "\x04", "\x12"
ALT_ENTER = "\x1b\r"


class Terminal:
    """A program in a pseudo-terminal of this size."""

    def __init__(self, command: Sequence[object], columns: int = 80, rows: int = 40, **environment: str):
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self.screen.write_process_input = lambda answer: self.child.send(answer)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""
        first, *rest = map(str, command)
        surroundings = os.environ | {"TERM": "xterm-256color", "PAGER": "cat"} | environment
        surroundings.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
        self.child = pexpect.spawn(
            first, rest, env=surroundings, dimensions=(rows, columns), encoding="utf-8", timeout=PATIENCE
        )
        self.child.delaybeforesend = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close(force=True)

    @property
    def lines(self) -> list[str]:
        """All that can be seen, by scrolling back too, without blanks at the ends."""
        above = ["".join(line[column].data for column in sorted(line)) for line in self.screen.history.top]
        return [line.rstrip() for line in [*above, *self.screen.display]]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def last(self) -> str:
        """The line that the cursor is in."""
        return self.screen.display[self.screen.cursor.y].rstrip()

    def keys(self, keys: str) -> None:
        self.child.send(keys)

    def line(self, text: str) -> None:
        self.keys(text + ENTER)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Reads the program's output until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"waited {PATIENCE} s for {what}; the screen:\n{self.text}")
            try:
                self.feed(self.child.read_nonblocking(65536, timeout=min(left, 0.2)))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                if not condition():
                    raise AssertionError(f"ended before {what}; the screen:\n{self.text}") from None

    def feed(self, output: str) -> None:
        self.raw += output
        self.stream.feed(output)

    def see(self, text: str) -> None:
        """Waits until the text is on the screen."""
        self.wait(lambda: text in self.text, repr(text))

    def prompt(self, prompt: str) -> None:
        """Waits until the cursor stands right behind the prompt."""
        wanted = prompt.rstrip()
        self.wait(lambda: self.last == wanted and self.screen.cursor.x == len(prompt), f"the prompt {prompt!r}")

    def resize(self, columns: int, rows: int) -> None:
        self.child.setwinsize(rows, columns)
        self.screen.resize(rows, columns)
        self.child.kill(signal.SIGWINCH)

    def ended(self) -> int:
        """Waits for the program's end; its exit code."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.feed(self.child.read_nonblocking(65536, timeout=0.2))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                self.child.wait()
                return self.child.exitstatus if self.child.signalstatus is None else -self.child.signalstatus
        raise TimeoutError(f"it has not ended; the screen:\n{self.text}")
