#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]

use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::postgres::Postgres;

/// Nothing that comes takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long one waits to see that nothing comes: no test fails because it is too short.
const MOMENT: Duration = Duration::from_millis(50);

/// A server that gives everything back, and a proxy before it.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    proxy
}

async fn connected(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn comes_back(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    heard(stream, text).await;
}

async fn heard(stream: &mut TcpStream, text: &[u8]) {
    let mut back = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("in time").unwrap();
    assert_eq!(back, text);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let mut back = [0];
    assert!(timeout(MOMENT, stream.read(&mut back)).await.is_err(), "something came");
}

/// An end that is no orderly one.
async fn is_reset(stream: &mut TcpStream) -> usize {
    let (mut count, mut back) = (0, [0; 1024]);
    loop {
        match timeout(PATIENCE, stream.read(&mut back)).await.expect("in time") {
            Ok(0) => panic!("an orderly end"),
            Ok(more) => count += more,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                return count;
            }
        }
    }
}

#[tokio::test]
async fn in_clear_weather_everything_passes_and_ends_are_orderly() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    let long = vec![7; 1_000_000];
    let (mut from, mut to) = stream.split();
    let mut back = Vec::new();
    let write = async {
        to.write_all(&long).await.unwrap();
        to.shutdown().await.unwrap();
    };
    timeout(PATIENCE, async { tokio::join!(write, from.read_to_end(&mut back)).1.unwrap() }).await.unwrap();
    assert_eq!(back, long);
    assert_eq!(proxy.opened(), 1);
}

#[tokio::test]
async fn what_is_delayed_arrives_late() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.set(Weather::Delay(MOMENT));
    let begun = tokio::time::Instant::now();
    comes_back(&mut stream, b"there and back").await;
    assert!(begun.elapsed() >= 2 * MOMENT);
}

#[tokio::test]
async fn a_black_hole_takes_everything_and_gives_it_back_when_it_is_over() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    comes_back(&mut stream, b"before").await;
    proxy.set(Weather::Blackhole);
    stream.write_all(b"meanwhile").await.unwrap();
    let mut other = connected(&proxy).await;
    other.write_all(b"new").await.unwrap();
    hears_nothing(&mut stream).await;
    hears_nothing(&mut other).await;
    proxy.set(Weather::Clear);
    heard(&mut stream, b"meanwhile").await;
    heard(&mut other, b"new").await;
}

#[tokio::test]
async fn a_half_open_line_is_deaf_on_one_side() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    comes_back(&mut stream, b"before").await;
    for toward in [Toward::Server, Toward::Client] {
        proxy.set(Weather::Deaf(toward));
        stream.write_all(b"meanwhile").await.unwrap();
        hears_nothing(&mut stream).await;
        proxy.set(Weather::Clear);
        heard(&mut stream, b"meanwhile").await;
    }
}

#[tokio::test]
async fn a_reset_ends_what_is_open_and_in_such_weather_also_what_comes() {
    let proxy = echo().await;
    let mut stream = connected(&proxy).await;
    comes_back(&mut stream, b"before").await;
    assert_eq!(proxy.reset_all(), 1);
    is_reset(&mut stream).await;
    let mut next = connected(&proxy).await;
    comes_back(&mut next, b"after").await;
    proxy.set(Weather::Reset);
    is_reset(&mut next).await;
    is_reset(&mut connected(&proxy).await).await;
    proxy.set(Weather::Clear);
    comes_back(&mut connected(&proxy).await, b"again").await;
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes() {
    let proxy = echo().await;
    proxy.cut_after(Some(10));
    let mut stream = connected(&proxy).await;
    comes_back(&mut stream, b"12").await;
    // Four have passed; of these, six do, in whatever direction.
    stream.write_all(b"345678").await.unwrap();
    assert!(is_reset(&mut stream).await <= 6);
    proxy.cut_after(None);
    comes_back(&mut connected(&proxy).await, b"more than ten bytes").await;
}

#[tokio::test]
async fn a_server_that_is_gone_resets_and_the_next_one_is_found() {
    let first = echo().await;
    let (second, proxy) = (echo().await, Proxy::start(first.address()).await.unwrap());
    comes_back(&mut connected(&proxy).await, b"first").await;
    drop(first);
    is_reset(&mut connected(&proxy).await).await;
    proxy.lead_to(second.address());
    comes_back(&mut connected(&proxy).await, b"second").await;
}

/// Has psql say these statements one by one.
fn says(url: &str, statements: &str) -> std::process::Output {
    let mut psql = Command::new(Postgres::binary("psql"));
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", url]);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut psql.stdin.take().unwrap(), statements.as_bytes()).unwrap();
    psql.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_cut_on_its_way_there_or_back() {
    let direct = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    let proxy = Proxy::start(Postgres::address_of(&direct)).await.unwrap();
    let url = Postgres::by_way_of(&direct, proxy.address());
    let say = |url: &str, statements: &'static str| {
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || says(&url, statements))
    };
    assert!(say(&url, "create table t (a int);").await.unwrap().status.success());
    let insert = "begin;\ninsert into t values (1);\ncommit;\n";
    for (cut, rows) in [(CommitCut::BeforeServer, "0"), (CommitCut::BeforeClient, "1")] {
        proxy.cut_commits(1, cut);
        let output = say(&url, insert).await.unwrap();
        assert!(!output.status.success(), "{cut:?}: {output:?}");
        assert_eq!(proxy.commits_to_cut(), 0);
        // The server may still be about to notice that nobody is there.
        let counted = say(&direct, "select count(*) from t;").await.unwrap();
        assert_eq!(String::from_utf8_lossy(&counted.stdout).trim(), rows, "{cut:?}");
    }
    let output = say(&url, insert).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_commit_is_seen_however_the_stream_is_cut_into_pieces() {
    let message = |letter: &[u8], content: &[u8]| {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [letter, &length, content].concat()
    };
    let opening = [message(b"", &80_877_103_u32.to_be_bytes()), message(b"", b"\0\x03\0\0user\0postgres\0\0")].concat();
    let long = [&b"insert into t values ('"[..], &[b'C'; 500], b"')\0"].concat();
    let said = [message(b"Q", b"BEGIN\0"), message(b"Q", &long), message(b"Q", b"commit ;\0")].concat();
    let prepared = message(b"P", b"s1\0COMMIT\0\0\0");
    let answered = [b"N".to_vec(), message(b"R", &[0; 4]), message(b"C", b"INSERT 0 1\0"), message(b"D", b"COMMIT\0")];
    let done = message(b"C", b"COMMIT\0");
    for size in [1, 2, 3, 7, 64, 10_000] {
        let talk = postgres::Talk::default();
        let hears = |toward, bytes: &[u8]| {
            let found: Vec<CommitCut> = bytes.chunks(size).filter_map(|piece| talk.hears(toward, piece)).collect();
            found
        };
        assert_eq!(hears(Toward::Server, &opening), []);
        assert_eq!(hears(Toward::Client, &answered.concat()), []);
        assert_eq!(hears(Toward::Server, &said), [CommitCut::BeforeServer], "in pieces of {size}");
        assert_eq!(hears(Toward::Server, &prepared), [CommitCut::BeforeServer], "in pieces of {size}");
        assert_eq!(hears(Toward::Client, &done), [CommitCut::BeforeClient], "in pieces of {size}");
    }
}
