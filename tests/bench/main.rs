//! How fast, beside what others need for the same in the same run: machines differ, ratios hardly. Nothing fails for being slow.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod claims;
mod recurrence;
mod retention;
mod ticks;

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let only = std::env::var("BENCH_ONLY").ok();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let large = std::env::var_os("BENCH_LARGE").is_some();
    let count = number("BENCH_SCHEDULES").unwrap_or(10_000);
    let counts: &[u32] = if large { &[count, 100_000] } else { &[count] };
    let excess = number("BENCH_EXCESS").unwrap_or(if large { 1_000_000 } else { 100_000 });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if wanted("recurrence") {
        recurrence::measure();
    }
    if wanted("ticks") {
        runtime.block_on(ticks::measure(counts));
    }
    if wanted("claims") {
        runtime.block_on(claims::measure());
    }
    if wanted("retention") {
        runtime.block_on(retention::measure(excess));
    }
}
