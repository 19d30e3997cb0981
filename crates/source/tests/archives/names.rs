//! Names and links that could leave the root, or mean two things.

use taskplane_source::Reason;

use crate::build::{Head, Tar, refuse};

fn raw_name(name: &[u8]) -> Vec<u8> {
    Tar::new().entry(&Head { name, ..Head::file("", 0) }, b"").end()
}

#[test]
fn names_and_links_that_could_leave_the_root_are_refused() {
    refuse(&[
        ("a parent in the name", Tar::new().file("../x", "").end(), Reason::ParentInName),
        ("a parent within the name", Tar::new().file("a/../../x", "").end(), Reason::ParentInName),
        ("a parent that stays inside", Tar::new().file("a/../x", "").end(), Reason::ParentInName),
        ("a parent as directory", Tar::new().directory("..").end(), Reason::ParentInName),
        ("an absolute name", Tar::new().file("/etc/passwd", "").end(), Reason::AbsoluteName),
        ("an absolute name by PAX", Tar::new().pax("path", "/etc/passwd").file("x", "").end(), Reason::AbsoluteName),
        ("a parent by PAX", Tar::new().pax("path", "../x").file("x", "").end(), Reason::ParentInName),
        ("a parent by GNU name", Tar::new().extension(b'L', b"../x\0").file("x", "").end(), Reason::ParentInName),
        ("an empty name", raw_name(b""), Reason::EmptyName),
        ("an empty name by PAX", Tar::new().pax("path", "").file("x", "").end(), Reason::EmptyName),
        ("NUL in a header's name", raw_name(b"a\0b"), Reason::NulInName),
        ("NUL in a PAX name", Tar::new().pax("path", "a\0b").file("x", "").end(), Reason::NulInName),
        ("NUL in a GNU name", Tar::new().extension(b'L', b"a\0b\0").file("x", "").end(), Reason::NulInName),
        ("a file as the root", Tar::new().file(".", "").end(), Reason::ReplacesRoot),
        ("a link as the root", Tar::new().symlink("./.", "a").end(), Reason::ReplacesRoot),
        ("an absolute link", Tar::new().symlink("x", "/etc").end(), Reason::LinkEscapes),
        ("a link upwards", Tar::new().symlink("x", "../y").end(), Reason::LinkEscapes),
        ("a link too far up", Tar::new().symlink("a/b/x", "../../../y").end(), Reason::LinkEscapes),
        ("a link up by PAX", Tar::new().pax("linkpath", "../y").symlink("x", "y").end(), Reason::LinkEscapes),
        ("a link up by GNU", Tar::new().extension(b'K', b"../y\0").symlink("x", "y").end(), Reason::LinkEscapes),
        (
            "a link up through a link",
            Tar::new().symlink("p/q/s", "../..").symlink("t", "p/q/s/../etc").end(),
            Reason::LinkEscapes,
        ),
        ("a link to nothing", Tar::new().symlink("x", "").end(), Reason::LinkWithoutTarget),
        ("a write through a link", Tar::new().symlink("x", "y").file("x/z", "").end(), Reason::BelowSymlink),
        (
            "a write through a link to a directory",
            Tar::new().directory("y").symlink("x", "y").directory("x/z").end(),
            Reason::BelowSymlink,
        ),
        ("a file over a link", Tar::new().symlink("x", "y").file("x", "").end(), Reason::Duplicate),
        ("a file below a file", Tar::new().file("a", "1").file("a/b", "").end(), Reason::BelowFile),
        ("a hard link out", Tar::new().hard_link("x", "../y").end(), Reason::HardLinkTarget),
        ("an absolute hard link", Tar::new().hard_link("x", "/etc/passwd").end(), Reason::HardLinkTarget),
        ("a hard link to what is not there", Tar::new().hard_link("x", "y").end(), Reason::HardLinkTarget),
        ("a hard link to a later file", Tar::new().hard_link("x", "y").file("y", "").end(), Reason::HardLinkTarget),
        ("a hard link to itself", Tar::new().hard_link("x", "x").end(), Reason::HardLinkTarget),
        ("a hard link to a directory", Tar::new().directory("d").hard_link("x", "d").end(), Reason::HardLinkTarget),
        ("a hard link to a link", Tar::new().symlink("s", "y").hard_link("x", "s").end(), Reason::HardLinkTarget),
        (
            "a hard link through a link",
            Tar::new().file("a", "1").symlink("s", ".").hard_link("x", "s/a").end(),
            Reason::HardLinkTarget,
        ),
        ("a hard link in other case", Tar::new().file("a", "1").hard_link("x", "A").end(), Reason::HardLinkTarget),
    ]);
}
