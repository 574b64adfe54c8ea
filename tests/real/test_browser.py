"""JupyterLab in Debian's Chromium: what a person sees and does. Screenshots go to target/screenshots; look at them after a change."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SCREENSHOTS, SCRIPTS, program, server
from notebook_page import NotebookPage
from playwright.sync_api import Browser, expect, sync_playwright
from resident import free_ports

RAMBLE = "while true do for piece in LocalLLM.stream('Hello', {temperature = 20, top_k = 0, top_p = 1, min_p = 0}) do io.write(piece) end end"
"""Nonsense without an end, because moonlet's answers are short and its context is soon full."""

VEGALITE = """
return display.vegalite {
  mark = "bar", width = 200, height = 100,
  data = { values = { { moon = "Io", km = 3643 }, { moon = "Europa", km = 3122 } } },
  encoding = { x = { field = "moon", type = "nominal" }, y = { field = "km", type = "quantitative" } },
}"""

ECHO = """
Comm.register("echo", function(comm)
  comm:on_message(function(message) comm:send({ word = message.word, going = going }) end)
end)"""
OPEN_COMM = """async () => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  window.comm = kernel.createComm('echo');
  window.heard = [];
  comm.onMsg = message => { heard.push(message.content.data); };
  await comm.open({}).done;
  return kernel.supportsSubshells;
}"""
"""What a widget's code does in JupyterLab, which makes a subshell for the comms of a target by itself."""


