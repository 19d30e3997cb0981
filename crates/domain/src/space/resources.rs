//! How much a Task of a Space gets: what it says itself, else its App, else the Space, within the Space's bounds.

use std::fmt::Display;

use crate::invalid::{Check, Invalid};
use crate::quantity::Resources;

/// What a Task gets when neither it nor its App says, and between which bounds what they say must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceRules {
    pub default: Resources,
    pub min: Resources,
    pub max: Resources,
}

impl ResourceRules {
    /// The three parsed already; here they are held against each other.
    pub fn check(&self) -> Result<(), Invalid> {
        let Self { default, min, max } = self;
        let mut check = Check::new();
        let mut held = |resource: &str, default: Option<u64>, min: Option<u64>, max: Option<u64>| {
            let beyond = |low: Option<u64>, high: Option<u64>| low.zip(high).is_some_and(|(low, high)| low > high);
            if beyond(min, max) {
                check.refuse(format!("space.min_resources.{resource}"), "must not be more than the maximum");
            }
            if beyond(min, default) || beyond(default, max) {
                check.refuse(format!("space.default_resources.{resource}"), "must lie between minimum and maximum");
            }
        };
        let memory = |resources: &Resources| resources.memory.map(|bytes| bytes.get());
        let disk = |resources: &Resources| resources.disk.map(|bytes| bytes.get());
        let cpu = |resources: &Resources| resources.cpu.map(|millis| millis.get());
        held("memory", memory(default), memory(min), memory(max));
        held("disk", disk(default), disk(min), disk(max));
        held("cpu", cpu(default), cpu(min), cpu(max));
        check.finish()
    }

    /// Whether what somebody says, under the path `field`, lies within the bounds.
    pub fn check_said(&self, field: &str, said: &Resources) -> Result<(), Invalid> {
        self.bounded(field, "", said)
    }

    /// What a Task gets that says `task`, of an App that says `app`. Where nobody says anything and there is a maximum, it is
    /// that: no limit would be more.
    pub fn resolve(&self, task: Resources, app: Resources) -> Result<Resources, Invalid> {
        let inherited = Resources {
            memory: app.memory.filter(|_| task.memory.is_none()),
            disk: app.disk.filter(|_| task.disk.is_none()),
            cpu: app.cpu.filter(|_| task.cpu.is_none()),
        };
        let mut check = Check::new();
        check.all(self.bounded("resources", "", &task));
        check.all(self.bounded("resources", " by its App: give the Task its own, or scale the App", &inherited));
        check.finish_with(Some(task.or(inherited).or(self.default).or(self.max)))
    }

    fn bounded(&self, field: &str, whose: &str, said: &Resources) -> Result<(), Invalid> {
        let Self { default: _, min, max } = self;
        let mut check = Check::new();
        bound(&mut check, (&format!("{field}.memory"), whose), said.memory, (min.memory, max.memory));
        bound(&mut check, (&format!("{field}.disk"), whose), said.disk, (min.disk, max.disk));
        bound(&mut check, (&format!("{field}.cpu"), whose), said.cpu, (min.cpu, max.cpu));
        check.finish()
    }
}

fn bound<T: Ord + Copy + Display>(
    check: &mut Check,
    (field, whose): (&str, &str),
    said: Option<T>,
    (min, max): (Option<T>, Option<T>),
) {
    let Some(said) = said else { return };
    if let Some(min) = min.filter(|min| said < *min) {
        check.refuse(field, format!("must be at least {min}, the Space's minimum, and is {said}{whose}"));
    }
    if let Some(max) = max.filter(|max| said > *max) {
        check.refuse(field, format!("must be at most {max}, the Space's maximum, and is {said}{whose}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(memory: &str, disk: &str, cpu: &str) -> Resources {
        Resources { memory: memory.parse().ok(), disk: disk.parse().ok(), cpu: cpu.parse().ok() }
    }

    fn nothing() -> Resources {
        Resources::default()
    }

    #[test]
    fn the_task_says_before_its_app_and_that_before_the_space() {
        let rules = ResourceRules {
            default: amounts("128Mi", "1Gi", ""),
            min: amounts("64Mi", "", "100m"),
            max: amounts("1Gi", "", "2"),
        };
        for (task, app, expected) in [
            (nothing(), nothing(), amounts("128Mi", "1Gi", "2")),
            (nothing(), amounts("256Mi", "", "1"), amounts("256Mi", "1Gi", "1")),
            (amounts("64Mi", "1Ti", "100m"), amounts("256Mi", "2Gi", "1"), amounts("64Mi", "1Ti", "100m")),
            // What the App says does not matter where the Task says something.
            (amounts("1Gi", "", ""), amounts("2Gi", "", ""), amounts("1Gi", "1Gi", "2")),
        ] {
            assert_eq!(rules.resolve(task, app), Ok(expected));
        }
        assert_eq!(ResourceRules::default().resolve(nothing(), nothing()), Ok(nothing()), "nobody says anything");
    }

    #[test]
    fn what_is_out_of_bounds_is_named_with_its_value_its_bound_and_where_it_came_from() {
        let rules =
            ResourceRules { min: amounts("64Mi", "", "500m"), max: amounts("1Gi", "2Gi", ""), ..Default::default() };
        let refused = |task, app| rules.resolve(task, app).unwrap_err().to_string();
        assert_eq!(
            refused(amounts("32Mi", "3Gi", "1m"), amounts("1Mi", "9Gi", "1m")),
            "resources.memory: must be at least 64Mi, the Space's minimum, and is 32Mi; \
             resources.disk: must be at most 2Gi, the Space's maximum, and is 3Gi; \
             resources.cpu: must be at least 500m, the Space's minimum, and is 1m"
        );
        assert_eq!(
            refused(nothing(), amounts("2Gi", "", "")),
            "resources.memory: must be at most 1Gi, the Space's maximum, and is 2Gi by its App: give the Task its own, or \
             scale the App"
        );
        assert_eq!(
            rules.check_said("app.resources", &amounts("", "3Gi", "1")).unwrap_err().to_string(),
            "app.resources.disk: must be at most 2Gi, the Space's maximum, and is 3Gi"
        );
        assert_eq!(rules.check_said("app.resources", &amounts("64Mi", "2Gi", "500m")), Ok(()), "the bounds are inside");
    }
}
