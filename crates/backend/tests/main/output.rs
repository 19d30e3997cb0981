//! What local runs write is kept: all of it, in order, at once.

use futures::StreamExt;
use taskplane_backend::Backend;
use taskplane_domain::log::LogStream;

use crate::conformance::{output, run, start, until_ended, until_written};
use crate::kit::Kit;

#[tokio::test]
async fn the_streams_keep_the_order_in_which_they_were_written() {
    let kit = Kit::new();
    let command = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; echo more $i; i=$((i+1)); done";
    let spec = kit.spec(command);
    run(kit.backend(), &spec).await;
    let seen = output(kit.backend(), &spec.key, 0).await;
    let expected: Vec<_> = (0..500)
        .flat_map(|i| {
            [
                (LogStream::Stdout, format!("out {i}\n").into_bytes()),
                (LogStream::Stderr, format!("err {i}\n").into_bytes()),
                (LogStream::Stdout, format!("more {i}\n").into_bytes()),
            ]
        })
        .collect();
    assert_eq!(seen.len(), expected.len());
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn five_megabytes_come_through_and_can_be_read_from_the_middle() {
    let kit = Kit::new();
    let spec = kit.spec("head -c 5000000 /dev/zero | tr '\\0' x; seq 100000");
    run(kit.backend(), &spec).await;
    let mut expected = vec![b'x'; 5_000_000];
    expected.extend((1..=100_000).flat_map(|i| format!("{i}\n").into_bytes()));
    for offset in [0, 1, 4_096, 2_500_001, 5_000_000, expected.len() - 1, expected.len()] {
        let seen: Vec<u8> =
            output(kit.backend(), &spec.key, offset as u64).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert!(seen == expected[offset..], "from {offset}: {} bytes of {}", seen.len(), expected.len() - offset);
    }
}

#[tokio::test]
async fn a_line_without_its_end_is_seen_at_once() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("printf 'half'; sleep 1000")).await;
    let first = kit.backend().output(&key, 0, true).next().await.unwrap().unwrap();
    assert_eq!((first.offset, &first.content[..]), (0, &b"half"[..]));
    kit.backend().cancel(&key, None).await.unwrap();
    until_ended(kit.backend(), &key).await;
}

#[tokio::test]
async fn streams_can_be_opened_by_name() {
    let kit = Kit::new();
    let spec = kit.spec("echo a > /dev/stderr; echo b > /dev/stdout; echo c >> /proc/self/fd/2; cat data/rows.csv | tee /dev/stderr > /dev/null");
    run(kit.backend(), &spec).await;
    let seen = output(kit.backend(), &spec.key, 0).await;
    let of =
        |stream| seen.iter().filter(|(of, _)| *of == stream).flat_map(|(_, line)| line.clone()).collect::<Vec<u8>>();
    assert_eq!(of(LogStream::Stderr), b"a\nc\na,1\nb,2\n");
    assert_eq!(of(LogStream::Stdout), b"b\n");
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let kit = Kit::new();
    let spec =
        kit.spec("for w in 1 2 3 4; do (seq 1 2000; seq 1 2000 >&2; exec > /dev/stdout; seq 1 500) & done; wait");
    run(kit.backend(), &spec).await;
    let lines: usize = output(kit.backend(), &spec.key, 0)
        .await
        .iter()
        .map(|(_, bytes)| bytes.iter().filter(|b| **b == b'\n').count())
        .sum();
    assert_eq!(lines, 4 * 4500);
}

#[tokio::test]
async fn two_readers_see_the_same() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("seq 1000; sleep 0.1; seq 1000")).await;
    until_written(kit.backend(), &key, "1000").await;
    let (one, two) = tokio::join!(output(kit.backend(), &key, 0), output(kit.backend(), &key, 0));
    assert_eq!(one.len(), 2000);
    assert_eq!(one, two);
}

#[tokio::test]
async fn output_waits_for_room_and_none_is_lost() {
    let kit = Kit::new();
    // No file of a run may grow beyond 1 MiB, until the limit is lifted for its shim from outside.
    let spec = kit.spec("prlimit --pid $PPID --fsize=65536:unlimited && seq 50000 && echo end");
    let key = start(kit.backend(), &spec).await;
    until_written(kit.backend(), &key, "\n1000\n").await;
    let spool = kit.run_dir(&key).join("output");
    let full = async {
        while std::fs::metadata(&spool).unwrap().len() < 65_536 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::conformance::PATIENCE, full).await.expect("the spool fills up");
    let shim = kit.shim_of(&key).to_string();
    let lifted = std::process::Command::new("prlimit").args(["--pid", &shim, "--fsize=unlimited"]).status().unwrap();
    assert!(lifted.success());
    until_ended(kit.backend(), &key).await;
    let seen: Vec<u8> = output(kit.backend(), &key, 0).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let expected: String = (1..=50_000).map(|i| format!("{i}\n")).chain(["end\n".to_owned()]).collect();
    assert!(seen == expected.as_bytes());
}
