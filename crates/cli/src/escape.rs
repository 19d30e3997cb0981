//! Makes foreign text harmless: nothing that a Task, a name or a server says may steer the reader's terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// For one cell or one line: every control character and every character that reorders text is shown as an escape.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !steers(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        push(&mut out, c, steers(c));
    }
    Cow::Owned(out)
}

/// For a line of a log on a terminal: as [`line`], but tabs and plain colours (SGR) pass, and colours end with the line.
pub fn log(content: &[u8]) -> String {
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let mut out = String::with_capacity(content.len());
    let mut coloured = false;
    for chunk in content.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = colour(rest) {
                out.push_str(sequence);
                coloured = !matches!(sequence, "\x1b[m" | "\x1b[0m");
                rest = &rest[sequence.len()..];
            } else {
                push(&mut out, c, c != '\t' && steers(c));
                rest = &rest[c.len_utf8()..];
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

/// JSON is escaped but for DEL, C1 and reordering characters, which can only stand inside its strings.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && steers(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn push(out: &mut String, c: char, escaped: bool) {
    match c {
        _ if !escaped => out.push(c),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if u32::from(c) < 0x100 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// C0, DEL, C1, line separators, and what overrides the direction of text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// The colour sequence that `text` begins with: `ESC [ digits ; … m`.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    (parameters[end..].starts_with('m') && end <= 32).then(|| &text[..end + 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_untouched() {
        assert!(matches!(line("größe ✓"), Cow::Borrowed("größe ✓")));
    }

    #[test]
    fn nothing_in_a_cell_steers_the_terminal() {
        assert_eq!(line("a\x1b[2Jb\x07\rc\nd\u{9b}e\u{202e}f\x7f"), "a\\x1b[2Jb\\x07\\rc\\nd\\x9be\\u{202e}f\\x7f");
        assert_eq!(line("\x1b]8;;http://evil\x07click"), "\\x1b]8;;http://evil\\x07click");
    }

    #[test]
    fn a_log_line_keeps_tabs_and_colours_alone() {
        assert_eq!(log(b"a\tb\x1b[31mred\x1b[0m"), "a\tb\x1b[31mred\x1b[0m");
        assert_eq!(log(b"\x1b[1;31mred"), "\x1b[1;31mred\x1b[0m");
        assert_eq!(log(b"\x1b[2K\x1b]0;title\x07"), "\\x1b[2K\\x1b]0;title\\x07");
        assert_eq!(log(b"50%\rfake"), "50%\\rfake");
        assert_eq!(log(b"windows\r"), "windows");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_as_such() {
        assert_eq!(log(b"a\xff\x9bb"), "a\\xff\\x9bb");
    }

    #[test]
    fn json_stays_json() {
        assert_eq!(json("{\n  \"a\": \"\u{9b}31m\"\n}"), "{\n  \"a\": \"\\u009b31m\"\n}");
    }
}
