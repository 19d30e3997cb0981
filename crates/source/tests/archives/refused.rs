//! Forms that are refused, and how it is said.

use std::io::{self, Read};

use taskplane_source::{Limits, Reason, SourceError, check};

use crate::build::{Head, Tar, gzip, judge, record, refuse};

fn special(kind: u8) -> Vec<u8> {
    Tar::new().entry(&Head { kind, ..Head::file("x", 0) }, b"").end()
}

fn with_mode(kind: u8, mode: u32) -> Vec<u8> {
    Tar::new().entry(&Head { kind, mode, ..Head::file("x", 0) }, b"").end()
}

fn small() -> Tar {
    Tar::new().file("a", "1")
}

#[test]
fn what_is_no_plain_file_directory_or_link_is_refused() {
    refuse(&[
        ("a character device", special(b'3'), Reason::SpecialFile),
        ("a block device", special(b'4'), Reason::SpecialFile),
        ("a named pipe", special(b'6'), Reason::SpecialFile),
        ("a sparse file", special(b'S'), Reason::Sparse),
        ("a sparse file by PAX", Tar::new().pax("GNU.sparse.major", "1").file("x", "").end(), Reason::Sparse),
        ("a volume label", special(b'V'), Reason::UnsupportedType('V')),
        ("a continued volume", special(b'M'), Reason::UnsupportedType('M')),
        ("a GNU directory dump", special(b'D'), Reason::UnsupportedType('D')),
        ("set-user-id", with_mode(b'0', 0o4755), Reason::SetId),
        ("set-group-id", with_mode(b'0', 0o2755), Reason::SetId),
        ("a name twice", small().file("a", "2").end(), Reason::Duplicate),
        ("a name twice in other spelling", small().file("./a", "2").end(), Reason::Duplicate),
        ("a directory twice", Tar::new().directory("d").directory("d/").end(), Reason::Duplicate),
        ("the root twice", Tar::new().directory(".").directory("./").end(), Reason::Duplicate),
        ("a file over a directory", Tar::new().directory("d").file("d", "").end(), Reason::Duplicate),
        ("a file over an implied directory", Tar::new().file("d/x", "").file("d", "").end(), Reason::Duplicate),
        ("a directory over a file", small().directory("a").end(), Reason::Duplicate),
        ("a name in other case", small().file("A", "2").end(), Reason::CaseCollision),
        ("an implied directory in other case", Tar::new().file("d/x", "").file("D/y", "").end(), Reason::CaseCollision),
        ("names alike beyond ASCII", Tar::new().file("STRASSE", "").file("straße", "").end(), Reason::CaseCollision),
        ("a part too long", Tar::new().pax("path", &"n".repeat(256)).file("x", "").end(), Reason::PartTooLong(255)),
        ("a name too long", Tar::new().pax("path", &"n/".repeat(2000)).file("x", "").end(), Reason::NameTooLong(3072)),
        (
            "a GNU name too long",
            Tar::new().extension(b'L', &vec![b'n'; 1 << 20]).file("x", "").end(),
            Reason::NameTooLong(3072),
        ),
        ("4096 directories", Tar::new().pax("path", &"d/".repeat(1500)).file("x", "").end(), Reason::TooDeep(256)),
        (
            "a PAX size that is not the header's",
            Tar::new().pax("size", "1000").file("x", "1").end(),
            Reason::SizeMismatch { ustar: 1, pax: 1000 },
        ),
        (
            "a directory with data",
            Tar::new().entry(&Head { kind: b'5', ..Head::file("d", 3) }, b"abc").end(),
            Reason::UnexpectedData,
        ),
        (
            "a link with data",
            Tar::new().entry(&Head { kind: b'2', link: b"y", ..Head::file("d", 3) }, b"abc").end(),
            Reason::UnexpectedData,
        ),
    ]);
}

