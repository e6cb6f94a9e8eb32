//! Benchmarks: each prints a table and writes `target/bench/NAME.json`.

fn main() {}
