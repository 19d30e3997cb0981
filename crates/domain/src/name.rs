//! Resource names as AIP-122 writes them: `spaces/{space}/apps/{app}/tasks/{id}`.

use std::fmt;
use std::str::FromStr;

/// Longest [`Name`].
pub const NAME_MAX: usize = 50;

/// A DNS label: what a Space, an App or a Job is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("must be at most {NAME_MAX} characters long")]
    TooLong,
    #[error("must consist of a-z, 0-9 and -, and begin and end with a letter or digit")]
    NotALabel,
    #[error("must have the form {0}")]
    Form(&'static str),
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match text.as_bytes() {
            [] => Err(NameError::Empty),
            bytes if bytes.len() > NAME_MAX => Err(NameError::TooLong),
            [first, .., last] if *first == b'-' || *last == b'-' => Err(NameError::NotALabel),
            [b'-'] => Err(NameError::NotALabel),
            bytes if bytes.iter().all(|byte| inner(*byte)) => Ok(Self(text.to_owned())),
            _ => Err(NameError::NotALabel),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceName(pub Name);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName {
    pub space: Name,
    pub app: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName {
    pub space: Name,
    pub app: Name,
    /// 1, 2, 3… per App.
    pub id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName {
    pub space: Name,
    pub job: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName {
    pub space: Name,
    pub job: Name,
    pub schedule: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecurityGroupName {
    pub space: Name,
    pub group: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    pub space: Name,
    pub service: Name,
}

impl JobName {
    pub fn schedule(&self, schedule: Name) -> ScheduleName {
        ScheduleName { space: self.space.clone(), job: self.job.clone(), schedule }
    }
}

impl ScheduleName {
    pub fn job_name(&self) -> JobName {
        JobName { space: self.space.clone(), job: self.job.clone() }
    }
}

impl AppName {
    pub fn task(&self, id: u64) -> TaskName {
        TaskName { space: self.space.clone(), app: self.app.clone(), id }
    }
}

impl TaskName {
    pub fn app_name(&self) -> AppName {
        AppName { space: self.space.clone(), app: self.app.clone() }
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}", self.0)
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/apps/{}", self.space, self.app)
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/apps/{}/tasks/{}", self.space, self.app, self.id)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/jobs/{}", self.space, self.job)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/services/{}", self.space, self.service)
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/jobs/{}/schedules/{}", self.space, self.job, self.schedule)
    }
}

impl fmt::Display for SecurityGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spaces/{}/securityGroups/{}", self.space, self.group)
    }
}

/// The variable parts of `text`, when it has exactly the `collections` in order, each followed by one part.
fn parts<'a, const N: usize>(text: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut segments = text.split('/');
    let mut found = [""; N];
    for (slot, collection) in found.iter_mut().zip(collections) {
        if segments.next() != Some(collection) {
            return None;
        }
        *slot = segments.next()?;
    }
    segments.next().is_none().then_some(found)
}

impl FromStr for SpaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let [space] = parts(text, ["spaces"]).ok_or(NameError::Form("spaces/{space}"))?;
        Ok(Self(space.parse()?))
    }
}

impl FromStr for AppName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let [space, app] = parts(text, ["spaces", "apps"]).ok_or(NameError::Form("spaces/{space}/apps/{app}"))?;
        Ok(Self { space: space.parse()?, app: app.parse()? })
    }
}

impl FromStr for JobName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let [space, job] = parts(text, ["spaces", "jobs"]).ok_or(NameError::Form("spaces/{space}/jobs/{job}"))?;
        Ok(Self { space: space.parse()?, job: job.parse()? })
    }
}

impl FromStr for SecurityGroupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const FORM: NameError = NameError::Form("spaces/{space}/securityGroups/{group}");
        let [space, group] = parts(text, ["spaces", "securityGroups"]).ok_or(FORM)?;
        Ok(Self { space: space.parse()?, group: group.parse()? })
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const FORM: NameError = NameError::Form("spaces/{space}/services/{service}");
        let [space, service] = parts(text, ["spaces", "services"]).ok_or(FORM)?;
        Ok(Self { space: space.parse()?, service: service.parse()? })
    }
}

impl FromStr for ScheduleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const FORM: NameError = NameError::Form("spaces/{space}/jobs/{job}/schedules/{id}");
        let [space, job, schedule] = parts(text, ["spaces", "jobs", "schedules"]).ok_or(FORM)?;
        Ok(Self { space: space.parse()?, job: job.parse()?, schedule: schedule.parse()? })
    }
}

impl FromStr for TaskName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const FORM: NameError = NameError::Form("spaces/{space}/apps/{app}/tasks/{id}, with a number from 1 as id");
        let [space, app, id] = parts(text, ["spaces", "apps", "tasks"]).ok_or(FORM)?;
        let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0');
        let id = if plain {
            id.parse::<i64>().map_err(|_| FORM)?
        } else {
            return Err(FORM);
        };
        Ok(Self { space: space.parse()?, app: app.parse()?, id: id.unsigned_abs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["a", "0", "a-b", "a--b", "t-rex", &"x".repeat(NAME_MAX)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in [
            "",
            "-",
            "-a",
            "a-",
            "A",
            "a.b",
            "a b",
            "a_b",
            "ä",
            "a\0",
            "a/b",
            "a%2f",
            ".",
            "..",
            ">",
            "*",
            "a\n",
            "а",
            "a\u{200b}",
            "a\u{202e}",
            &long,
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn resource_names_survive_a_round_trip() {
        for text in ["spaces/s/apps/a/tasks/1", "spaces/s/apps/a/tasks/9223372036854775807"] {
            assert_eq!(text.parse::<TaskName>().unwrap().to_string(), text);
        }
        assert_eq!("spaces/s/apps/a".parse::<AppName>().unwrap().to_string(), "spaces/s/apps/a");
        assert_eq!("spaces/s".parse::<SpaceName>().unwrap().to_string(), "spaces/s");
    }

    #[test]
    fn anything_else_is_no_resource_name() {
        for bad in [
            "",
            "spaces",
            "spaces/",
            "spaces/s/",
            "/spaces/s",
            "space/s",
            "spaces/s/apps",
            "spaces/s/apps/",
            "spaces/s/apps/-/tasks/1",
            "spaces/s/apps/a/tasks/0",
            "spaces/s/apps/a/tasks/01",
            "spaces/s/apps/a/tasks/+1",
            "spaces/s/apps/a/tasks/-1",
            "spaces/s/apps/a/tasks/1/",
            "spaces/s/apps/a/tasks/9223372036854775808",
            "spaces/s/jobs/a/tasks/1",
            "spaces/../apps/a/tasks/1",
        ] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad:?} was accepted");
        }
    }
}
