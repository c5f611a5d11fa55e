//! The `onggi` program.

fn main() {}
