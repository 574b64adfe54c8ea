//! Rich values: the global `display`, the representations of results, and xeus-lua's names.

use perilune_bridge::{Outcome, Output, Rich};
use serde_json::{Value, json};

use crate::notebook::{Notebook, Ran, options};

#[track_caller]
fn data<'a>(value: &'a Rich, mime: &str) -> &'a Value {
    value.data.get(mime).unwrap_or_else(|| panic!("no `{mime}` among {:?}", value.data))
}

#[track_caller]
fn html(ran: &Ran) -> &str {
    data(ran.rich(), "text/html").as_str().expect("text")
}

#[tokio::test]
async fn every_kind_is_shown_with_a_text_form() {
    let mut notebook = Notebook::start();
    for (code, mime, expected, text) in [
        ("html('<b>bold</b> &amp; <i>more</i>')", "text/html", json!("<b>bold</b> &amp; <i>more</i>"), "bold & more"),
        ("markdown('*a*')", "text/markdown", json!("*a*"), "*a*"),
        ("latex('x^2')", "text/latex", json!("$\\displaystyle x^2$"), "x^2"),
        ("latex('$x$')", "text/latex", json!("$x$"), "$x$"),
        (
            "json{a = {1, json.null}}",
            "application/json",
            json!({"a": [1, null]}),
            "{\n  \"a\": [\n    1,\n    null\n  ]\n}",
        ),
        ("json('[1]')", "application/json", json!([1]), "[\n  1\n]"),
        ("svg('<svg></svg>')", "image/svg+xml", json!("<svg></svg>"), "SVG image, 11 bytes"),
        (
            "vegalite{mark = 'bar', title = 'Tokens'}",
            "application/vnd.vegalite.v5+json",
            json!({"mark": "bar", "title": "Tokens"}),
            "Vega-Lite chart (bar: Tokens)",
        ),
    ] {
        let ran = notebook.run(&format!("display.{code}")).await;
        ran.expect_nothing();
        let shown = ran.displays();
        assert_eq!(shown.len(), 1, "{code}");
        assert_eq!(data(shown[0].0, mime), &expected, "{code}");
        assert_eq!(shown[0].0.text(), Some(text), "{code}");
    }
}

#[tokio::test]
async fn a_handle_replaces_what_it_showed() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("local h = display.markdown('one'); h:update('two'):update('three')").await;
    let shown = ran.displays();
    let texts: Vec<_> = shown.iter().map(|(value, _, update)| (value.text().unwrap_or(""), *update)).collect();
    assert_eq!(texts, [("one", false), ("two", true), ("three", true)]);
    assert!(shown.iter().all(|(value, id, _)| *id == shown[0].1 && value.data.contains_key("text/markdown")));

    // From a later cell, where it is not shown a second time; as a result of one more it is.
    let later = notebook.run("return h:update('four')").await;
    assert_eq!(later.expect_nothing().displays().len(), 1);
    assert_eq!(notebook.run("return h").await.rich().text(), Some("four"));

    let named = notebook.run("display('a', {id = 'mine', metadata = {tags = {1}}})").await;
    assert_eq!(named.displays()[0].1, "mine");
    assert_eq!(named.displays()[0].0.metadata.get("tags"), Some(&json!([1])));

    let cleared = notebook.run("display.clear(true); display.clear()").await;
    assert_eq!(cleared.shown, [Output::ClearOutput { wait: true }, Output::ClearOutput { wait: false }]);
}

#[tokio::test]
async fn a_png_comes_as_bytes_or_from_a_file() {
    // The smallest PNG: one transparent pixel; its base64 is of Python's base64.b64encode.
    let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
    let bytes = "\\137\\80\\78\\71\\13\\10\\26\\10\\0\\0\\0\\13\\73\\72\\68\\82\\0\\0\\0\\1\\0\\0\\0\\1\\8\\6\\0\\0\\0\\31\\21\\196\\137\
        \\0\\0\\0\\13\\73\\68\\65\\84\\120\\218\\99\\100\\96\\248\\95\\15\\0\\2\\135\\1\\128\\235\\71\\186\\146\\0\\0\\0\\0\\73\\69\\78\\68\\174\\66\\96\\130";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pixel.png");
    let mut notebook = Notebook::start();
    let code = format!(
        "local bytes = '{bytes}'\nlocal file = io.open('{0}', 'wb'); file:write(bytes); file:close()\n\
         display.png(bytes); display.png('{0}', {{width = 40}})",
        path.display()
    );
    let ran = notebook.run(&code).await;
    let shown = ran.displays();
    for (value, ..) in &shown {
        assert_eq!(data(value, "image/png"), &json!(base64));
        assert_eq!(value.text(), Some("PNG image, 1 x 1, 70 bytes"));
    }
    assert_eq!(shown[1].0.metadata.get("image/png"), Some(&json!({"width": 40})));
}

