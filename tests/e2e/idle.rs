//! A server that has nothing to do does next to nothing, also while somebody watches.

use std::time::Duration;

use taskplane_proto::v1 as pb;

use crate::server::Server;

/// How long is looked at once.
const WINDOW: Duration = Duration::from_secs(3);
/// A machine with other things to do may spoil a window; a busy loop spoils every one.
const WINDOWS: u32 = 5;
/// Hundredths of a second in a window: under 1 %.
const TICKS: u64 = 2;
/// Times per second that its threads may wake up, all together.
const WAKES_PER_SECOND: u64 = 50;

/// What the kernel has counted for a process so far.
#[derive(Debug, Clone, Copy)]
struct Used {
    ticks: u64,
    wakes: u64,
}

fn used(pid: u32) -> Used {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may hold anything; behind it stand numbers. utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    let wakes = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let wakes = wakes.filter_map(|thread| line(&thread.ok()?.path().join("status"), "voluntary_ctxt_switches:")).sum();
    Used { ticks, wakes }
}

/// The number on a line of a file below /proc.
fn line(path: &std::path::Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn an_idle_server_uses_well_under_a_percent_of_a_core() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    assert_eq!(client.output("echo done").await, "done\n");
    // Who waits for what does not come costs nothing either.
    let watch = pb::WatchTasksRequest { parent: "spaces/s/apps/-".into(), ..Default::default() };
    let _watch = client.tasks.clone().watch_tasks(watch).await.unwrap();
    let logs = pb::StreamLogsRequest { name: "spaces/s/apps/a".into(), follow: true, ..Default::default() };
    let _logs = client.tasks.clone().stream_logs(logs).await.unwrap();

    let mut seen = Vec::new();
    for _ in 0..WINDOWS {
        let before = used(server.pid());
        tokio::time::sleep(WINDOW).await;
        let after = used(server.pid());
        let (ticks, wakes) = (after.ticks - before.ticks, after.wakes - before.wakes);
        seen.push((ticks, wakes));
        if ticks <= TICKS && wakes <= WAKES_PER_SECOND * WINDOW.as_secs() {
            let resident = line(format!("/proc/{}/status", server.pid()).as_ref(), "VmRSS:").unwrap();
            println!("idle: {ticks} ticks and {wakes} wakes in {WINDOW:?}, {} MiB resident", resident / 1024);
            return;
        }
    }
    panic!("not idle in any of {WINDOWS} windows of {WINDOW:?} (ticks, wakes): {seen:?}");
}
