//! A cap keeps head and tail, and says what went.

use proptest::prelude::*;
use taskplane_domain::log::{LogRecord, LogStream};

use crate::kit::{Kit, bytes, key, lines, records};

/// What is kept, as head, what is said to be missing, and tail.
fn halves(read: &[LogRecord]) -> (&[LogRecord], Option<&LogRecord>, &[LogRecord]) {
    match read.iter().position(|record| record.stream == LogStream::System) {
        Some(gap) => (&read[..gap], Some(&read[gap]), &read[gap + 1..]),
        None => (read, None, &[]),
    }
}

#[tokio::test]
async fn head_and_tail_stay_and_a_line_says_what_went() {
    for cap in [64, 500, 1000, 4096, 10_000] {
        let kit = Kit::new();
        let written = lines((cap as usize / 2).max(40));
        let total = kit.archive(key(1), Some(cap), &written).await;
        let read = kit.read_from(key(1), 0).await;
        let (head, gap, tail) = halves(&read);
        let (gap, kept) = (gap.unwrap(), (bytes(head).len() + bytes(tail).len()) as u64);
        assert!(written.starts_with(head) && written.ends_with(tail), "cap {cap}");
        assert!(!head.is_empty() && !tail.is_empty(), "cap {cap}");
        assert!(kept <= cap + 10 && kept >= cap / 2, "{kept} kept of a cap of {cap}");
        let said =
            format!("[… {} bytes of output were cut here: the space keeps at most {cap} bytes …]\n", total - kept);
        assert_eq!(gap.content, said);
        assert_eq!(gap.end(), tail[0].offset, "who resumes behind the line misses nothing");
        assert_eq!(kit.read_from(key(1), gap.end()).await, tail);
        assert_eq!(kit.objects.reader(key(1)).end().await.unwrap(), total);
    }
}

#[tokio::test]
async fn output_that_fits_is_kept_whole() {
    let written = lines(100);
    let size = bytes(&written).len() as u64;
    for cap in [size, size + 1, size * 3] {
        let kit = Kit::new();
        kit.archive(key(1), Some(cap), &written).await;
        assert_eq!(kit.read_from(key(1), 0).await, written);
    }
}

#[tokio::test]
async fn the_last_lines_and_a_resume_inside_the_gap_work_as_ever() {
    let kit = Kit::new();
    let written = lines(1000);
    kit.archive(key(1), Some(1000), &written).await;
    let offset = kit.objects.reader(key(1)).tail_offset(3).await.unwrap();
    assert_eq!(kit.read_from(key(1), offset).await, written[997..]);
    let inside = written[500].offset;
    let read = kit.read_from(key(1), inside).await;
    let (head, gap, tail) = halves(&read);
    assert_eq!(head, []);
    let missing = tail[0].offset - inside;
    assert!(gap.unwrap().content.starts_with(format!("[… {missing} bytes").as_bytes()));
}

#[tokio::test]
async fn a_follower_that_is_overtaken_sees_how_much_it_missed() {
    let kit = Kit::new();
    let written = lines(1000);
    let mut writer = kit.objects.writer(key(1), Some(1000)).await.unwrap();
    let mut seen: Vec<LogRecord> = Vec::new();
    for batch in written.chunks(250) {
        batch.iter().for_each(|record| writer.append(record.clone()));
        writer.flush().await.unwrap();
        let position = seen.last().map_or(0, LogRecord::end);
        seen.extend(kit.read_from(key(1), position).await);
    }
    let gaps: Vec<_> = seen.iter().filter(|record| record.stream == LogStream::System).collect();
    assert_eq!(gaps.len(), 4);
    let output: Vec<_> = seen.iter().filter(|record| record.stream != LogStream::System).cloned().collect();
    assert!(output.iter().all(|record| written.contains(record)));
    assert!(output.windows(2).all(|pair| pair[0].end() <= pair[1].offset));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_output_under_any_cap_is_a_head_and_a_tail(
        sizes in prop::collection::vec(0_usize..200, 0..60),
        cap in prop::option::of(1_u64..3000),
        flushes in prop::collection::vec(any::<bool>(), 60),
        crash in 0_usize..60,
    ) {
        let contents: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(index, size)| vec![index as u8; *size]).collect();
        let written = records(contents.iter().map(|content| (LogStream::Stdout, content.as_slice())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let kit = Kit::new();
            let mut writer = kit.objects.writer(key(1), cap).await.unwrap();
            for (record, flush) in written[..crash.min(written.len())].iter().zip(&flushes) {
                writer.append(record.clone());
                if *flush {
                    writer.flush().await.unwrap();
                }
            }
            kit.archive(key(1), cap, &written).await;
            kit.read_from(key(1), 0).await
        });
        let (all, largest) = (bytes(&written), sizes.iter().copied().max().unwrap_or(0));
        let (head, gap, tail) = halves(&read);
        let (head, tail) = (bytes(head), bytes(tail));
        match (cap, gap) {
            (_, None) => prop_assert_eq!(head, all),
            (None, Some(_)) => prop_assert!(false, "cut without a cap"),
            (Some(cap), Some(gap)) => {
                prop_assert!(all.starts_with(&head) && all.ends_with(&tail));
                prop_assert!((head.len() + tail.len()) as u64 <= cap + 2 * largest as u64);
                prop_assert!(all.len() as u64 > cap);
                let missing = format!("[… {} bytes of output were cut", all.len() - head.len() - tail.len());
                prop_assert!(gap.content.starts_with(missing.as_bytes()));
            }
        }
    }
}