#[tokio::test]
async fn mistakes_are_told_and_show_nothing() {
    let mut notebook = Notebook::start();
    for (code, part) in [
        ("display()", "display needs a value"),
        ("display(1, {colour = 1})", "unknown option `colour` of display; known: `id`, `metadata`"),
        ("display(1, {id = 5})", "option `id` of display is a number; expected a string"),
        ("display.html(5)", "display.html got a number; expected a string"),
        ("display.html('\\xff')", "`text/html` is no UTF-8 text: byte 1"),
        ("display.svg('<b>no</b>')", "no SVG document: it starts with \"<b>no</b>\""),
        ("display.png('nowhere.png')", "display.png got \"nowhere.png\": nowhere.png: No such file"),
        ("display.json(print)", "is a function, which JSON cannot hold"),
        ("display.json('{')", "not JSON"),
        ("display.vegalite(1)", "display.vegalite got a number"),
        ("display.table(1)", "display.table got a number; expected a list"),
        (
            "display.table({{1}}, {max_rows = 0})",
            "option `max_rows` of display.table is a number; expected a whole number",
        ),
        ("display.html('a').update('b')", "call it with a colon"),
        ("display.clear(1)", "display.clear got a number"),
        ("setmetatable({}, {__mimebundle = function() return {html = 'x'} end})", "\"html\" is no MIME type"),
        ("setmetatable({}, {__mimebundle = function() return {[1] = 'x'} end})", "1 is no MIME type"),
        ("setmetatable({}, {__mimebundle = function() return 'x' end})", "`__mimebundle` returned a string and nil"),
        ("setmetatable({}, {__mimebundle = function() return {['text/html'] = {}} end})", "`text/html` is a table"),
        ("setmetatable({}, {__repr_html = function() return 5 end})", "`__repr_html` returned a number"),
        ("setmetatable({}, {__repr_html = function() error('mine') end})", "cell 20:1: mine"),
        ("display(setmetatable({}, {__mimebundle = function() error('mine') end}))", "cell 21:1: mine"),
    ] {
        let ran = notebook.run(code).await;
        let message = &ran.failure().message;
        assert!(message.contains(part), "{code}: {message}");
        assert!(ran.shown.len() <= 1, "{code}: {:?}", ran.shown);
    }
}

#[tokio::test]
async fn metamethods_give_a_value_its_representations() {
    let mut notebook = Notebook::start();
    let define = "Moon = setmetatable({}, {\n\
         __mimebundle = function(self) return {['text/markdown'] = '**moon**', ['x/y+json'] = {1}}, {['text/markdown'] = {a = 1}} end,\n\
         __repr_html = function(self) return '<b>moon</b>' end, __tostring = function() return 'a moon' end})\n\
         Plain = setmetatable({1}, {__mimebundle = function() return nil end})";
    notebook.run(define).await.expect_nothing();
    let result = notebook.run("Moon").await;
    let expected = json!({
        "text/html": "<b>moon</b>", "text/markdown": "**moon**", "text/plain": "a moon", "x/y+json": [1],
    });
    assert_eq!(json!(result.rich().data), expected);
    assert_eq!(json!(result.rich().metadata), json!({"text/markdown": {"a": 1}}));
    let shown = notebook.run("display(Moon)").await;
    assert_eq!(json!(shown.displays()[0].0.data), expected);
    notebook.run("Plain").await.expect_result("{1}");
    notebook.run("Moon, 1").await.expect_result("a moon\t1");
}

