//! Amounts of memory, disk and CPU, in Kubernetes or Cloud Foundry units.

use std::fmt;
use std::str::FromStr;

const KI: u64 = 1 << 10;
const MI: u64 = 1 << 20;
const GI: u64 = 1 << 30;
const TI: u64 = 1 << 40;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

/// Thousandths of a CPU core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuMillis(u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("must be an amount like 256M, 1Gi or 1.5G")]
    NotBytes,
    #[error("must be at least 1Mi (a number without a unit means bytes)")]
    TooFewBytes,
    #[error("must be at most 1024Ti")]
    TooManyBytes,
    #[error("must be a number of cores like 0.5, 2 or 500m")]
    NotCpu,
    #[error("must be at least 1m, a thousandth of a core, and at most 1024 cores")]
    CpuOutOfRange,
}

impl Bytes {
    pub const MIN: Self = Self(MI);
    pub const MAX: Self = Self(1024 * TI);

    /// An amount within the bounds.
    pub fn new(bytes: u64) -> Result<Self, QuantityError> {
        if bytes < Self::MIN.0 {
            Err(QuantityError::TooFewBytes)
        } else if bytes > Self::MAX.0 {
            Err(QuantityError::TooManyBytes)
        } else {
            Ok(Self(bytes))
        }
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// Whole mebibytes, rounded down.
    pub fn mebibytes(self) -> u64 {
        self.0 / MI
    }
}

impl CpuMillis {
    pub const MAX: Self = Self(1024 * 1000);

    pub fn new(millis: u64) -> Result<Self, QuantityError> {
        if millis == 0 || millis > Self::MAX.0 { Err(QuantityError::CpuOutOfRange) } else { Ok(Self(millis)) }
    }

    pub fn get(self) -> u64 {
        self.0
    }
}

/// `number × unit`, when `number` is plain decimal and the product is whole and fits. No float is involved: `0.1G` is refused
/// rather than rounded.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let malformed =
        whole.is_empty() || !digits(whole) || !digits(fraction) || (number.contains('.') && fraction.is_empty());
    if malformed || whole.len() > 19 || fraction.len() > 9 {
        return None;
    }
    let denominator = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let numerator =
        whole.parse::<u128>().ok()? * denominator + if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let product = numerator * u128::from(unit);
    if product % denominator != 0 { None } else { u64::try_from(product / denominator).ok() }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    /// K, M, G and T mean Ki, Mi, Gi and Ti, as kf and cf read them.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit = match unit {
            "" | "B" | "b" => 1,
            "K" | "k" | "KB" | "kb" | "Ki" => KI,
            "M" | "m" | "MB" | "mb" | "Mi" => MI,
            "G" | "g" | "GB" | "gb" | "Gi" => GI,
            "T" | "t" | "TB" | "tb" | "Ti" => TI,
            _ => return Err(QuantityError::NotBytes),
        };
        // A lower-case m is milli to Kubernetes and mega to cf: refuse what could be meant either way.
        if text.ends_with('m') {
            return Err(QuantityError::NotBytes);
        }
        Self::new(scaled(number, unit).ok_or(QuantityError::NotBytes)?)
    }
}

impl FromStr for CpuMillis {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
        Self::new(scaled(number, unit).ok_or(QuantityError::NotCpu)?)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, suffix) in [(TI, "Ti"), (GI, "Gi"), (MI, "Mi"), (KI, "Ki")] {
            if self.0.is_multiple_of(unit) {
                return write!(f, "{}{suffix}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

/// What a Task may use; unset where nobody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    pub memory: Option<Bytes>,
    pub disk: Option<Bytes>,
    pub cpu: Option<CpuMillis>,
}

impl Resources {
    /// These, and where they are unset, `outer`.
    pub fn or(self, outer: Self) -> Self {
        Self { memory: self.memory.or(outer.memory), disk: self.disk.or(outer.disk), cpu: self.cpu.or(outer.cpu) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_both_dialects() {
        for (text, bytes) in [
            ("256M", 256 * MI),
            ("1Gi", GI),
            ("1G", GI),
            ("1.5G", GI + GI / 2),
            ("1048576", MI),
            ("2048K", 2 * MI),
            ("512MB", 512 * MI),
            ("1T", TI),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap().get(), bytes, "{text}");
        }
    }

    #[test]
    fn cpu_is_read_as_cores_or_thousandths() {
        for (text, millis) in [("0.5", 500), ("500m", 500), ("2", 2000), ("0.001", 1), ("1.250", 1250)] {
            assert_eq!(text.parse::<CpuMillis>().unwrap().get(), millis, "{text}");
        }
    }

    #[test]
    fn nonsense_amounts_are_refused() {
        let long = "9".repeat(100_000);
        for bad in [
            "",
            "-1",
            "0",
            "1e400",
            "NaN",
            "inf",
            "1Ei",
            "0.1m",
            "1 Gi",
            "١",
            "1.",
            ".5G",
            "1..5G",
            "+1G",
            "0x10",
            "1023",
            "0.3G",
            "99999999999999999999G",
            "1025T",
            &long,
        ] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad:.20?} was accepted as bytes");
        }
        for bad in ["", "-1", "0", "0m", "1e400", "NaN", "0.1m", "0.0001", "1 ", "١", "1025", "1Gi", &long] {
            assert!(bad.parse::<CpuMillis>().is_err(), "{bad:.20?} was accepted as cpu");
        }
    }

    #[test]
    fn an_amount_prints_as_it_can_be_read_again() {
        for text in ["256Mi", "1Gi", "1025Ki", "1048577"] {
            let bytes: Bytes = if text == "1025Ki" { Bytes::new(1025 * KI).unwrap() } else { text.parse().unwrap() };
            assert_eq!(bytes.to_string(), text);
        }
        assert_eq!("1.25".parse::<CpuMillis>().unwrap().to_string(), "1250m");
        assert_eq!("3000m".parse::<CpuMillis>().unwrap().to_string(), "3");
    }
}
