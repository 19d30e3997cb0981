//! Whether something is there to be used, or on its way out.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Active,
    /// For good: what is in it is being ended and cleared away, and nothing new is taken in.
    Deleting,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Deleting].into_iter().find(|standing| standing.as_str() == text)
    }
}