#[tokio::test]
async fn records_are_tables() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("{{name = 'Io', km = 3643}, {name = '<Europa>\\n', km = 3122.5, ice = true}}").await;
    assert_eq!(ran.result(), "ice       km  name\n────  ──────  ─────────\n        3643  Io\ntrue  3122.5  <Europa>↵");
    let table = html(&ran);
    assert!(table.contains("&lt;Europa&gt;") && !table.contains("<Europa>"), "{table}");
    assert!(table.contains("<td style=\"text-align: right\">3643</td>"), "{table}");

    notebook.run("{{1, 'a'}, {20, 'b'}}").await.expect_result(" 1  2\n──  ─\n 1  a\n20  b");
    notebook.run("t = {} for i = 1, 130 do t[i] = {i = i} end").await.expect_nothing();
    let long = notebook.run("t").await;
    assert!(long.result().ends_with("50\n... 80 more rows"), "{}", long.result());
    assert!(html(&long).contains("... 80 more rows"));
    let wide = notebook.run("r = {} for i = 1, 30 do r['c' .. i] = i end return {r}").await;
    assert!(wide.result().ends_with("... 10 more columns"), "{}", wide.result());

    let chosen =
        "display.table({{a = 1, b = 2, c = 3}, {a = 4}}, {columns = {'c', 'a'}, caption = 'Two & more', max_rows = 1})";
    let ran = notebook.run(chosen).await;
    let shown = ran.displays()[0].0;
    assert_eq!(shown.text(), Some("Two & more\nc  a\n─  ─\n3  1\n... 1 more row"));
    assert!(data(shown, "text/html").as_str().is_some_and(|html| html.contains("<caption>Two &amp; more</caption>")));

    // What is no list of records stays as it was.
    for (code, text) in [
        ("{{1}, {a = 1}}", "{{1}, {a = 1}}"),
        ("{{a = 1}, 5}", "{{a = 1}, 5}"),
        ("{{1, 2}, {3}}", "{{1, 2}, {3}}"),
        ("{1, 2}", "{1, 2}"),
    ] {
        notebook.run(code).await.expect_result(text);
    }
}

#[tokio::test]
async fn nested_tables_unfold() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("t = {name = '<x>', list = {1, {2, f = print}}, n = 1}; t.self = t; return t").await;
    let tree = html(&ran);
    assert!(tree.starts_with("<div style=\"text-align: left\"><details open><summary>4 entries</summary>"), "{tree}");
    for part in
        ["&lt;x&gt;", "&lt;cycle&gt;", "&lt;function&gt;", "<summary><code>list</code> = 2 entries</summary><ol"]
    {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    assert!(!tree.contains("<x>"));
    let deep = notebook.run("d = {} local e = d for i = 1, 50 do e.x = {} e = e.x end e.x = 1 return d").await;
    assert!(html(&deep).contains("{...}") && html(&deep).len() < 2000, "{}", html(&deep));
    let wide = notebook.run("w = {{}} for i = 1, 5000 do w['k' .. i] = {i} end return w").await;
    assert!(html(&wide).contains("more)") && html(&wide).len() < 40_000);
    // Bytes that are no text are no error.
    notebook.run("'a\\xff'").await.expect_result("a\u{FFFD}");
    let bytes = notebook.run("{a = {'<\\xff'}}").await;
    assert!(html(&bytes).contains("&lt;\u{FFFD}") && bytes.result().contains("<\u{FFFD}"));
    notebook.run("'\\xff', {'\\xfe'}").await.expect_result("\u{FFFD}\t{\"\u{FFFD}\"}");
    notebook.run("{{a = '\\xff'}}").await.expect_result("a\n─\n\u{FFFD}");
    // Nothing to unfold: text alone.
    let flat = notebook.run("{a = 1, b = {}}").await;
    assert!(!flat.rich().data.contains_key("text/html"));
    let inside = notebook.run("{{id = 1, tags = {'a', 'b'}}}").await;
    inside.expect_result("id  tags\n──  ──────────\n 1  {\"a\", \"b\"}");
    assert!(html(&inside).contains("<td style=\"text-align: left\"><details><summary>2 entries"), "{}", html(&inside));
}

