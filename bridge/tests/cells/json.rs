//! Between Lua and JSON nothing is lost without a word.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::notebook::Notebook;

#[tokio::test]
async fn lists_objects_and_numbers_stay_what_they_are() {
    let mut notebook = Notebook::start();
    for (code, result) in [
        ("json.encode({})", "{}"),
        ("json.encode(json.list())", "[]"),
        ("json.encode(json.list{})", "[]"),
        ("json.encode(json.decode('[]')), json.encode(json.decode('{}'))", "[]\t{}"),
        ("json.encode(json.decode('{\"a\":[],\"b\":[[]],\"c\":{}}'))", "{\"a\":[],\"b\":[[]],\"c\":{}}"),
        ("json.encode({1, 2.0, 3.5, -0.0})", "[1,2.0,3.5,-0.0]"),
        ("json.encode(math.maxinteger), json.encode(math.mininteger)", "9223372036854775807\t-9223372036854775808"),
        (
            "math.type(json.decode('1')), math.type(json.decode('1.0')), math.type(json.decode('1e2'))",
            "integer\tfloat\tfloat",
        ),
        ("json.encode({b = 1, a = {true, false, 'x'}})", "{\"a\":[true,false,\"x\"],\"b\":1}"),
        (
            "json.encode({a = json.null}), json.decode('null') == json.null, json.decode('[null]')[1] == json.null",
            "{\"a\":null}\ttrue\ttrue",
        ),
        ("json.encode('é\\n\"\\0')", "\"é\\n\\\"\\u0000\""),
        ("json.encode({1}, {indent = true})", "[\n  1\n]"),
        ("json.decode('[1, {\"a\": null}]')", "{1, {a = json.null}}"),
        ("json.encode(nil)", "null"),
    ] {
        notebook.run(code).await.expect_result(result);
    }
}

#[tokio::test]
async fn what_json_cannot_hold_is_named_with_its_place() {
    let mut notebook = Notebook::start();
    for (code, words) in [
        ("json.encode({a = {1, 0/0}})", "`value.a[2]` is NaN"),
        ("json.encode({['a b'] = math.huge})", "`value[\"a b\"]` is inf"),
        ("json.encode(print)", "`value` is a function"),
        ("local t = {} t.x = {t} return json.encode(t)", "`value.x[1]` contains itself"),
        ("local t = {} for i = 1, 200 do t = {t} end return json.encode(t)", "is nested deeper than 127 tables"),
        ("json.encode({1, nil, 3})", "is a list with a hole: [2] is nil"),
        ("json.encode({[5] = 1})", "has the key 5 without those from 1 on"),
        ("json.encode({1, 2, x = 3})", "also has the key \"x\""),
        ("json.encode({[true] = 1})", "has the key true; use string keys"),
        ("json.encode({a = '\\xff'})", "`value.a` is a string that is no UTF-8 text: byte 1 is 0xff"),
        ("json.decode('{\"a\":')", "not JSON: EOF while parsing"),
        ("json.decode(5)", "json.decode got 5; expected a string"),
        ("json.decode(('['):rep(1e5))", "recursion limit exceeded"),
    ] {
        let ran = notebook.run(code).await;
        assert!(ran.failure().message.contains(words), "{code}: {:?}", ran.failure());
        assert_eq!(ran.failure().kind.as_deref(), Some("invalid_request"));
    }
    // A table may appear twice side by side.
    notebook.run("local t = {1} return json.encode({t, t})").await.expect_result("[[1],[1]]");
}

#[test]
fn json_survives_the_way_through_lua() {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(serde_json::Value::from),
        ".{0,8}".prop_map(serde_json::Value::from),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let notebook = std::cell::RefCell::new(Notebook::start());
    TestRunner::deterministic()
        .run(&value, |value| {
            let text = value.to_string();
            let quoted = format!("json.encode(json.decode([==========[\n{text}]==========]))");
            let ran = runtime.block_on(notebook.borrow_mut().run(&quoted));
            match ran.outcome {
                perilune_bridge::Outcome::Ok { result: Some(back), .. } => {
                    let back: serde_json::Value = serde_json::from_str(back.text().expect("text")).expect("JSON");
                    prop_assert_eq!(back, value);
                    Ok(())
                }
                other => Err(TestCaseError::fail(format!("{text}: {other:?}"))),
            }
        })
        .expect("no counterexample");
}
