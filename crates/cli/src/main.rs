//! bantam
fn main() {}
