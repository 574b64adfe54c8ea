//! Writes the files a fuzzing run begins with: sound models of several shapes, cut short, and one with nothing but a vocabulary.

mod model;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, file] if flag == "--show" => {
            std::io::Write::write_all(&mut std::io::stdout(), &model::file(&std::fs::read(file)?))
        }
        [folder] => seeds(Path::new(folder)),
        _ => Err(std::io::Error::other("usage: seeds FOLDER, or seeds --show FILE")),
    }
}

fn seeds(folder: &Path) -> std::io::Result<()> {
    for architecture in 0..3u8 {
        for (index, choice) in [0u8, 1, 2 + 4 + 8, 16 + 32, 1 + 64].into_iter().enumerate() {
            let recipe = [architecture, choice, 1, index as u8, 10, 3];
            std::fs::write(folder.join(format!("model-{architecture}-{index}")), recipe)?;
        }
    }
    let file = model::file(&[0, 64]);
    std::fs::write(folder.join("file"), &file)?;
    for length in [10, 100, 1000, file.len() / 2, file.len() - 1] {
        std::fs::write(folder.join(format!("cut-{length}")), &file[..length])?;
    }
    // Every tensor goes: operation 9 takes the first one.
    let vocabulary: Vec<u8> = [0, 1, 0, 0, 0, 0].into_iter().chain([9, 0].repeat(20)).collect();
    std::fs::write(folder.join("vocabulary"), vocabulary)?;
    let template = b"\x00\x00\x00\x00\x00\x00\x0c{% set ns = namespace(a='ab') %}{% for i in range(9) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}";
    std::fs::write(folder.join("template"), template)
}
