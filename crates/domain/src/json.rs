//! JSON as text: checked, taken apart at the top, and never read as numbers, so that what comes in goes out byte for byte.

use std::collections::BTreeSet;
use std::str::Chars;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("must be a JSON object, like {{\"uri\": \"…\"}}")]
    NotAnObject,
    /// What stands there is not repeated: it may be a secret.
    #[error("is not JSON: byte {0} is not what JSON has there")]
    Malformed(usize),
    #[error("must not have the same key twice in one object, as at byte {0}")]
    Repeated(usize),
    #[error("must not be nested deeper than {0} levels")]
    TooDeep(usize),
}

/// The entries of an object in their order: each key read, each value as it is written.
pub fn entries(text: &str, deepest: usize) -> Result<Vec<(String, &str)>, JsonError> {
    let mut reader = Reader { text, at: 0, deepest };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(JsonError::NotAnObject);
    }
    let mut entries = Vec::new();
    reader.object(1, &mut |key, value| entries.push((key, value)))?;
    reader.space();
    if reader.at == text.len() { Ok(entries) } else { Err(JsonError::Malformed(reader.at)) }
}

/// The text of a value that is a string; none for any other.
pub fn string(value: &str) -> Option<String> {
    let mut reader = Reader { text: value, at: 0, deepest: 0 };
    let text = reader.string().ok()?;
    (reader.at == value.len()).then_some(text)
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    deepest: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn malformed<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Malformed(self.at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.malformed()
        }
    }

    fn object(&mut self, depth: usize, entry: &mut dyn FnMut(String, &'t str)) -> Result<(), JsonError> {
        if depth > self.deepest {
            return Err(JsonError::TooDeep(self.deepest));
        }
        self.eat(b'{')?;
        self.space();
        let mut keys = BTreeSet::new();
        if self.peek() == Some(b'}') {
            return self.eat(b'}');
        }
        loop {
            let start = self.at;
            let key = self.string()?;
            if !keys.insert(key.clone()) {
                return Err(JsonError::Repeated(start));
            }
            self.space();
            self.eat(b':')?;
            self.space();
            let start = self.at;
            self.value(depth)?;
            entry(key, self.text.get(start..self.at).unwrap_or_default());
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.eat(b'}'),
            }
            self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.deepest {
            return Err(JsonError::TooDeep(self.deepest));
        }
        self.eat(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            return self.eat(b']');
        }
        loop {
            self.value(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.eat(b']'),
            }
            self.space();
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1, &mut |_, _| {}),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.eat(byte))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.malformed() } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.eat(b'"')?;
        let mut text = String::new();
        let mut chars = self.text.get(self.at..).unwrap_or_default().chars();
        loop {
            match chars.next() {
                Some('"') => {
                    self.stand_before(&chars);
                    return Ok(text);
                }
                Some('\\') => {
                    let Some(c) = escape(&mut chars) else {
                        self.stand_before(&chars);
                        return self.malformed();
                    };
                    text.push(c);
                }
                Some(c) if c >= ' ' => text.push(c),
                _ => {
                    self.stand_before(&chars);
                    return self.malformed();
                }
            }
        }
    }

    fn stand_before(&mut self, rest: &Chars<'_>) {
        self.at = self.text.len() - rest.as_str().len();
    }
}

/// What an escape stands for; halves of a pair belong together.
fn escape(chars: &mut Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        c @ ('"' | '\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = four(chars)?;
            if !(0xd800..0xdc00).contains(&first) {
                return char::from_u32(first);
            }
            if (chars.next()?, chars.next()?) != ('\\', 'u') {
                return None;
            }
            let second = four(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
        }
        _ => return None,
    })
}

fn four(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| Some(number << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_taken_apart_at_the_top_and_kept_to_the_byte() {
        let text = r#" { "a" : 1.50e+05, "b\u00e9\ud83d\ude00\n" :[ 1,{"x":null } ], "":"\"q\"" } "#;
        let found = entries(text, 8).unwrap();
        let keys: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(keys, [("a", "1.50e+05"), ("bé😀\n", "[ 1,{\"x\":null } ]"), ("", "\"\\\"q\\\"\"")]);
        assert_eq!(string(keys[2].1).unwrap(), "\"q\"");
        assert_eq!(string("1"), None);
        assert_eq!(entries("{}", 1).unwrap(), []);
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_is_wrong() {
        for (text, at) in [
            ("{", 1),
            ("{}x", 2),
            ("{a:1}", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":01}", 6),
            ("{\"a\":1.}", 7),
            ("{\"a\":-}", 6),
            ("{\"a\":1,}", 7),
            ("{\"a\":[1,]}", 8),
            ("{\"a\":tru}", 8),
            ("{\"a\":NaN}", 5),
            ("{\"a\":\"\u{1}\"}", 7),
            ("{\"a\":\"\\x\"}", 8),
            ("{\"a\":\"\\ud800\"}", 14),
            ("{\"a\":\"b", 7),
            ("{\"a\":1}{", 7),
            ("{'a':1}", 1),
        ] {
            assert_eq!(entries(text, 8), Err(JsonError::Malformed(at)), "{text}");
        }
        for text in ["", "[]", "\"a\"", "1", "null", " ", "\u{feff}{}"] {
            assert_eq!(entries(text, 8), Err(JsonError::NotAnObject), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_keys_are_not_repeated_at_any_depth() {
        let nested = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        assert!(entries(&nested(8), 8).is_ok());
        assert_eq!(entries(&nested(9), 8), Err(JsonError::TooDeep(8)));
        assert_eq!(entries(&format!("{{\"a\":{}", "[".repeat(100_000)), 8), Err(JsonError::TooDeep(8)));
        assert_eq!(entries("{\"a\":1,\"\\u0061\":2}", 8), Err(JsonError::Repeated(7)));
        assert_eq!(entries("{\"b\":[{\"a\":1,\"a\":2}]}", 8), Err(JsonError::Repeated(13)));
    }

    #[test]
    fn a_quoted_text_reads_back_as_itself() {
        for text in ["", "a\"b\\c", "\u{0}\u{1f}\n\t\r", "é😀\u{2028}"] {
            assert_eq!(string(&quoted(text)).unwrap(), text);
        }
    }
}
