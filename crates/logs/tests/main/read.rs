//! What was written is what is read.

use futures::{StreamExt, TryStreamExt};
use taskplane_domain::log::LogStream::{Stderr, Stdout};
use taskplane_domain::uid::SpaceUid;
use taskplane_logs::{LogKey, LogsError, Objects};
use uuid::Uuid;

use crate::kit::{Kit, at, key, lines, records, text};

#[tokio::test]
async fn bytes_times_and_streams_come_back_as_they_were() {
    let kit = Kit::new();
    let written = records([
        (Stdout, b"plain\n".as_slice()),
        (Stderr, b"\n"),
        (Stdout, b"\xff\xfe not utf-8 \0\n"),
        (Stderr, b"\x1b[31mred\r\n"),
        (Stdout, b"no line feed"),
    ]);
    let end = kit.archive(key(1), None, &written).await;
    let reader = kit.objects.reader(key(1));
    assert_eq!(kit.read_from(key(1), 0).await, written);
    assert_eq!(reader.sealed().await.unwrap(), Some(end));
    assert_eq!(reader.end().await.unwrap(), end);
    assert_eq!(end, written.last().unwrap().end());
}

#[tokio::test]
async fn a_log_that_nobody_wrote_is_empty_and_not_sealed() {
    let kit = Kit::new();
    let reader = kit.objects.reader(key(1));
    assert_eq!(kit.read_from(key(1), 0).await, []);
    assert_eq!(reader.end().await.unwrap(), 0);
    assert_eq!(reader.sealed().await.unwrap(), None);
    assert_eq!(reader.tail_offset(10).await.unwrap(), 0);
    assert_eq!(reader.since_offset(at(0)).await.unwrap(), 0);
}

#[tokio::test]
async fn output_without_a_byte_is_sealed_at_0() {
    let kit = Kit::new();
    assert_eq!(kit.archive(key(1), None, &[]).await, 0);
    assert_eq!(kit.objects.reader(key(1)).sealed().await.unwrap(), Some(0));
}

#[tokio::test]
async fn reading_begins_at_the_very_byte() {
    let kit = Kit::new();
    let written = lines(100);
    kit.archive(key(1), Some(1 << 10), &written).await;
    let whole = text(&written);
    for offset in 0..=whole.len() {
        let read = kit.read_from(key(1), offset as u64).await;
        assert_eq!(text(&read), whole[offset..], "from {offset}");
        assert!(read.first().is_none_or(|first| first.offset == offset as u64));
    }
}

#[tokio::test]
async fn attempts_and_tasks_are_apart() {
    let kit = Kit::new();
    let second = LogKey { attempt: 2, ..key(1) };
    let tenth = LogKey { attempt: 10, ..key(1) };
    for (key, count) in [(key(1), 1), (second, 2), (tenth, 3), (key(2), 4)] {
        kit.archive(key, None, &lines(count)).await;
    }
    assert_eq!(kit.read_from(key(1), 0).await.len(), 1);
    assert_eq!(kit.read_from(second, 0).await.len(), 2);
    assert_eq!(kit.read_from(tenth, 0).await.len(), 3);
    kit.objects.remove_task_logs(key(1).space, key(1).task).await.unwrap();
    for gone in [key(1), second, tenth] {
        assert_eq!(kit.read_from(gone, 0).await, []);
        assert_eq!(kit.objects.reader(gone).sealed().await.unwrap(), None);
    }
    assert_eq!(kit.read_from(key(2), 0).await.len(), 4);
}

#[tokio::test]
async fn removing_the_logs_of_a_space_leaves_nothing_of_it_on_disk() {
    let kit = Kit::new();
    let elsewhere = LogKey { space: SpaceUid(Uuid::from_u128(2)), ..key(1) };
    kit.archive(key(1), None, &lines(3)).await;
    kit.archive(elsewhere, None, &lines(3)).await;
    let space = kit.directory.path().join(format!("objects/logs/{}", key(1).space));
    // As a crash in the middle of a write leaves it.
    std::fs::write(space.join(format!("{}/1/{:020}#1", key(1).task, 77)), b"half a chunk").unwrap();
    assert_eq!(kit.read_from(key(1), 0).await.len(), 3);
    kit.objects.remove_space_logs(key(1).space).await.unwrap();
    kit.objects.remove_space_logs(key(1).space).await.unwrap();
    assert!(!space.exists());
    assert_eq!(kit.read_from(elsewhere, 0).await.len(), 3);
}

#[tokio::test]
async fn the_last_lines_are_found_over_the_borders_of_chunks() {
    let kit = Kit::new();
    let written = lines(60);
    // A cap that cuts nothing makes chunks of about seven lines.
    kit.archive(key(1), Some(600), &written).await;
    assert!(kit.chunks(key(1)).len() > 5);
    let reader = kit.objects.reader(key(1));
    for count in 0..=60 {
        let offset = reader.tail_offset(count).await.unwrap();
        assert_eq!(kit.read_from(key(1), offset).await, written[60 - count..], "the last {count}");
    }
    assert_eq!(reader.tail_offset(61).await.unwrap(), 0);
}

