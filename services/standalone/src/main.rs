#![expect(clippy::print_stdout)]
fn main() { println!("x"); }
