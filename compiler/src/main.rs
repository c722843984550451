//! `waybill`, the compiler.

fn main() {}
