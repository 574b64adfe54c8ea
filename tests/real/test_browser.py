"""JupyterLab in Debian's Chromium: what a person sees and does. Screenshots go to target/screenshots; look at them after a change."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SCREENSHOTS, program, server
from notebook_page import NotebookPage
from playwright.sync_api import Browser, expect, sync_playwright
from resident import free_ports

SLOW_PROMPT = "for piece in LocalLLM.stream('Tell me a story', {max_tokens = 2000, temperature = 1.5}) do io.write(piece) io.flush() end"


@pytest.fixture(scope="module")
def lab(surroundings: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    notebooks = surroundings / "notebooks"
    notebooks.mkdir()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={notebooks}", "--LabApp.news_url="]
    with server(command, f"{address}/api", surroundings / "lab.log"):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def notebook(browser: Browser, lab: str) -> Iterator[NotebookPage]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        yield NotebookPage(context.new_page(), lab, SCREENSHOTS)
    finally:
        context.close()


def test_the_launcher_shows_the_kernel_with_its_logo(browser: Browser, lab: str) -> None:
    page = browser.new_page()
    page.goto(f"{lab}/lab?reset")
    card = page.locator('.jp-LauncherCard[data-category="Notebook"][title="Lua (Perilune)"]')
    image = card.locator("img")
    expect(image).to_have_count(1)
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "launcher.png")
    page.close()


def test_cells_run_and_text_streams_while_they_do(notebook: NotebookPage) -> None:
    cell = notebook.run("answer = 6 * 7\nreturn answer")
    expect(notebook.output(cell)).to_contain_text("42")
    streaming = notebook.start("for number = 1, 3 do print('line ' .. number) end\nio.read()")
    expect(notebook.output(streaming).first).to_contain_text("line 3")
    question = streaming.locator(".jp-Stdin-input")
    expect(question).to_be_visible()
    notebook.screenshot("streaming")
    question.fill("go on")
    question.press("Enter")
    notebook.wait_done(streaming)
    failing = notebook.run("error('as it should')")
    expect(notebook.output(failing)).to_contain_text("as it should")
    notebook.screenshot("cells")


def test_tab_completes_and_shift_tab_inspects(notebook: NotebookPage) -> None:
    notebook.run("moonlight = 1")
    cell = notebook.type("return moonl")
    notebook.page.keyboard.press("Tab")
    expect(cell.locator(".cm-content")).to_contain_text("moonlight")
    notebook.page.keyboard.press("Shift+Enter")
    expect(notebook.output(notebook.cells.nth(1))).to_contain_text("1")
    notebook.type("string.")
    notebook.page.keyboard.press("Tab")
    expect(notebook.page.locator(".jp-Completer")).to_contain_text("gsub")
    notebook.screenshot("completion")
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("Enter")
    notebook.page.keyboard.press("Control+A")
    notebook.page.keyboard.insert_text("LocalLLM.generate")
    notebook.page.keyboard.press("Shift+Tab")
    expect(notebook.page.locator(".jp-Tooltip")).to_contain_text("generate")
    notebook.screenshot("inspection")


def test_an_interrupt_ends_a_loop_and_a_generation(notebook: NotebookPage) -> None:
    loop = notebook.start("print('going') while true do end")
    expect(notebook.output(loop).first).to_contain_text("going")
    notebook.interrupt()
    notebook.wait_done(loop)
    expect(notebook.output(loop).last).to_contain_text(re.compile("interrupt", re.IGNORECASE))
    story = notebook.start(SLOW_PROMPT)
    expect(notebook.output(story).first).to_contain_text(re.compile(r"\w+ \w+"))
    notebook.interrupt()
    notebook.wait_done(story)
    expect(notebook.output(story).last).to_contain_text(re.compile("interrupt", re.IGNORECASE))
    notebook.screenshot("interrupt")
    expect(notebook.output(notebook.run("return 'alive'"))).to_contain_text("alive")


def test_a_restart_gives_a_fresh_state(notebook: NotebookPage) -> None:
    notebook.run("kept = 1")
    notebook.restart()
    notebook.wait_idle()
    expect(notebook.output(notebook.run("return kept == nil"))).to_contain_text("true")
