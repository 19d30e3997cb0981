//! Shipping: again after a crash, beside another writer, while the store is away, and in bounded pieces.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use taskplane_domain::log::{LogRecord, LogStream};
use taskplane_logs::LogsError;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{Kit, all_of, at, key, lines};

/// The stream of a spool that will never end.
fn endless(records: &[LogRecord]) -> impl futures::Stream<Item = Result<LogRecord, LogsError>> + use<> {
    all_of(records).chain(stream::pending())
}

#[tokio::test(start_paused = true)]
async fn a_record_can_be_read_two_seconds_after_it_came() {
    let kit = Kit::new();
    let written = lines(3);
    let reader = kit.objects.reader(key(1));
    let begun = Instant::now();
    let archived = async {
        while reader.end().await.unwrap() == 0 {
            sleep(Duration::from_millis(100)).await;
        }
        begun.elapsed()
    };
    let writer = kit.objects.writer(key(1), None).await.unwrap();
    tokio::select! {
        _ = writer.ship(endless(&written)) => unreachable!("the stream does not end"),
        waited = archived => assert!(waited <= Duration::from_millis(2100), "{waited:?}"),
    }
    assert_eq!(kit.read_from(key(1), 0).await, written);
    assert_eq!(reader.sealed().await.unwrap(), None);
}

#[tokio::test]
async fn shipping_all_again_after_a_crash_before_the_seal_repeats_nothing() {
    let kit = Kit::new();
    let written = lines(100);
    let mut first = kit.objects.writer(key(1), None).await.unwrap();
    written[..40].iter().for_each(|record| first.append(record.clone()));
    first.flush().await.unwrap();
    written[40..60].iter().for_each(|record| first.append(record.clone()));
    let archived = first.archived_to();
    drop(first);

    let second = kit.objects.writer(key(1), None).await.unwrap();
    assert_eq!(second.archived_to(), archived);
    assert_eq!(archived, written[39].end());
    second.ship(all_of(&written)).await.unwrap();
    assert_eq!(kit.read_from(key(1), 0).await, written);
    let chunks = kit.chunks(key(1));

    assert_eq!(kit.archive(key(1), None, &written).await, written[99].end());
    assert_eq!(kit.chunks(key(1)), chunks);
    assert_eq!(kit.read_from(key(1), 0).await, written);
}

#[tokio::test]
async fn a_record_that_is_archived_in_part_is_completed() {
    let kit = Kit::new();
    let whole =
        LogRecord { offset: 0, time: at(0), stream: LogStream::Stdout, content: Bytes::from_static(b"abcdef\n") };
    kit.archive(key(1), None, &[LogRecord { content: whole.content.slice(..3), ..whole.clone() }]).await;
    kit.archive(key(1), None, &[whole]).await;
    assert_eq!(crate::kit::text(&kit.read_from(key(1), 0).await), "abcdef\n");
}

#[tokio::test]
async fn two_writers_of_one_output_do_not_harm_each_other() {
    for cap in [None, Some(1 << 20)] {
        let kit = Kit::new();
        let written = lines(100);
        let mut stale = kit.objects.writer(key(1), cap).await.unwrap();
        let mut fresh = kit.objects.writer(key(1), cap).await.unwrap();
        for (part, ahead) in [(0..30, 0..50), (30..70, 50..60), (70..100, 60..100)] {
            written[ahead].iter().for_each(|record| fresh.append(record.clone()));
            written[part].iter().for_each(|record| stale.append(record.clone()));
            fresh.flush().await.unwrap();
            stale.flush().await.unwrap();
        }
        assert_eq!(fresh.seal().await.unwrap(), stale.seal().await.unwrap());
        assert_eq!(kit.read_from(key(1), 0).await, written);
    }
}