#[tokio::test]
async fn an_unfinished_line_counts_as_one_and_its_pieces_as_none() {
    let kit = Kit::new();
    kit.archive(
        key(1),
        None,
        &records([(Stdout, b"one\n".as_slice()), (Stdout, b"tw"), (Stdout, b"o\n"), (Stdout, b"th"), (Stdout, b"ree")]),
    )
    .await;
    let reader = kit.objects.reader(key(1));
    for (count, expected) in [(0, ""), (1, "three"), (2, "two\nthree"), (3, "one\ntwo\nthree")] {
        let offset = reader.tail_offset(count).await.unwrap();
        assert_eq!(text(&kit.read_from(key(1), offset).await), expected);
    }
}

#[tokio::test]
async fn records_from_a_time_on_are_found_without_reading_all() {
    let kit = Kit::new();
    let written = lines(200);
    kit.archive(key(1), Some(4000), &written).await;
    let reader = kit.objects.reader(key(1));
    for second in [-5, 0, 1, 57, 100, 198, 199, 300] {
        let offset = reader.since_offset(at(second)).await.unwrap();
        let read = kit.read_from(key(1), offset).await;
        let late: Vec<_> = read.iter().filter(|record| record.time >= at(second)).cloned().collect();
        let expected: Vec<_> = written.iter().filter(|record| record.time >= at(second)).cloned().collect();
        assert_eq!(late, expected, "since {second}");
        assert!(read.len() - late.len() < 60, "since {second}");
    }
}

#[tokio::test]
async fn a_log_is_followed_while_it_is_written() {
    let kit = Kit::new();
    let written = lines(50);
    let mut writer = kit.objects.writer(key(1), None).await.unwrap();
    let reader = kit.objects.reader(key(1));
    let mut seen = Vec::new();
    for batch in written.chunks(7) {
        batch.iter().for_each(|record| writer.append(record.clone()));
        writer.flush().await.unwrap();
        let position = seen.last().map_or(0, taskplane_domain::log::LogRecord::end);
        let new: Vec<_> = reader.read(position).try_collect().await.unwrap();
        assert_eq!(new, batch);
        seen.extend(new);
        let nothing: Vec<_> = reader.read(seen.last().unwrap().end()).try_collect().await.unwrap();
        assert_eq!(nothing, []);
        assert_eq!(reader.sealed().await.unwrap(), None);
    }
    writer.seal().await.unwrap();
    assert!(reader.sealed().await.unwrap().is_some());
    assert_eq!(seen, written);
}

#[tokio::test]
async fn who_reads_ahead_of_the_archive_misses_nothing_when_it_comes() {
    let kit = Kit::new();
    let written = lines(50);
    let mut writer = kit.objects.writer(key(1), None).await.unwrap();
    let reader = kit.objects.reader(key(1));
    let ahead = written[25].offset;
    for half in written.chunks(20) {
        half.iter().for_each(|record| writer.append(record.clone()));
        writer.flush().await.unwrap();
        let end = half.last().unwrap().end();
        let read: Vec<_> = reader.read(ahead).try_collect().await.unwrap();
        assert_eq!(read.last().map(|record| record.end()), (end > ahead).then_some(end));
        assert!(read.first().is_none_or(|record| record.offset == ahead));
    }
}

#[tokio::test]
async fn a_damaged_chunk_is_an_error_that_names_it() {
    let kit = Kit::new();
    kit.archive(key(1), None, &lines(3)).await;
    let chunk = kit.directory.path().join(format!("objects/{}/{:020}", key(1), 0));
    let mut packed = std::fs::read(&chunk).unwrap();
    *packed.last_mut().unwrap() ^= 1;
    std::fs::write(&chunk, packed).unwrap();
    let mut read = Box::pin(kit.objects.reader(key(1)).read(0));
    let error = read.next().await.unwrap().unwrap_err();
    assert!(matches!(&error, LogsError::Damaged { object, .. } if object.ends_with(&format!("{:020}", 0))), "{error}");
}

#[test]
fn only_a_directory_with_an_absolute_path_is_taken() {
    for url in ["", "objects", "/objects", "s3://bucket", "file:/x", "file://relative", "file://"] {
        assert!(matches!(Objects::open(url), Err(LogsError::Url(_))), "{url}");
    }
    let error = Objects::open("s3://key:secret@bucket").unwrap_err().to_string();
    assert!(error.contains("s3") && !error.contains("secret"), "{error}");
}

#[test]
fn the_directory_is_made_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::TempDir::new().unwrap();
    let root = directory.path().join("a/b c/objects");
    Objects::open(&format!("file://{}", root.display())).unwrap();
    assert_eq!(std::fs::metadata(root).unwrap().permissions().mode() & 0o777, 0o700);
}
