//! Reads every manifest of the workspace and checks who may know whom, as `ARCHITECTURE.md` draws it.
//!
//! The first half is the rule, applied to the real tree; the second half breaks the rule on purpose, so that it is known to bite.

#![expect(clippy::unwrap_used, reason = "helpers of a test, where a panic is the message")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The crates of ours that each crate may name, in any kind of dependency.
const EDGES: &[(&str, &[&str])] = &[
    ("perilune-protocol", &[]),
    ("perilune-engine", &[]),
    ("perilune-providers", &["perilune-engine"]),
    ("perilune-bridge", &["perilune-providers"]),
    ("perilune-kernel", &["perilune-protocol", "perilune-providers", "perilune-bridge"]),
    ("perilune", &["perilune-protocol", "perilune-kernel"]),
    ("perilune-tests", &["perilune-protocol", "perilune-kernel"]),
];

/// Packages that one crate of ours keeps to itself.
const KEPT: &[(&str, &str)] = &[
    ("candle-core", "perilune-engine"),
    ("mlua", "perilune-bridge"),
    ("omq-tokio", "perilune-protocol"),
    ("tokenizers", "perilune-engine"),
];

/// Packages that were measured and ruled out; they serve as rivals in tests.
const RIVALS: &[&str] = &["jupyter-protocol", "zeromq"];

#[test]
fn every_edge_between_our_crates_is_allowed() {
    assert_eq!(broken_rules(&workspace()), Vec::<String>::new());
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    let mut strays = Vec::new();
    for member in workspace().members {
        for (dependency, value) in dependencies(&member.manifest) {
            let inherited = value.get("workspace").and_then(Value::as_bool) == Some(true);
            let ours = value.get("path").is_some();
            if !inherited && !ours {
                strays.push(format!("`{}` gives `{dependency}` a version of its own", member.name));
            }
        }
    }
    assert_eq!(strays, Vec::<String>::new());
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let without: Vec<String> = workspace()
        .members
        .into_iter()
        .filter(|member| {
            member.manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true))
        })
        .map(|member| member.name)
        .collect();
    assert_eq!(without, Vec::<String>::new());
}

#[test]
fn one_module_of_protocol_touches_omq_tokio() {
    let mut modules = BTreeSet::new();
    let workspace = workspace();
    for member in &workspace.members {
        for file in rust_files(&member.folder, &workspace.folders()) {
            if mentions(&fs::read_to_string(&file).unwrap(), "omq_tokio") {
                let inside = file.strip_prefix(&member.folder).unwrap();
                modules.insert(format!("{}: {}", member.name, module(inside)));
            }
        }
    }
    assert_eq!(modules.len(), 1, "omq-tokio belongs to one module, found it in {modules:?}");
    assert!(modules.iter().all(|module| module.starts_with("perilune-protocol: src/")), "found it in {modules:?}");
}

#[test]
fn a_forbidden_edge_is_found() {
    let mut broken = workspace();
    broken.member("perilune-bridge").add("dependencies", "perilune-protocol", "path = \"../protocol\"");
    assert_eq!(broken_rules(&broken), ["`perilune-bridge` may not know `perilune-protocol`"]);
}

#[test]
fn a_forbidden_edge_is_found_behind_a_new_name_and_a_target() {
    let mut broken = workspace();
    let engine = broken.member("perilune-engine");
    engine.add(
        "target.'cfg(unix)'.build-dependencies",
        "wire",
        "path = \"../../protocol\"\npackage = \"perilune-protocol\"",
    );
    assert_eq!(broken_rules(&broken), ["`perilune-engine` may not know `perilune-protocol`"]);
}

#[test]
fn a_kept_package_in_another_crate_is_found() {
    let mut broken = workspace();
    broken.member("perilune-kernel").add("dev-dependencies", "omq-tokio", "workspace = true");
    assert_eq!(broken_rules(&broken), ["`perilune-kernel` names `omq-tokio`, which only `perilune-protocol` may"]);
}

#[test]
fn a_rival_outside_tests_is_found() {
    let mut broken = workspace();
    broken.member("perilune-protocol").add("dependencies", "zeromq", "workspace = true");
    assert_eq!(broken_rules(&broken), ["`perilune-protocol` names `zeromq` outside its tests"]);
}

