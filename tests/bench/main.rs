//! How fast, beside what others need for the same in the same run: machines differ, ratios hardly. Nothing fails for being slow.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod claims;
mod recurrence;
mod retention;
mod ticks;

fn main() {
    recurrence::measure();
    let large = std::env::var_os("BENCH_LARGE").is_some();
    let count = std::env::var("BENCH_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let counts: &[u32] = if large { &[count, 100_000] } else { &[count] };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(ticks::measure(counts));
    runtime.block_on(claims::measure());
    runtime.block_on(retention::measure(if large { 1_000_000 } else { 100_000 }));
}
