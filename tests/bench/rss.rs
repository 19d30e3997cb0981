//! What each service keeps in memory when it has nothing to do.

use std::time::Duration;

use taskplane_testkit::nats::Nats;

use crate::kit::System;
use crate::server::{Process, until};

/// After it is ready: what a start needed is given back, or it is not.
const QUIET: Duration = Duration::from_secs(10);

pub async fn measure() {
    println!("\nresident memory of each service, {} s after all were ready, with nothing to do\n", QUIET.as_secs());
    let nats = tokio::task::spawn_blocking(|| Nats::start().unwrap()).await.unwrap();
    let mut system = System::prepare().await;
    system.extra.control = vec!["--nats-url".into(), nats.url()];
    system.launch(&["api-1", "scheduler-1", "reaper-1", "executor-1"]).await;
    let standalone = standalone(&system).await;
    tokio::time::sleep(QUIET).await;
    println!("{:<12} {:>10} {:>10} {:>10}", "service", "resident", "of its own", "at most");
    for process in system.processes.iter_mut().chain([&mut { standalone }]) {
        assert!(process.runs(), "{} ended: {}", process.name, process.log());
        let [resident, own, most] = ["VmRSS:", "RssAnon:", "VmHWM:"].map(|what| mebibytes(process.pid(), what));
        let service = process.name.split('-').next().unwrap();
        println!("{service:<12} {resident:>6.1} MiB {own:>6.1} MiB {most:>6.1} MiB");
    }
}

/// On a SQLite file.
async fn standalone(system: &System) -> Process {
    let (data, address) = (system.path("data"), system.path("address"));
    let (data, address_file) = (data.display().to_string(), address.display().to_string());
    let args = ["--data-dir", &data, "--listen", "127.0.0.1:0", "--address-file", &address_file];
    let args = args.map(str::to_owned).into();
    let process = Process::start(system.dir.path(), "standalone-1", args);
    until(|| address.exists().then_some(())).await;
    process
}

fn mebibytes(pid: u32, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}
