//! Numbers of several slices: the one in the middle, and how far the others are from it.

use std::fmt;
use std::time::Duration;

/// Shown as `0.71 (0.64–0.80)`.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    least: f64,
    middle: f64,
    most: f64,
}

impl Spread {
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        Self { least: numbers[0], middle: numbers[numbers.len() / 2], most: numbers[numbers.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { least, middle, most } = self;
        write!(f, "{middle:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

/// Of times in order: the one that this share of them does not exceed.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a length"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
