//! What the pod tells its guard.
//!
//! | Variable | Is |
//! |---|---|
//! | `TASKPLANE_TICKETS` | `HOST:PORT` of whoever answers; several with commas between |
//! | `TASKPLANE_TICKET_PINS` | SHA-256 of the certificates they may show, in hexadecimal; several with commas between |
//! | `TASKPLANE_TASK_UID`, `TASKPLANE_ATTEMPT` | whose start it is |
//! | `TASKPLANE_POD_UID` | which pod this is |
//! | `TASKPLANE_START_TOKEN` | shows that the question comes from this attempt |
//! | `TASKPLANE_START_WITHIN` | seconds in which it must be answered |
//! | `TASKPLANE_ANSWER_FILE` | where the answer is written too; may be left out |
#![expect(clippy::disallowed_methods, reason = "a guard has no command line: its pod speaks to it by environment")]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// SHA-256 of a certificate.
pub type Pin = [u8; 32];

pub struct Settings {
    pub addresses: Vec<String>,
    pub pins: Vec<Pin>,
    pub task_uid: String,
    pub attempt: u32,
    pub pod_uid: String,
    pub token: String,
    pub within: Duration,
    pub answer_file: Option<PathBuf>,
}

/// Says which variable, and nothing of its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(&'static str);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing or makes no sense", self.0)
    }
}

impl Settings {
    pub fn read() -> Result<Self, Wrong> {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, Wrong> {
        let needed = |name| variable(name).filter(|value| !value.is_empty()).ok_or(Wrong(name));
        let parts = |name| -> Result<Vec<String>, Wrong> {
            Ok(needed(name)?.split(',').map(|part| part.trim().to_owned()).collect())
        };
        let number = |name| needed(name)?.parse::<u64>().map_err(|_| Wrong(name));
        let addresses = parts("TASKPLANE_TICKETS")?;
        if !addresses.iter().all(|address| is_address(address)) {
            return Err(Wrong("TASKPLANE_TICKETS"));
        }
        let pins: Option<Vec<_>> = parts("TASKPLANE_TICKET_PINS")?.iter().map(|pin| parse_pin(pin)).collect();
        Ok(Self {
            addresses,
            pins: pins.ok_or(Wrong("TASKPLANE_TICKET_PINS"))?,
            task_uid: needed("TASKPLANE_TASK_UID")?,
            attempt: u32::try_from(number("TASKPLANE_ATTEMPT")?).map_err(|_| Wrong("TASKPLANE_ATTEMPT"))?,
            pod_uid: needed("TASKPLANE_POD_UID")?,
            token: needed("TASKPLANE_START_TOKEN")?,
            within: Duration::from_secs(number("TASKPLANE_START_WITHIN")?),
            answer_file: variable("TASKPLANE_ANSWER_FILE").filter(|file| !file.is_empty()).map(PathBuf::from),
        })
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn parse_pin(text: &str) -> Option<Pin> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(name: &'static str) -> Option<String> {
        let value = match name {
            "TASKPLANE_TICKETS" => "tickets.taskplane.svc:7073, 10.0.0.1:7073",
            "TASKPLANE_TASK_UID" => "018f6c2e-9b7d-7c3a-a1b2-c3d4e5f60718",
            "TASKPLANE_ATTEMPT" => "1",
            "TASKPLANE_POD_UID" => "pod",
            "TASKPLANE_START_TOKEN" => "canary",
            "TASKPLANE_START_WITHIN" => "3600",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn with(name: &'static str, value: Option<&str>) -> Result<Settings, Wrong> {
        let pin = "5a".repeat(32);
        Settings::from(|asked| match asked {
            _ if asked == name => value.map(str::to_owned),
            "TASKPLANE_TICKET_PINS" => Some(pin.clone()),
            _ => usual(asked),
        })
    }

    #[test]
    fn everything_it_needs_is_read() {
        let settings = with("", None).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(settings.addresses, ["tickets.taskplane.svc:7073", "10.0.0.1:7073"]);
        assert_eq!((settings.pins, settings.attempt), (vec![[0x5a; 32]], 1));
        assert_eq!((settings.within, settings.answer_file), (Duration::from_secs(3600), None));
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        for (name, value) in [
            ("TASKPLANE_TICKETS", None),
            ("TASKPLANE_TICKETS", Some("nowhere")),
            ("TASKPLANE_TICKETS", Some("a:1,b:0")),
            ("TASKPLANE_TICKET_PINS", Some("5a5a")),
            ("TASKPLANE_TICKET_PINS", Some("")),
            ("TASKPLANE_ATTEMPT", Some("-1")),
            ("TASKPLANE_ATTEMPT", Some("4294967296")),
            ("TASKPLANE_START_TOKEN", None),
            ("TASKPLANE_START_WITHIN", Some("soon")),
        ] {
            let wrong = with(name, value).err().unwrap_or_else(|| panic!("{name} {value:?}"));
            assert_eq!(wrong.to_string(), format!("{name} is missing or makes no sense"));
        }
    }
}
