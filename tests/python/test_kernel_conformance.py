"""jupyter_kernel_test, whole: every method of its two classes is switched on, none may be skipped, and how many ran is counted."""

from __future__ import annotations

import unittest

import jupyter_kernel_test

METHODS = {
    "test_clear_output",
    "test_completion",
    "test_display_data",
    "test_error",
    "test_execute_result",
    "test_execute_stderr",
    "test_execute_stdout",
    "test_history",
    "test_inspect",
    "test_is_complete",
    "test_kernel_info",
    "test_pager",
    "test_recv_iopub_welcome_msg",
}
"""What version 0.7.0 has. One that it gains later has to be switched on here."""


class Kernel(jupyter_kernel_test.KernelTests):
    kernel_name = "perilune"
    language_name = "lua"
    file_extension = ".lua"
    code_hello_world = "print('hello, world')"
    code_stderr = "io.stderr:write('oops\\n')"
    completion_samples = [
        {"text": "string.up", "matches": ["upper"]},
        {"text": "local function gre() end gre", "matches": ["gre"]},
        {"text": "%mod", "matches": ["%model"]},
    ]
    complete_code_samples = ["x = 1", "6 * 7", "for i = 1, 3 do print(i) end", "-- nothing", "%model\nx = 1"]
    incomplete_code_samples = ["for i = 1, 3 do", "print(", "x = [[", "function f()\n  return {", "%%chat\nHello"]
    invalid_code_samples = ["x = = 1", "end", "local 1"]
    code_page_something = "%help print"
    code_generate_error = "error('on purpose')"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": "return 6 * 7", "result": "42"},
        {"code": "('x'):rep(3)", "result": "xxx"},
        {"code": "{{name = 'Io', radius = 1822}, {name = 'Europa', radius = 1561}}", "mime": "text/html"},
    ]
    code_display_data = [
        {"code": "display('shown')", "mime": "text/plain"},
        {"code": "display.html('<b>bold</b>')", "mime": "text/html"},
        {"code": "display.markdown('**bold**')", "mime": "text/markdown"},
        {"code": "display.latex('$x^2$')", "mime": "text/latex"},
        {"code": "display.json({a = 1})", "mime": "application/json"},
        {"code": "display.svg('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')", "mime": "image/svg+xml"},
        {"code": "display.table({{a = 1}})", "mime": "text/html"},
    ]
    code_history_pattern = "6 [*]*7"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "string.format"
    code_clear_output = "print('gone') display.clear()"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "perilune"
    support_iopub_welcome = True


# pytest must not collect them by itself: they are run and counted below.
Kernel.__test__ = Welcome.__test__ = False


def test_every_method_passes_and_none_is_skipped() -> None:
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Kernel, Welcome))
    names = {test.id().rsplit(".", 1)[1] for cases in suite for test in cases}
    assert names == METHODS
    result = unittest.TestResult()
    suite.run(result)
    assert [(str(test), trace) for test, trace in result.failures + result.errors] == []
    assert result.skipped == []
    assert result.testsRun == len(METHODS) == 13
