//! `model list`, `info`, `status`, `load`, `unload` and `ps`; `bench`.

use serde_json::json;

use crate::perilune::Home;

#[test]
fn asking_works_here_and_elsewhere() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    for arguments in
        [&["model", "list"][..], &["model", "info", "local/moonlet@candle"], &["model", "list", "--backend", "candle"]]
    {
        let here = home.perilune(arguments);
        here.expect_ok();
        assert!(here.stdout.contains("moonlet"), "{here:?}");
        home.perilune(&kernel.arguments(arguments)).expect_ok();
    }
    let status = home.perilune(&["model", "status"]);
    assert!(status.expect_ok().stdout.contains("ready"), "{status:?}");
    let list = home.perilune(&["model", "list", "--output", "json"]).expect_ok().json();
    assert_eq!(list["models"][0]["backend"], "candle");
    let info = home.perilune(&kernel.arguments(&["--output", "json", "model", "info", "moonlet"])).expect_ok().json();
    assert_eq!((&info["specifier"], &info["architecture"]), (&json!("local/moonlet@candle"), &json!("llama")));
}

#[test]
fn what_is_unknown_is_named() {
    let home = Home::new();
    home.perilune(&["model", "info", "local/moonlt@candle"]).expect_error(1, &["`moonlt`", "`moonlet`"]);
    home.perilune(&["model", "info", "moonlet@olama"]).expect_error(1, &["`olama`", "`candle`"]);
    home.perilune(&["model", "info", "m@"]).expect_error(1, &["`m@`"]);
    home.perilune(&["model", "list", "--backend", "olama"]).expect_error(1, &["`olama`", "`candle`"]);
}

#[test]
fn loading_needs_a_kernel_that_stays() {
    let home = Home::new();
    for arguments in [&["model", "load", "moonlet"][..], &["model", "unload", "moonlet"], &["model", "ps"]] {
        home.perilune(arguments).expect_error(3, &["perilune kernel start --detach"]);
    }
}

#[test]
fn a_loaded_model_stays_until_it_is_unloaded() {
    let home = Home::new();
    home.perilune(&["kernel", "start", "--detach"]).expect_ok();
    home.perilune(&["model", "ps"]).expect_ok().expect_stdout("no models in memory\n");
    home.perilune(&["model", "load", "moonlet"]).expect_ok();
    let loaded = home.perilune(&["model", "ps", "--output", "json"]).expect_ok().json();
    assert_eq!((&loaded[0]["name"], &loaded[0]["backend"]), (&json!("moonlet"), &json!("candle")));
    let status = home.perilune(&["kernel", "status"]);
    assert!(status.expect_ok().stdout.contains("moonlet"), "{status:?}");
    home.perilune(&["model", "unload", "moonlet"]).expect_ok();
    home.perilune(&["model", "ps"]).expect_ok().expect_stdout("no models in memory\n");
    home.perilune(&["kernel", "stop"]).expect_ok();
}

#[test]
fn a_bench_says_how_fast_and_on_what() {
    let home = Home::new();
    let bench = home.perilune(&["bench", "moonlet", "--rounds", "1", "--output", "json"]).expect_ok().json();
    for path in [
        "/prefill/128",
        "/prefill/512",
        "/decode",
        "/streams/1",
        "/streams/16",
        "/decode_limit",
        "/first_token_seconds/128",
    ] {
        assert!(
            bench.pointer(path).is_some_and(|rate| rate.as_f64().is_some_and(|rate| rate > 0.0)),
            "{path} of {bench}"
        );
    }
    assert_eq!((&bench["model"], &bench["quantization"]), (&json!("moonlet"), &json!("Q8_0")));
    let least = |tokens| bench["prefill"][tokens].as_f64().unwrap() / bench["decode"].as_f64().unwrap();
    assert!(least("512") > 1.0, "a prompt's tokens are computed together: {bench}");
}

#[test]
fn a_bench_of_what_is_not_there_is_named() {
    let home = Home::new();
    home.perilune(&["bench", "no/such.gguf"]).expect_error(1, &["no/such.gguf"]);
    home.perilune(&["bench", "moonlt"]).expect_error(1, &["`moonlt`", "`moonlet`"]);
    home.perilune(&["bench", "--synthetic", "gpt-17"]).expect_code(2);
    home.perilune(&["bench"]).expect_code(2);
}
