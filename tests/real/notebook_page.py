"""A notebook in JupyterLab, used as a person does: keys, clicks, and what is on the page."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import PATIENCE
from playwright.sync_api import Locator, Page, expect

MILLISECONDS = 1000 * PATIENCE
PRESSES = 5
"""How often a key is pressed before an answer is given up."""
expect.set_options(timeout=MILLISECONDS)


class NotebookPage:
    """One notebook of the kernel, made by a click on the launcher."""

    def __init__(self, page: Page, address: str, screenshots: Path, stored: str | None = None):
        """With `stored`, one that lies in the server's folder instead."""
        self.page = page
        self.screenshots = screenshots
        launcher_title = "Lua (Perilune)"
        page.set_default_timeout(MILLISECONDS)
        if stored is None:
            page.goto(f"{address}/lab?reset")
            page.locator(f'.jp-LauncherCard[data-category="Notebook"][title="{launcher_title}"]').click()
        else:
            page.goto(f"{address}/lab/tree/{stored}?reset")
        # Until it is connected, JupyterLab forgets a cell that is run, whatever the kernel.
        expect(page.get_by_text(f"{launcher_title} | Idle")).to_be_visible()
        self.wait_idle()

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def wait_idle(self) -> None:
        expect(self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')).to_have_count(1)

    def type(self, code: str) -> Locator:
        """Puts text into the last cell, which is the empty one, and returns the cell; nothing is run."""
        cell = self.cells.nth(self.cells.count() - 1)
        cell.locator(".cm-content").click()
        expect(cell.locator(".cm-editor.cm-focused")).to_have_count(1)
        self.page.keyboard.insert_text(code)
        expect(cell.locator(".cm-content")).to_contain_text(code.split("\n")[0])
        return cell

    def press_until(self, key: str, shown: Locator, text: str) -> None:
        """Presses a key until the answer is there: one pressed while JupyterLab itself is busy is lost."""
        for _ in range(PRESSES):
            self.page.keyboard.press(key)
            try:
                expect(shown).to_contain_text(text, timeout=MILLISECONDS / PRESSES)
                return
            except AssertionError as problem:
                missing = problem
        raise missing

    def start(self, code: str) -> Locator:
        """Runs a cell; returns it without waiting for its end."""
        cell = self.type(code)
        before = self.cells.count()
        self.page.keyboard.press("Shift+Enter")
        expect(self.cells).to_have_count(before + 1)
        return cell

    def run(self, code: str) -> Locator:
        cell = self.start(code)
        self.wait_done(cell)
        return cell

    def run_all(self) -> None:
        """Runs every cell, to its end."""
        self.command("notebook:run-all-cells")
        for number in range(self.cells.count()):
            expect(self.cells.nth(number).locator(".jp-InputPrompt").first).to_contain_text(re.compile(r"\[\d+\]"))
        self.wait_idle()

    def command(self, name: str, **arguments: object) -> None:
        """Does what a menu would."""
        self.page.evaluate("([name, arguments]) => { jupyterapp.commands.execute(name, arguments); }", [name, arguments])

    def unroll(self) -> None:
        """Makes the page as high as the notebook, so that a screenshot has all of it."""
        panel = self.page.locator(".jp-Notebook .jp-WindowedPanel-outer")
        height = self.page.evaluate("document.querySelector('.jp-WindowedPanel-viewport').scrollHeight")
        self.page.set_viewport_size({"width": 1280, "height": min(height + 160, 8000)})
        panel.evaluate("panel => { panel.scrollTop = 0; }")
        expect(self.page.locator('.jp-Cell[data-windowed-list-index="0"]')).to_be_in_viewport()

    def wait_done(self, cell: Locator) -> None:
        """Until its prompt is a number."""
        expect(cell.locator(".jp-InputPrompt").first).not_to_contain_text("*")
        self.wait_idle()

    def output(self, cell: Locator) -> Locator:
        return cell.locator(".jp-OutputArea-output")

    def interrupt(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("i")
        self.page.keyboard.press("i")

    def restart(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("0")
        self.page.keyboard.press("0")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)

    def screenshot(self, name: str) -> None:
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.screenshots / f"{name}.png")