#[test]
fn a_damaged_or_ambiguous_form_is_refused() {
    refuse(&[
        ("no bytes at all", Vec::new(), Reason::Empty),
        ("only the end", Tar::new().end(), Reason::Empty),
        ("only the root", Tar::new().directory("./").end(), Reason::Empty),
        ("only a global header", Tar::new().extension(b'g', &record("comment", "x")).end(), Reason::Empty),
        ("an empty gzip", gzip(b""), Reason::Empty),
        ("something else", b"PK\x03\x04".repeat(500), Reason::NotAnArchive),
        ("something else, gzip'd", gzip(b"hello"), Reason::NotAnArchive),
        ("nearly gzip", b"\x1f\x8b\x09 no gzip at all".to_vec(), Reason::CorruptGzip),
        ("a cut in the data", Tar::new().entry(&Head::file("x", 9000), b"abc").bytes, Reason::Truncated),
        ("a cut in a header", small().bytes[..1024].iter().copied().chain(*b"abc").collect(), Reason::Truncated),
        ("a cut before the end", small().bytes, Reason::Truncated),
        ("half an end", small().zeros(512).bytes, Reason::Truncated),
        ("a cut gzip", gzip(&small().end())[..60].to_vec(), Reason::Truncated),
        (
            "a gzip without its checksum",
            {
                let z = gzip(&small().end());
                z[..z.len() - 8].to_vec()
            },
            Reason::Truncated,
        ),
        (
            "a wrong gzip checksum",
            {
                let mut z = gzip(&small().end());
                let n = z.len();
                z[n - 8] ^= 1;
                z
            },
            Reason::CorruptGzip,
        ),
        ("junk after the end", [small().end(), b"junk".to_vec()].concat(), Reason::TrailingJunk),
        ("a second archive after the end", [small().end(), small().end()].concat(), Reason::TrailingJunk),
        ("an entry after half an end", [small().zeros(512).bytes, small().end()].concat(), Reason::TrailingJunk),
        ("junk after the gzip", [gzip(&small().end()), b"junk".to_vec()].concat(), Reason::TrailingJunk),
        ("junk after padding", [gzip(&small().end()), b"\0\0\0junk".to_vec()].concat(), Reason::TrailingJunk),
        ("junk inside the gzip", gzip(&[small().end(), b"junk".to_vec()].concat()), Reason::TrailingJunk),
        ("a second gzip'd archive", [gzip(&small().end()), gzip(&small().end())].concat(), Reason::TrailingJunk),
        ("a wrong checksum", [small().bytes, vec![b'x'; 512]].concat(), Reason::Malformed("a wrong checksum")),
        (
            "a PAX record without end",
            Tar::new().extension(b'x', b"99 path=x\n").file("x", "").end(),
            Reason::Malformed("a PAX record"),
        ),
        (
            "a PAX record of no length",
            Tar::new().extension(b'x', b"0 a=b\n").file("x", "").end(),
            Reason::Malformed("a PAX record"),
        ),
        (
            "a PAX record without a key",
            Tar::new().extension(b'x', b"5 ab\n").file("x", "").end(),
            Reason::Malformed("a PAX record"),
        ),
        ("a PAX size in words", Tar::new().pax("size", "-1").file("x", "").end(), Reason::Malformed("a PAX size")),
        ("an extension of nothing", Tar::new().pax("path", "x").end(), Reason::Malformed("an extension of no entry")),
        (
            "two extensions",
            Tar::new().pax("path", "x").pax("path", "y").file("x", "").end(),
            Reason::Malformed("an extension that is there twice"),
        ),
        (
            "a long extension",
            Tar::new().extension(b'x', &vec![b'9'; 2 << 20]).end(),
            Reason::Malformed("an extension that is too long"),
        ),
        (
            "a global name",
            Tar::new().extension(b'g', &record("path", "x")).file("y", "").end(),
            Reason::Malformed("a global one that names an entry"),
        ),
    ]);
}

#[test]
fn a_refusal_is_one_line_that_names_the_entry() {
    let said = |archive: Vec<u8>| judge(&archive).unwrap_err().to_string();
    assert_eq!(said(Tar::new().file("../x", "").end()), "archive entry \"../x\" has \"..\" in its name");
    assert_eq!(
        said(Tar::new().symlink("a/link", "/etc").end()),
        "archive entry \"a/link\" is a symbolic link that may lead out of the archive"
    );
    assert_eq!(said(Tar::new().end()), "the archive is empty");
    assert_eq!(
        said(Tar::new().file("/a\nb\u{1b}[31m\u{202e}", "").end()),
        "archive entry \"/a\\nb\\u{1b}[31m\\u{202e}\" has an absolute name"
    );
    let long = said(Tar::new().pax("path", &format!("/{}", "n".repeat(5000))).file("x", "").end());
    assert!(long.len() < 200, "{long}");
}

#[test]
fn a_failing_reader_is_no_refusal() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
    let whole = gzip(&Tar::new().file("a", "1").end());
    for cut in [0, 1, 5, 40] {
        let result = check((&whole[..cut]).chain(Gone), &Limits::default());
        assert!(matches!(result, Err(SourceError::Read(_))), "{result:?}");
    }
}