@pytest.fixture(scope="module")
def lab(surroundings: Path) -> Iterator[str]:
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    notebooks = surroundings / "notebooks"
    shutil.copytree(SCRIPTS / "notebooks", notebooks)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={notebooks}", "--LabApp.expose_app_in_browser=True"]
    # JupyterLab asks whether it may fetch news, over the corner of every screenshot.
    settings = surroundings / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(surroundings / "settings")}
    with server(command, f"{address}/api", surroundings / "lab.log", env=environment):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def notebook(browser: Browser, lab: str, request: pytest.FixtureRequest) -> Iterator[NotebookPage]:
    """A notebook of its own; how it looked in the end is a screenshot with the test's name."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        notebook = NotebookPage(context.new_page(), lab, SCREENSHOTS)
        yield notebook
        notebook.screenshot(f"end-of-{request.node.name}")
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


def test_tab_completes(notebook: NotebookPage) -> None:
    notebook.run("moonlight = 1")
    cell = notebook.type("return moonl")
    completer = notebook.page.locator(".jp-Completer")
    notebook.press_until("Tab", completer, "moonlight")
    notebook.page.keyboard.press("Enter")
    expect(cell.locator(".cm-content")).to_contain_text("moonlight")
    notebook.page.keyboard.press("Shift+Enter")
    expect(notebook.output(cell)).to_contain_text("1")
    notebook.type("string.")
    notebook.press_until("Tab", completer, "gsub")
    notebook.screenshot("completion")


def test_shift_tab_inspects(notebook: NotebookPage) -> None:
    notebook.type("LocalLLM.generate")
    notebook.press_until("Shift+Tab", notebook.page.locator(".jp-Tooltip"), "LocalLLM.generate")
    notebook.screenshot("inspection")


def test_comms_reach_their_handlers_while_a_cell_computes(notebook: NotebookPage) -> None:
    page = notebook.page
    notebook.run(ECHO)
    assert page.evaluate(OPEN_COMM), "JupyterLab sees no subshells"
    page.wait_for_function("comm.subshellId")
    loop = notebook.start("going = true print('going') while true do end")
    expect(notebook.output(loop).first).to_contain_text("going")
    page.evaluate("() => { comm.send({ word: 'hello' }); }")
    page.wait_for_function("heard.length > 0")
    assert page.evaluate("heard") == [{"word": "hello", "going": True}]
    expect(loop.locator(".jp-InputPrompt").first).to_contain_text("*")
    notebook.interrupt()
    notebook.wait_done(loop)


def test_tables_trees_and_charts_are_drawn(notebook: NotebookPage) -> None:
    table = notebook.run("return { { moon = 'Io', km = 3643 }, { moon = 'Europa', km = 3122 } }")
    expect(notebook.output(table).locator("table")).to_contain_text("Europa")
    tree = notebook.run("return { planet = { name = 'Jupiter', moons = { 'Io', 'Europa' } } }")
    expect(notebook.output(tree).last).to_contain_text("Jupiter")
    notebook.output(tree).locator("summary").nth(1).click()
    chart = notebook.run(VEGALITE)
    expect(notebook.output(chart).locator(".vega-embed").locator("canvas, svg").first).to_be_visible()
    markdown = notebook.run("display.markdown('# Moons\\n- **Io**') display.latex('E = m c^2')")
    expect(notebook.output(markdown).locator("h1")).to_contain_text("Moons")
    notebook.screenshot("rich")


def test_a_chart_and_progress_are_seen(notebook: NotebookPage) -> None:
    chart = notebook.run('display.chart{kind = "bar", x = {"Io", "Europa"}, y = {3643, 3122}, title = "Moons"}')
    image = notebook.output(chart).locator("img")
    notebook.page.wait_for_function("image => image.complete && image.naturalWidth == 560", arg=image.element_handle())
    bar = notebook.start('local p = display.progress(4, {label = "moons"}) p:advance(2) io.read() p:finish()')
    progress = notebook.output(bar).locator("progress")
    expect(progress).to_have_attribute("value", "0.5000")
    notebook.screenshot("progress")
    bar.locator(".jp-Stdin-input").press("Enter")
    expect(progress).to_have_attribute("value", "1.0000")
    expect(progress).to_have_count(1)


def test_a_slow_call_shows_one_line_that_stays_as_a_summary(notebook: NotebookPage) -> None:
    options = "{temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900, logit_bias = {['<|im_end|>'] = -1000}}"
    call = notebook.run(f"text = LocalLLM.generate('Hello', {options})")
    expect(notebook.output(call)).to_have_text(re.compile(r"^\s*moonlet · \d+ tokens · \d+ tokens/s · [\d.]+ s\s*$"))
    expect(notebook.output(call)).to_have_count(1)


def test_a_line_tells_how_far_a_call_is(notebook: NotebookPage) -> None:
    options = "{temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900, logit_bias = {['<|im_end|>'] = -1000}}"
    line = re.compile(r"moonlet · \d+ tokens · \d+ tokens/s · [\d.]+ s …")
    calls = notebook.start(f"while true do LocalLLM.generate('Hello', {options}) end")
    expect(notebook.output(calls).last).to_contain_text(line)
    notebook.screenshot("live-line")
    notebook.interrupt()
    expect(notebook.output(calls).last).to_contain_text("nterrupt")
    # A call takes a third of a second, and an interrupt may fall between two of them, when no line is there.
    for _ in range(10):
        calls = notebook.start(f"while true do LocalLLM.generate('Hello', {options}) end")
        expect(notebook.output(calls).last).to_contain_text(line)
        notebook.interrupt()
        expect(notebook.output(calls).last).to_contain_text("nterrupt")
        if "stopped" in "".join(notebook.output(calls).all_inner_texts()):
            return
    raise AssertionError("no interrupt of ten ended a line")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("name", ["tour", "agent", "comparison"])
def test_a_stored_notebook_runs_from_top_to_bottom(browser: Browser, lab: str, name: str, theme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        notebook = NotebookPage(context.new_page(), lab, SCREENSHOTS, stored=f"{name}.ipynb")
        notebook.command("apputils:change-theme", theme=theme)
        expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)
        notebook.run_all()
        notebook.unroll()
        errors = notebook.page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]')
        expect(errors).to_have_count(0)
        notebook.screenshot(f"{name}-{theme.split()[-1].lower()}")
        notebook.command("apputils:change-theme", theme="JupyterLab Light")
        expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
    finally:
        context.close()


def test_an_interrupt_ends_a_loop_and_a_generation(notebook: NotebookPage) -> None:
    loop = notebook.start("print('going') while true do end")
    expect(notebook.output(loop).first).to_contain_text("going")
    notebook.interrupt()
    notebook.wait_done(loop)
    expect(notebook.output(loop).last).to_contain_text(re.compile("interrupt", re.IGNORECASE))
    story = notebook.start(RAMBLE)
    expect(notebook.output(story).first).to_contain_text(re.compile(r"\w"))
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
