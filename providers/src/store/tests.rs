use std::os::unix::fs::symlink;

use super::*;
use crate::error::ErrorKind;

fn model(name: &str) -> NewModel {
    NewModel {
        name: name.to_owned(),
        source: format!("hf:lab/{name}"),
        revision: Some("abc".to_owned()),
        quantization: Some("Q8_0".to_owned()),
        license: None,
    }
}

fn digest(digit: char) -> Sha256Digest {
    digit.to_string().repeat(64).parse().unwrap()
}

fn part(store: &ModelStore, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(store.parts()).unwrap();
    let path = store.parts().join("part");
    fs::write(&path, bytes).unwrap();
    path
}

fn store() -> (tempfile::TempDir, ModelStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path().join("store"));
    (folder, store)
}

#[test]
fn a_model_comes_goes_by_two_names_and_leaves_with_the_last() {
    let (_folder, store) = store();
    assert_eq!(store.list().unwrap(), []);
    let added = store.add(&part(&store, b"GGUF and more"), &digest('a'), model("tiny:Q8_0"), false).unwrap();
    assert_eq!((added.size_bytes, added.problem.clone()), (13, None));
    assert_eq!(fs::read(&added.path).unwrap(), b"GGUF and more");
    assert_eq!(store.get("tiny:Q8_0").unwrap().as_ref(), Some(&added));
    assert!(!store.parts().join("part").exists());

    let copied = store.copy("tiny:Q8_0", "mine").unwrap();
    assert_eq!((copied.path.clone(), copied.source.clone()), (added.path.clone(), added.source.clone()));
    let names = || store.list().unwrap().into_iter().map(|model| model.name).collect::<Vec<_>>();
    assert_eq!(names(), ["mine", "tiny:Q8_0"]);
    assert_eq!(store.usage().unwrap(), StoreUsage { models: 13, parts: 0 });

    let removed = store.remove("tiny:Q8_0").unwrap();
    assert_eq!((removed.freed_bytes, removed.kept_as), (0, vec!["mine".to_owned()]));
    assert!(added.path.exists());
    assert_eq!(store.remove("mine").unwrap().freed_bytes, 13);
    assert!(!added.path.exists());
    let error = store.remove("mine").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelNotFound);
}

#[test]
fn a_name_keeps_its_content_until_it_is_replaced() {
    let (_folder, store) = store();
    store.add(&part(&store, b"GGUF one"), &digest('a'), model("m"), false).unwrap();
    let error = store.add(&part(&store, b"GGUF two!"), &digest('b'), model("m"), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the store has another model `m`, from `hf:lab/m`; replace it with `--force`, or remove it first"
    );
    assert_eq!(store.name(&digest('b'), model("other"), false).unwrap(), None);
    store.add(&part(&store, b"GGUF two!"), &digest('b'), model("m"), true).unwrap();
    assert_eq!(store.get("m").unwrap().unwrap().size_bytes, 9);
    assert_eq!(store.blob(&digest('a')), None);
    assert_eq!(store.usage().unwrap(), StoreUsage { models: 9, parts: 0 });
    // A file that is there already needs only the name.
    assert_eq!(store.name(&digest('b'), model("again"), false).unwrap().unwrap().size_bytes, 9);
}

#[test]
fn nothing_but_gguf_comes_in() {
    let (_folder, store) = store();
    for bytes in [&b""[..], b"GGU", b"PK\x03\x04pickle", b"<!doctype html>"] {
        let error = store.add(&part(&store, bytes), &digest('a'), model("m"), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidModelFile, "{error}");
    }
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn what_is_not_a_regular_file_of_the_store_is_left_alone() {
    let (folder, store) = store();
    let added = store.add(&part(&store, b"GGUF"), &digest('a'), model("m"), false).unwrap();
    let precious = folder.path().join("precious");
    fs::write(&precious, b"GGUF").unwrap();
    fs::remove_file(&added.path).unwrap();
    symlink(&precious, &added.path).unwrap();
    let listed = store.list().unwrap();
    assert!(listed[0].problem.is_some(), "{listed:?}");
    let error = store.remove("m").unwrap_err();
    assert!(error.to_string().contains("it is a link"), "{error}");

    // Nor is a folder of files taken for the store's own.
    let blobs = added.path.parent().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join(added.path.file_name().unwrap()), b"GGUF").unwrap();
    fs::remove_dir_all(blobs).unwrap();
    symlink(&elsewhere, blobs).unwrap();
    let error = store.remove("m").unwrap_err();
    assert!(error.to_string().contains("by way of a link"), "{error}");
    assert!(precious.exists() && elsewhere.join(added.path.file_name().unwrap()).exists());
}

#[test]
fn a_model_whose_file_is_not_what_came_says_so() {
    let (_folder, store) = store();
    let added = store.add(&part(&store, b"GGUF and more"), &digest('a'), model("m"), false).unwrap();
    fs::write(&added.path, b"GGUF").unwrap();
    assert!(store.get("m").unwrap().unwrap().problem.unwrap().contains("has 4 bytes and came with 13"));
    fs::remove_file(&added.path).unwrap();
    assert!(store.list().unwrap()[0].problem.as_ref().unwrap().contains("missing"));
    assert_eq!(store.remove("m").unwrap().kept_as, Vec::<String>::new());
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn many_at_once_leave_whole_records() {
    let (_folder, store) = store();
    store.add(&part(&store, b"GGUF"), &digest('a'), model("m"), false).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    let name = format!("m{thread}-{round}");
                    store.copy("m", &name).unwrap();
                    assert!(store.list().unwrap().iter().all(|model| model.problem.is_none()));
                    store.remove(&name).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 1);
}