#[tokio::test(start_paused = true)]
async fn output_waits_while_the_store_is_away_and_nothing_is_lost() {
    let kit = Kit::new();
    let written = lines(1000);
    let writer = kit.objects.writer(key(1), None).await.unwrap();
    let logs = kit.directory.path().join("objects/logs");
    // No directory can be made where a file stands: every write fails.
    std::fs::write(&logs, b"in the way").unwrap();
    let shipping = writer.ship(all_of(&written)).fuse();
    let waiting = kit.objects.await_writer(key(2), None).fuse();
    futures::pin_mut!(shipping, waiting);
    futures::select! {
        _ = shipping => panic!("written into a file that is in the way"),
        _ = waiting => panic!("listed a file that is in the way"),
        () = sleep(Duration::from_secs(60)).fuse() => {}
    }
    std::fs::remove_file(&logs).unwrap();
    let end = timeout(Duration::from_secs(60), shipping).await.unwrap().unwrap();
    assert_eq!(end, written.last().unwrap().end());
    assert_eq!(kit.read_from(key(1), 0).await, written);
    assert_eq!(timeout(Duration::from_secs(60), waiting).await.unwrap().archived_to(), 0);
}

#[tokio::test]
async fn a_stream_that_fails_leaves_its_output_archived_and_not_sealed() {
    let kit = Kit::new();
    let written = lines(10);
    let writer = kit.objects.writer(key(1), None).await.unwrap();
    let failing = stream::iter(written.clone()).map(Ok).chain(stream::once(async { Err("spool unreadable") }));
    assert_eq!(writer.ship(failing).await, Err("spool unreadable"));
    assert_eq!(kit.read_from(key(1), 0).await, written);
    assert_eq!(kit.objects.reader(key(1)).sealed().await.unwrap(), None);
}

#[tokio::test]
async fn a_hundred_megabytes_pass_in_chunks_of_one() {
    const LINE: usize = 1000;
    const COUNT: u64 = 100_000;
    let kit = Kit::new();
    let content = Bytes::from([&[b'x'; LINE - 1], b"\n".as_slice()].concat());
    let record = |index: u64| LogRecord {
        offset: index * LINE as u64,
        time: at(0),
        stream: LogStream::Stdout,
        content: content.clone(),
    };
    let writer = kit.objects.writer(key(1), None).await.unwrap();
    let end = writer.ship(stream::iter((0..COUNT).map(record).map(Ok::<_, LogsError>))).await.unwrap();
    assert_eq!(end, COUNT * LINE as u64);
    let chunks: Vec<u64> = kit.chunks(key(1)).iter().map(|name| name.parse().unwrap()).collect();
    assert!((90..=110).contains(&chunks.len()), "{}", chunks.len());
    assert!(chunks.windows(2).all(|pair| pair[1] - pair[0] <= 1 << 20));

    let read = kit.objects.reader(key(1)).read(0).try_fold((0, 0), async |(count, next), record| {
        assert_eq!(record.offset, next);
        Ok((count + 1, record.end()))
    });
    assert_eq!(read.await.unwrap(), (COUNT, end));
}

#[tokio::test]
async fn a_line_longer_than_a_chunk_is_kept_in_pieces() {
    let kit = Kit::new();
    let content = Bytes::from(vec![b'y'; (3 << 20) + 5]);
    let line = LogRecord { offset: 0, time: at(0), stream: LogStream::Stderr, content: content.clone() };
    kit.archive(key(1), None, &[line]).await;
    assert!(kit.chunks(key(1)).len() > 1);
    let read = kit.read_from(key(1), 0).await;
    assert_eq!(crate::kit::bytes(&read), content);
    assert!(read.iter().all(|record| record.stream == LogStream::Stderr));
}

#[tokio::test]
async fn output_that_its_source_lost_is_shown_as_missing() {
    let kit = Kit::new();
    let written = lines(30);
    let torn: Vec<_> = [&written[..10], &written[20..]].concat();
    kit.archive(key(1), None, &torn).await;
    let read = kit.read_from(key(1), 0).await;
    let missing = written[20].offset - written[10].offset;
    assert_eq!(read[10].stream, LogStream::System);
    assert_eq!(read[10].content, format!("[… {missing} bytes of output are missing here …]\n"));
    assert_eq!([&read[..10], &read[11..]].concat(), torn);
}