/// In the style of xeus-lua's notebooks and of its test suite.
#[tokio::test]
async fn the_names_of_xeus_lua_work() {
    let mut notebook = Notebook::start();
    for (code, mime, expected) in [
        ("ilua.display.plain_text(\"hello\")", "text/plain", json!("hello")),
        ("ilua.display.html(\"<b>hello</b>\")", "text/html", json!("<b>hello</b>")),
        ("ilua.display.markdown(\"**hello**\")", "text/markdown", json!("**hello**")),
        ("ilua.display.latex(\"\\\\frac{1}{2}\")", "text/latex", json!("\\frac{1}{2}")),
        ("ilua.display.json({key=\"value\"})", "application/json", json!({"key": "value"})),
        ("ilua.display.json(\"text\")", "application/json", json!("text")),
        ("ilua.display.display(ilua.display.html(\"<i>x</i>\"))", "text/html", json!("<i>x</i>")),
        (
            "ilua.display.display({mime_bundle_repr = function(self) return '{\"text/html\": \"<p>1</p>\"}' end})",
            "text/html",
            json!("<p>1</p>"),
        ),
        (
            "Shape = {} Shape.__index = Shape\nfunction Shape:mime_bundle_repr() return {['text/html'] = '<hr>'} end\n\
             ilua.display.display(setmetatable({}, Shape))",
            "text/html",
            json!("<hr>"),
        ),
        (
            "local own = {} function own:display() ilua.display.html('<u>own</u>') end ilua.display.display(own)",
            "text/html",
            json!("<u>own</u>"),
        ),
    ] {
        let ran = notebook.run(code).await;
        let shown = ran.displays();
        assert_eq!(shown.len(), 1, "{code}: {shown:?}");
        assert_eq!(data(shown[0].0, mime), &expected, "{code}");
        assert!(shown[0].0.text().is_some());
    }
    let ran = notebook
        .run("ilua.display.display_data('a', nil, {display_id = 'p'}); ilua.display.update_display_data('b', {}, {display_id = 'p'})")
        .await;
    let shown: Vec<_> = ran.displays().iter().map(|(value, id, update)| (value.text(), *id, *update)).collect();
    assert_eq!(shown, [(Some("a"), "p", false), (Some("b"), "p", true)]);
    let cleared = notebook.run("ilua.display.clear_output(false)").await;
    assert_eq!(cleared.shown, [Output::ClearOutput { wait: false }]);
    // A value of one cell is shown by another.
    notebook.run("page = ilua.display.html('<b>kept</b>')").await.expect_nothing();
    assert_eq!(html(&notebook.run("page").await), "<b>kept</b>");

    let missing = notebook.run("ilua.widgets.hbox()").await;
    assert!(missing.failure().message.starts_with("cell 15:1: `ilua.widgets` is not available in Perilune;"));
    let missing = notebook.run("ilua.display.audio('x')").await;
    assert!(missing.failure().message.contains("`ilua.display.audio` is not available"), "{:?}", missing.failure());
}

/// Finds options with which moonlet goes on for well over the 0.2 s of patience.
const LONG: &str = "display.live(false)
for seed = 1, 1000 do
  long = {temperature = 5, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900, seed = seed}
  if LocalLLM.chat('Tell me a story', long).usage.completion_tokens == 900 then break end
end
display.live(true)";

#[tokio::test]
async fn a_slow_call_shows_one_line_that_ends_as_a_summary() {
    let mut notebook = Notebook::start();
    notebook.run(LONG).await.expect_nothing();
    for call in [
        "print('before') LocalLLM.generate('Tell me a story', long) print('after')",
        "print('before') Agent.create(long):execute('Tell me a story') print('after')",
    ] {
        let ran = notebook.run(call).await;
        let shown = ran.displays();
        assert!(shown.len() >= 2, "{shown:?}");
        assert!(shown.iter().enumerate().all(|(index, (_, id, update))| *id == shown[0].1 && *update == (index > 0)));
        let line = shown[shown.len() - 1].0.text().expect("a text form");
        let parts: Vec<&str> = line.split(" · ").collect();
        assert_eq!(parts.len(), 4, "{line}");
        assert_eq!(parts[0], "moonlet");
        assert!(parts[1].ends_with(" tokens") && parts[2].ends_with(" tokens/s") && parts[3].ends_with(" s"), "{line}");
        let live: Vec<bool> = lives(&ran);
        assert!(live[..live.len() - 1].iter().all(|live| *live) && !live[live.len() - 1], "{live:?}");
    }
}

