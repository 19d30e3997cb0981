//! How fast, beside what others need for the same in the same run: machines differ, ratios hardly. Nothing fails for being slow.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on stops")]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod accept;
mod claims;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the words of all tests; a measurement speaks some of them")]
mod client;
mod dispatch;
#[path = "../system/kit.rs"]
#[expect(dead_code, reason = "the system that tests start; a measurement has less to ask of it")]
mod kit;
mod load;
mod pgbench;
mod recurrence;
mod relay;
mod retention;
mod rss;
#[path = "../system/server.rs"]
#[expect(dead_code, reason = "processes that tests do more to")]
mod server;
mod spread;
mod ticks;

use std::time::Duration;

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
    if wanted("accept") {
        let window = Duration::from_secs(number("BENCH_SECONDS").unwrap_or(10).into());
        runtime.block_on(accept::measure(window));
    }
    if wanted("dispatch") {
        runtime.block_on(dispatch::measure());
    }
    if wanted("relay") {
        runtime.block_on(relay::measure(number("BENCH_EVENTS").unwrap_or(30_000)));
    }
    if wanted("rss") {
        runtime.block_on(rss::measure());
    }
}
