//! `filter` and `order_by` of list requests: the part of AIP-160 and AIP-132 that Tasks need.

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::Name;
use taskplane_domain::task::StateKind;

const FILTER_MAX: usize = 1024;

/// Which Tasks to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Any of these; empty means all.
    pub states: Vec<StateKind>,
    pub job: Option<Name>,
}

impl TaskFilter {
    /// Reads `state=RUNNING`, `state=(PENDING OR RUNNING)`, `job="nightly"`, joined by AND.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut check = Check::new();
        if text.len() > FILTER_MAX {
            check.refuse("filter", format!("must be at most {FILTER_MAX} bytes long"));
            return check.finish_with(None);
        }
        let mut filter = Self::default();
        let mut tokens = tokens(text).into_iter().peekable();
        while tokens.peek().is_some() {
            let term = (tokens.next(), tokens.next());
            match term {
                (Some(Token::Word("state")), Some(Token::Sign('='))) => match states(&mut tokens) {
                    Some(states) if filter.states.is_empty() => filter.states = states,
                    Some(_) => check.refuse("filter", "must not restrict state twice: use state=(A OR B)"),
                    None => check.refuse(
                        "filter",
                        "must have a state like PENDING, RUNNING or (PENDING OR RUNNING) after state=",
                    ),
                },
                (Some(Token::Word("job")), Some(Token::Sign('='))) => {
                    let job = match tokens.next() {
                        Some(Token::Word(word) | Token::Quoted(word)) => {
                            word.rsplit('/').next().unwrap_or(word).parse().ok()
                        }
                        Some(Token::Sign(_)) | None => None,
                    };
                    if job.is_none() || filter.job.is_some() {
                        check.refuse("filter", "must have one name of a Job after job=");
                    }
                    filter.job = job;
                }
                _ => {
                    check.refuse("filter", "must consist of state=… and job=… joined by AND");
                    break;
                }
            }
            match tokens.next() {
                None => {}
                Some(Token::Word("AND")) if tokens.peek().is_some() => {}
                Some(_) => {
                    check.refuse("filter", "must consist of state=… and job=… joined by AND");
                    break;
                }
            }
        }
        check.finish_with(Some(filter))
    }
}

fn states<'a>(tokens: &mut impl Iterator<Item = Token<'a>>) -> Option<Vec<StateKind>> {
    let state = |token: Option<Token<'a>>| match token {
        Some(Token::Word(word) | Token::Quoted(word)) => StateKind::parse(word),
        Some(Token::Sign(_)) | None => None,
    };
    match tokens.next() {
        Some(Token::Sign('(')) => {
            let mut states = vec![state(tokens.next())?];
            loop {
                match tokens.next()? {
                    Token::Sign(')') => return Some(states),
                    Token::Word("OR") => states.push(state(tokens.next())?),
                    Token::Word(_) | Token::Quoted(_) | Token::Sign(_) => return None,
                }
            }
        }
        token => Some(vec![state(token)?]),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
            tokens.push(Token::Quoted(rest[1..end].trim_end_matches('"')));
            end
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[taken..].trim_start();
    }
    tokens
}

/// True for newest first, which is the default.
pub fn newest_first(order_by: &str) -> Result<bool, Invalid> {
    match order_by.trim() {
        "" | "create_time desc" => Ok(true),
        "create_time" | "create_time asc" => Ok(false),
        _ => Err(Invalid::one("order_by", "must be `create_time` or `create_time desc`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_documented_form_are_read() {
        let filter = TaskFilter::parse(r#"state=(PENDING OR RUNNING) AND job="nightly""#).unwrap();
        assert_eq!(filter.states, [StateKind::Pending, StateKind::Running]);
        assert_eq!(filter.job.unwrap().as_str(), "nightly");
        assert_eq!(TaskFilter::parse(" state = FAILED ").unwrap().states, [StateKind::Failed]);
        assert_eq!(TaskFilter::parse("job=spaces/s/jobs/j").unwrap().job.unwrap().as_str(), "j");
        assert_eq!(TaskFilter::parse("").unwrap(), TaskFilter::default());
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = "(".repeat(1000);
        let long = "state=RUNNING AND ".repeat(100);
        for bad in [
            "state",
            "state=",
            "state=running",
            "state=RUNNING OR",
            "state=RUNNING AND",
            "AND",
            "state=(",
            "state=()",
            "state=(RUNNING",
            "name=x",
            "state!=RUNNING",
            "' OR 1=1--",
            "job=",
            "job=\"",
            "job=%",
            "state=RUNNING state=FAILED",
            "state=RUNNING AND state=FAILED",
            "état=RUNNING",
            &deep,
            &long,
        ] {
            assert!(TaskFilter::parse(bad).is_err(), "{bad:.40?} was accepted");
        }
    }

    #[test]
    fn only_known_orders_are_taken() {
        assert_eq!(newest_first(""), Ok(true));
        assert_eq!(newest_first("create_time"), Ok(false));
        assert!(newest_first("name; drop table tasks").is_err());
    }
}
