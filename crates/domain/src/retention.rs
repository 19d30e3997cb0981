//! Which finished Tasks of an App stay, and why others go.

use crate::invalid::Invalid;
pub use crate::space::Retention;

impl Retention {
    /// How many finished Tasks stay beside so many live ones, the newest by number. Live ones always stay; where the App's
    /// failed Tasks have a count of their own, this is about the others.
    pub fn keeps(&self, live: u32) -> u32 {
        self.count.saturating_sub(live).max(self.minimum_finished)
    }

    /// An App's own count; none, as zero says it: its Space's.
    pub fn parse_own(field: &str, count: i64) -> Result<Option<u32>, Invalid> {
        match u32::try_from(count) {
            Ok(0) => Ok(None),
            Ok(count) if count <= Self::COUNT_MAX => Ok(Some(count)),
            _ => {
                let max = Self::COUNT_MAX;
                Err(Invalid::one(field, format!("must be between 1 and {max}, or 0 for what the Space says")))
            }
        }
    }

    /// For an App that may have a count of its own.
    pub fn of_app(self, own: Option<u32>) -> Self {
        Self { count: own.unwrap_or(self.count), ..self }
    }
}

/// Why a finished Task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its App has newer ones, as many as it keeps.
    Count,
    /// It ended too long ago.
    Age,
    /// Its App has newer failed ones, as many of those as it keeps.
    FailedCount,
    /// Somebody deleted it, or what it belongs to.
    Deleted,
}

impl Cause {
    pub const ALL: [Self; 4] = [Self::Count, Self::Age, Self::FailedCount, Self::Deleted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Age => "AGE",
            Self::FailedCount => "FAILED_COUNT",
            Self::Deleted => "DELETED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_tasks_take_the_places_of_finished_ones_down_to_the_minimum() {
        let rule = Retention::default();
        let kept = [0, 1, 449, 450, 451, 600, u32::MAX].map(|live| rule.keeps(live));
        assert_eq!(kept, [500, 499, 51, 50, 50, 50, 50]);
        let exact = Retention { minimum_finished: 0, ..rule };
        assert_eq!([0, 499, 500, 501].map(|live| exact.keeps(live)), [500, 1, 0, 0]);
        assert_eq!(
            (rule.of_app(Some(60)).keeps(3), rule.of_app(Some(10)).keeps(3), rule.of_app(None).keeps(0)),
            (57, 50, 500)
        );
    }

    #[test]
    fn each_cause_is_found_again_by_its_spelling() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
    }
}
