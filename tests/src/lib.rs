//! End-to-end tests live in `tests/`; this crate exists to hold them.
