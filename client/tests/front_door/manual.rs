//! The manual and the stubs, as a user gets them.

use std::fs;
use std::path::Path;

use crate::perilune::Home;

#[test]
fn the_manual_in_the_repository_is_current() {
    let written = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manual.md")).unwrap();
    let home = Home::new();
    let told = home.perilune(&["manual"]);
    told.expect_ok();
    assert!(told.stdout == written, "docs/manual.md is not current: perilune manual > docs/manual.md");
}

#[test]
fn one_entry_is_told_by_its_name() {
    let home = Home::new();
    for (name, expected) in [
        ("LocalLLM.generate", "LocalLLM.generate(prompt: string"),
        ("Agent:execute", "agent:execute("),
        ("string.rep", "string.rep(text: string, count: integer"),
    ] {
        let told = home.perilune(&["manual", name]);
        told.expect_ok();
        assert!(told.stdout.starts_with(expected) && told.stdout.contains("Example:"), "{}", told.stdout);
    }
    home.perilune(&["manual", "LocalLM.generate"]).expect_error(1, &["`LocalLM.generate`", "`LocalLLM.generate`"]);
}

#[test]
fn stubs_are_lua_that_compiles() {
    let home = Home::new();
    home.perilune(&["stubs", "made/stubs"]).expect_ok();
    let folder = home.path().join("made/stubs");
    let mut stubs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        assert!(fs::read_to_string(&file).unwrap().starts_with("---@meta\n"), "{}", file.display());
        let code = format!("return loadfile({:?}) ~= nil", file.display().to_string());
        home.perilune(&["exec", &code]).expect_ok().expect_stdout("true\n");
        stubs += 1;
    }
    assert!(stubs >= 4, "{stubs} stubs");
    home.file("taken", "a file");
    home.perilune(&["stubs", "taken"]).expect_error(2, &["`taken`"]);
}