fn lives(ran: &Ran) -> Vec<bool> {
    let live = |output: &Output| matches!(output, Output::Display { live: true, .. });
    ran.shown.iter().map(live).collect()
}

#[tokio::test]
async fn a_quick_call_and_a_script_show_no_line() {
    let mut notebook = Notebook::start();
    notebook.run("LocalLLM.load()").await;
    notebook.run(LONG).await.expect_nothing();
    let off = notebook.run("display.live(false) LocalLLM.generate('Tell me a story', long) display.live(true)").await;
    assert!(off.shown.is_empty(), "{:?}", off.shown);
    // How long a call takes is the machine's affair: one of these is quick.
    let quick = async {
        loop {
            let ran = notebook.run("LocalLLM.chat('What is 1 + 1?', {max_tokens = 2}).duration_ms < 150").await;
            if ran.result() == "true" {
                return ran.shown;
            }
        }
    };
    assert!(quick.await.is_empty());
    let mut options = options();
    options.script = Some("story.lua".into());
    let long = notebook.run("json.encode(long)").await.result().to_owned();
    let ran =
        Notebook::with(options).run(&format!("LocalLLM.generate('Tell me a story', json.decode('{long}'))")).await;
    assert!(ran.shown.is_empty() && matches!(ran.outcome, Outcome::Ok { .. }), "{:?} {:?}", ran.shown, ran.outcome);
}

#[tokio::test]
async fn the_line_of_a_stream_never_comes_between_its_pieces() {
    let mut notebook = Notebook::start();
    notebook.run(LONG).await.expect_nothing();
    let code = "for piece in LocalLLM.stream(('word '):rep(400), long) do io.write(piece) end";
    for unload in ["LocalLLM.unload()", ""] {
        notebook.run(unload).await;
        notebook.run(code).await;
        let order = notebook.client.order();
        let first_text = order.find('t').expect("the answer");
        let begins = order.match_indices('d').map(|(at, _)| at);
        assert!(begins.into_iter().all(|at| at < first_text), "{order}");
    }
}

#[tokio::test]
async fn an_interrupted_call_ends_its_line() {
    let mut notebook = Notebook::start();
    notebook.run(LONG).await.expect_nothing();
    let code = "for n = 1, 1000 do print('turn ' .. n) LocalLLM.generate('Tell me a story', long) end";
    let (ran, _) = notebook.interrupt_after(code, "turn 3").await;
    ran.expect_interrupted();
    let first = ran.shown.first().expect("the line of the first call");
    assert!(matches!(first, Output::Display { update: false, live: true, .. }), "{first:?}");
    let Some(Output::Display { value, live: false, .. }) = ran.shown.last() else { panic!("{:?}", ran.shown) };
    assert!(value.text().is_some_and(|line| line.starts_with("moonlet · ")), "{value:?}");
}

