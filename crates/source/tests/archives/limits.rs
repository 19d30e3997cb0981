//! How much of an archive is borne, and how early too much is noticed.

use std::io::{self, Read};

use taskplane_source::{Limits, Reason, check};

use crate::build::{Drip, Head, Tar, gzip, judge, reason};

fn tight() -> Limits {
    Limits {
        max_archive_bytes: 64 << 10,
        max_unpacked_bytes: 128 << 10,
        max_entries: 5,
        max_depth: 4,
        max_path_bytes: 200,
        max_ratio: 1000,
    }
}

#[test]
fn limits_are_held() {
    let many = (0..6).fold(Tar::new(), |tar, n| tar.file(&n.to_string(), "")).end();
    let implied = Tar::new().file("a/b/c/d", "").file("e/f/g/h", "").end();
    let globals = (0..6).fold(Tar::new(), |tar, _| tar.extension(b'g', b"")).file("x", "").end();
    let linked = Tar::new().file("a", &"x".repeat(50_000)).hard_link("b", "a").hard_link("c", "a").end();
    let cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("a large upload", Tar::new().file("x", &"x".repeat(80_000)).end(), Reason::TooLarge(64 << 10)),
        ("large padding", Tar::new().file("x", "").zeros(80_000).bytes, Reason::TooLarge(64 << 10)),
        ("a large file", gzip(&Tar::new().file("x", &"x".repeat(140_000)).end()), Reason::UnpacksTooLarge(128 << 10)),
        (
            "a file that says it is large",
            Tar::new().entry(&Head::file("x", 1 << 40), b"").end(),
            Reason::UnpacksTooLarge(128 << 10),
        ),
        ("a long tail", gzip(&Tar::new().file("x", "").zeros(140_000).bytes), Reason::UnpacksTooLarge(128 << 10)),
        ("copies by hard link", linked, Reason::UnpacksTooLarge(128 << 10)),
        ("many entries", many, Reason::TooManyEntries(5)),
        ("many implied directories", implied, Reason::TooManyEntries(5)),
        ("many global headers", globals, Reason::TooManyEntries(5)),
        ("a deep name", Tar::new().file("a/b/c/d/e", "").end(), Reason::TooDeep(4)),
        ("a long name", Tar::new().pax("path", &"ab/".repeat(70)).file("x", "").end(), Reason::NameTooLong(200)),
        (
            "a long target",
            Tar::new().pax("linkpath", &"ab/".repeat(70)).symlink("x", "y").end(),
            Reason::NameTooLong(200),
        ),
    ];
    for (what, archive, expected) in cases {
        assert_eq!(reason(check(&archive[..], &tight())), expected, "{what}");
    }
}

#[test]
fn a_negative_size_is_refused() {
    let mut block = Head::file("x", 0).block();
    block[124..136].fill(0xff);
    let mut header = tar::Header::from_byte_slice(&block).clone();
    header.set_cksum();
    let archive = [header.as_bytes().to_vec(), vec![0; 1024]].concat();
    assert_eq!(reason(judge(&archive)), Reason::UnpacksTooLarge(4 << 30));
}

/// A gzip stream of one file of zeros without end, made while it is read.
struct Bomb {
    encoder: flate2::read::GzEncoder<io::Chain<io::Cursor<Vec<u8>>, io::Repeat>>,
    given: u64,
}

impl Read for Bomb {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.encoder.read(buf)?;
        self.given += count as u64;
        Ok(count)
    }
}

#[test]
fn a_bomb_is_refused_after_little_of_it() {
    let head = Head::file("zeros", 3 << 30).block().to_vec();
    let zeros = io::Cursor::new(head).chain(io::repeat(0));
    let mut bomb = Bomb { encoder: flate2::read::GzEncoder::new(zeros, flate2::Compression::best()), given: 0 };
    assert_eq!(reason(check(&mut bomb, &Limits::default())), Reason::Bomb(1000));
    assert!(bomb.given < 256 << 10, "{} bytes were read", bomb.given);
}

#[test]
fn a_bomb_that_announces_itself_is_refused_at_its_header() {
    let archive = [Head::file("huge", 1 << 40).block().to_vec(), vec![7; 8 << 20]].concat();
    let mut drip = Drip::new(&archive, 4096);
    assert_eq!(reason(check(&mut drip, &Limits::default())), Reason::UnpacksTooLarge(4 << 30));
    assert!(drip.taken <= 64 << 10, "{} bytes were read", drip.taken);
}
