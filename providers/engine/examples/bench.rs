use perilune_engine::{Bench, BenchOptions, Engine, EngineOptions, Source, Synthetic};
use std::path::PathBuf;
fn main() {
    let name = std::env::args().nth(1).expect("a name");
    let path = PathBuf::from(format!("/tmp/models/{name}.gguf"));
    std::fs::create_dir_all("/tmp/models").unwrap();
    if !path.exists() {
        Synthetic::ALL.into_iter().find(|s| s.name == name).expect("known").write(&path).unwrap();
    }
    let rounds = std::env::args().nth(2).map_or(3, |r| r.parse().unwrap());
    let began = std::time::Instant::now();
    let engine =
        Engine::load(&Source::File(path), &EngineOptions { max_concurrent: 16, ..EngineOptions::default() }).unwrap();
    println!("load {:?} {:?}", began.elapsed(), engine.info().executor);
    let options = BenchOptions { prefill: vec![128, 512], decode: 64, streams: vec![1, 4, 8, 16], rounds };
    let b = Bench::run(&engine, &options).unwrap();
    println!("{}", serde_json::to_string_pretty(&b).unwrap());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for l in status.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS")) {
        println!("{l}");
    }
}