#[tokio::test]
async fn charts_are_pictures_and_text() {
    let mut notebook = Notebook::start();
    let ran = notebook
        .run("display.chart{kind = 'bar', x = {'Io', '<Europa>'}, y = {4, 2}, title = 'A & B', y_label = 'km'}")
        .await;
    let shown = ran.displays()[0].0;
    assert_eq!(shown.text(), Some(&*format!("A & B\n      Io {} 4\n<Europa> {} 2", "█".repeat(40), "█".repeat(20))));
    let svg = data(shown, "image/svg+xml").as_str().expect("text");
    for part in ["<svg xmlns=", ">A &amp; B<", "&lt;Europa&gt;", ">km<", "<title>4</title>", "</svg>"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert_eq!(svg.matches("<rect").count(), 2);
    notebook.run("data = {{n = 1, a = 2, b = 3}, {n = 2, a = 4}, {n = 3, a = 1, b = 0.5}}").await.expect_nothing();
    for (spec, element, count) in [
        ("kind = 'line', data = data, x = 'n', y = 'a'", "<path", 1),
        ("kind = 'line', data = data, x = 'n', y = {'a', 'b'}", "<path", 2),
        ("kind = 'scatter', data = data, x = 'n', y = {'a', 'b'}", "<circle", 5),
        ("kind = 'bar', data = data, x = 'n', y = {'a', 'b'}", "<title>", 5),
        ("kind = 'line', y = {first = {1, 2}, second = {2, 1}}", "<path", 2),
        ("kind = 'histogram', x = {1, 2, 2, 3}, bins = 3", "<rect", 3),
        ("kind = 'histogram', data = data, x = 'a'", "<rect", 3),
        ("kind = 'bar', y = {-1, 1e300, 0}", "<rect", 3),
    ] {
        let ran = notebook.run(&format!("display.chart{{{spec}}}")).await;
        let shown = ran.displays()[0].0;
        let svg = data(shown, "image/svg+xml").as_str().expect("text");
        assert_eq!(svg.matches(element).count(), count, "{spec}: {svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{spec}: {svg}");
        assert!(shown.text().is_some_and(|text| text.contains('█')), "{spec}");
    }
    for (spec, part) in [
        ("", "display.chart got no `kind`"),
        ("kind = 'pie'", "option `kind` of display.chart is \"pie\""),
        ("kind = 'bar'", "option `y` of display.chart is nil; expected a list of numbers"),
        ("kind = 'bar', y = {'a'}", "got \"a\" among the numbers"),
        ("kind = 'bar', data = data, y = 'c'", "no record of `data` has the field `c`"),
        ("kind = 'bar', y = {1, 2}, x = {1}", "got 2 values for `y` and 1 for `x`"),
        ("kind = 'line', y = {0/0}", "no numbers to draw"),
        ("kind = 'line', y = {1}, width = 1", "option `width` of display.chart is 1"),
        ("kind = 'line', y = {1}, colour = 1", "unknown option `colour` of display.chart"),
    ] {
        let ran = notebook.run(&format!("display.chart{{{spec}}}")).await;
        assert!(ran.failure().message.contains(part), "{spec}: {}", ran.failure().message);
    }
}

#[tokio::test]
async fn progress_is_throttled_and_its_last_state_shown() {
    let mut notebook = Notebook::start();
    let ran =
        notebook.run("local p = display.progress(100000, {label = '<n>'}) for i = 1, 100000 do p:update(i) end").await;
    let shown = ran.displays();
    let first = shown[0].0;
    assert!(first.text().is_some_and(|text| text.starts_with("<n> ░░░░░░░░░░░░░░░░░░░░ 0/100000 · 0 %")), "{first:?}");
    assert!(
        data(first, "text/html").as_str().is_some_and(|html| html.contains("&lt;n&gt;") && html.contains("<progress "))
    );
    let last = shown[shown.len() - 1].0;
    assert!(
        last.text().is_some_and(|text| text.starts_with("<n> ████████████████████ 100000/100000 · 100 %")),
        "{last:?}"
    );
    assert_eq!(lives(&ran).iter().filter(|live| !**live).count(), 1, "only the last one stays");
    assert!(shown.iter().all(|(_, id, _)| *id == shown[0].1));

    // Nothing comes after the third update: it is shown while the cell computes, or waits, or ends.
    for wait in ["while os.clock() < since + 0.3 do end", "os.execute('sleep 0.3')", ""] {
        let code = format!(
            "local since = os.clock() local p = display.progress(9) p:advance() p:advance(2) {wait} print 'end'"
        );
        let ran = notebook.run(&code).await;
        let shown = ran.displays();
        assert!(shown[shown.len() - 1].0.text().is_some_and(|text| text.contains(" 3/9 · 33 %")), "{wait}: {shown:?}");
        let order = notebook.client.order();
        assert_eq!(order.ends_with('t'), !wait.is_empty(), "{wait}: {order}");
    }
    let count = notebook.run("local p = display.progress() p:advance(5) p:finish()").await;
    assert!(count.displays()[1].0.text().is_some_and(|text| text.starts_with("5 · ")));
    for (code, part) in [
        ("display.progress('a')", "display.progress got a string; expected a number from 0 on"),
        ("display.progress(5):update(-1)", "progress:update got -1; expected a number from 0 on"),
        ("display.progress(5, {lable = 'x'})", "unknown option `lable` of display.progress; known: `label`"),
    ] {
        let ran = notebook.run(code).await;
        assert!(ran.failure().message.contains(part), "{code}: {}", ran.failure().message);
    }
}
