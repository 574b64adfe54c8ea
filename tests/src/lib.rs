//! Checks that span the crates: the manifests in `tests/`, real Jupyter clients in `python/`, figures in `bench/`.
//!
//! Nothing is exported; `run` beside this crate is the gate that calls all of it.
