use super::{Documentation, EntryKind, documentation, parse};

#[test]
fn every_file_is_read() {
    let all = Documentation::read().expect("the documentation");
    for area in all.areas() {
        assert!(!area.title.is_empty() && !all.entries_of(area).is_empty(), "{}", area.file);
    }
}

#[test]
fn every_entry_says_enough() {
    for entry in documentation().entries() {
        let sentence = entry.summary.ends_with('.') && !entry.summary.ends_with("..");
        assert!(sentence, "the summary of {} is no sentence: {}", entry.name, entry.summary);
        let derived = entry.name.starts_with("builder:") && entry.last_name() != "build";
        let shown = !entry.is_function() || derived || !entry.example.is_empty();
        assert!(shown, "{} has no example", entry.name);
        let same: Vec<_> = documentation().entries().iter().filter(|other| other.name == entry.name).collect();
        assert_eq!(same.len(), 1, "{} is documented twice", entry.name);
    }
}

#[test]
fn every_class_that_is_named_exists() {
    let all = documentation();
    let parents = all.entries().iter().filter_map(|entry| entry.parent.as_deref());
    let forms = all.entries().iter().flat_map(|entry| {
        let parts = entry.parameters.iter().chain(&entry.returns).chain(&entry.fields);
        parts.flat_map(|part| part.types())
    });
    let names = forms.map(|form| form.trim_end_matches("[]").trim_end_matches('?'));
    for name in names.chain(parents).filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase())) {
        assert!(all.class(name).is_some(), "there is no class `{name}`");
    }
}

#[test]
fn a_name_is_found_as_a_reader_would_write_it() {
    let found = |name: &str| documentation().find(name).map(|entry| entry.name.as_str());
    assert_eq!(found("LocalLLM.generate"), Some("LocalLLM.generate"));
    assert_eq!(found("LocalLLM:generate"), Some("LocalLLM.generate"));
    assert_eq!(found("agent:execute"), Some("agent:execute"));
    assert_eq!(found("agent.execute"), Some("agent:execute"));
    assert_eq!(found("Agent:execute"), Some("agent:execute"));
    assert_eq!(found("Agent.Builder.temperature"), Some("builder:temperature"));
    assert_eq!(found("LocalLLM.Answer"), Some("LocalLLM.Answer"));
    assert_eq!(found("LocalLLM"), Some("LocalLLM"));
    assert_eq!(found("Agent"), Some("Agent"));
    assert_eq!(found("nothing"), None);
    assert_eq!(documentation().near("LocalLM.generate")[0], "LocalLLM.generate");
    assert_eq!(documentation().near("execute")[0], "agent:execute");
    assert!(documentation().near("xyzzy").is_empty());
}

#[test]
fn options_include_those_that_every_call_takes() {
    let names = |function| documentation().options(function).iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
    assert!(names("LocalLLM.generate").contains(&"temperature") && names("LocalLLM.generate").contains(&"raw"));
    assert!(names("agent:execute").contains(&"prompt") && !names("agent:execute").contains(&"raw"));
    assert!(names("print").is_empty() && names("nothing").is_empty());
}

#[test]
fn a_setter_is_a_method_of_the_builder() {
    let setter = documentation().find("builder:temperature").expect("a setter");
    assert_eq!(setter.kind, EntryKind::Method);
    assert_eq!(setter.signature(), "builder:temperature(value: number): Agent.Builder");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    for (source, problem) in [
        ("--- T\n\n--- S.\n---@param a string x\nfunction f(b) end", "5: `f` takes [\"b\"], and [\"a\"] is documented"),
        ("--- T\n\n--- S.\n---@wrong x\nf = {}", "4: unknown tag `@wrong`"),
        ("--- T\n\n--- S.\n\nf = {}", "4: these lines document nothing: a declaration must follow at once"),
        ("--- T\n\n---@type x\nf = nil", "4: `f` has no summary"),
        ("--- T\n\n--- S.\n---@param a string\nfunction f(a) end", "4: `a` has no text"),
        ("--- T\n\n--- S.\nf = nil", "4: `f` has no type"),
        ("--- T\n\n--- S.\nreturn 1", "4: `return 1` declares nothing that can be documented"),
    ] {
        let found = parse::parse("x.lua", source).err().expect(source).to_string();
        assert_eq!(found, format!("x.lua:{problem}"), "{source}");
    }
}

#[test]
fn stubs_and_manual_hold_every_entry() {
    let stubs: String = documentation().stubs().into_iter().map(|(_, text)| text).collect();
    let manual = documentation().manual();
    for area in documentation().areas() {
        for entry in documentation().entries_of(area) {
            assert!(manual.contains(&format!("### `{}`", entry.name)), "{}", entry.name);
            if entry.is_function() && !area.standard {
                assert!(stubs.contains(&format!("function {}(", entry.name)), "{}", entry.name);
            }
        }
    }
}
