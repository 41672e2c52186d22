//! Stage 1.

fn main() {}