#[test]
fn a_crate_without_a_rule_is_found() {
    let mut broken = workspace();
    broken.member("perilune-tests").name = "perilune-stray".to_owned();
    assert_eq!(broken_rules(&broken), ["`perilune-stray` has no rule in this test"]);
}

/// Every rule of this file that `workspace` breaks, in words.
fn broken_rules(workspace: &Workspace) -> Vec<String> {
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut broken = Vec::new();
    for member in &workspace.members {
        let Some(allowed) = edges.get(member.name.as_str()) else {
            broken.push(format!("`{}` has no rule in this test", member.name));
            continue;
        };
        for (name, value) in dependencies(&member.manifest) {
            let package = workspace.package(&name, &value, &member.folder);
            if edges.contains_key(package.as_str()) && !allowed.contains(&package.as_str()) {
                broken.push(format!("`{}` may not know `{package}`", member.name));
            }
            if let Some((_, keeper)) = KEPT.iter().find(|(kept, keeper)| *kept == package && *keeper != member.name) {
                broken.push(format!("`{}` names `{package}`, which only `{keeper}` may", member.name));
            }
        }
        for (name, value) in dependencies_in(&member.manifest, &["dependencies", "build-dependencies"]) {
            let package = workspace.package(&name, &value, &member.folder);
            if RIVALS.contains(&package.as_str()) {
                broken.push(format!("`{}` names `{package}` outside its tests", member.name));
            }
        }
    }
    broken
}

struct Workspace {
    root: PathBuf,
    shared: Table,
    members: Vec<Member>,
}

struct Member {
    name: String,
    folder: PathBuf,
    manifest: Table,
}

impl Workspace {
    fn folders(&self) -> BTreeSet<PathBuf> {
        self.members.iter().map(|member| member.folder.clone()).collect()
    }

    fn member(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.name == name).unwrap()
    }

    /// The package that a dependency `name = value` of the crate in `folder` stands for.
    fn package(&self, name: &str, value: &Value, folder: &Path) -> String {
        if value.get("workspace").is_some()
            && let Some(inherited) = self.shared.get(name)
        {
            return self.package(name, inherited, &self.root);
        }
        if let Some(path) = value.get("path").and_then(Value::as_str) {
            let target = folder.join(path).canonicalize().unwrap();
            let member = self.members.iter().find(|member| member.folder == target);
            return member.map_or_else(|| name.to_owned(), |member| member.name.clone());
        }
        value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
    }
}

impl Member {
    fn add(&mut self, section: &str, dependency: &str, specification: &str) {
        let addition: Table = format!("[{section}.{dependency}]\n{specification}").parse().unwrap();
        merge(&mut self.manifest, addition);
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
    let manifest = read_manifest(&root);
    let workspace = manifest["workspace"].as_table().unwrap();
    let members = workspace["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            let folder = root.join(member.as_str().unwrap()).canonicalize().unwrap();
            let manifest = read_manifest(&folder);
            Member { name: manifest["package"]["name"].as_str().unwrap().to_owned(), folder, manifest }
        })
        .collect();
    Workspace { shared: workspace["dependencies"].as_table().unwrap().clone(), root, members }
}

fn read_manifest(folder: &Path) -> Table {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    dependencies_in(manifest, &["dependencies", "dev-dependencies", "build-dependencies"])
}

fn dependencies_in(manifest: &Table, sections: &[&str]) -> Vec<(String, Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    std::iter::once(manifest)
        .chain(targets.filter_map(Value::as_table))
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The Rust files below `folder`, without those of members that lie inside it.
fn rust_files(folder: &Path, members: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !members.contains(&path) {
            files.extend(rust_files(&path, members));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Whether the code of `source`, comments and quoted names aside, names `identifier`.
fn mentions(source: &str, identifier: &str) -> bool {
    source.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.replace(&format!("\"{identifier}\""), "")
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .any(|word| word == identifier)
    })
}

/// The top-level module of a file inside its crate: `src/zmq` for `src/zmq.rs` and for `src/zmq/socket.rs`.
fn module(inside: &Path) -> String {
    let mut parts = inside.iter().map(|part| part.to_string_lossy());
    let area = parts.next().unwrap();
    let file = parts.next().unwrap_or_default();
    format!("{area}/{}", file.trim_end_matches(".rs"))
}
