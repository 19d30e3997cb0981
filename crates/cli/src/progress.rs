//! Bars and spinners, on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::escape;
use crate::output::{Screen, Side};

/// Something that shows that work goes on; it clears itself when dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For a wait of unknown length.
    pub fn spinner(screen: &Screen, text: String) -> Self {
        if !screen.is_terminal(Side::Err) {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(escape::line(&text).into_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// For a number of bytes.
    pub fn bytes(screen: &Screen, text: String, size: u64) -> Self {
        if !screen.is_terminal(Side::Err) {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(size).with_message(escape::line(&text).into_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// A handle for another task to advance the same bar.
    pub fn bar(&self) -> ProgressBar {
        self.0.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
