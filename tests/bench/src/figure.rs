//! One figure a line: what was measured, its unit, its spread, and the goal that it is held against.

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Less than this.
    Below(f64),
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::Below(most) => value < most,
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Below(most) => format!("below {}", shown(most)),
            Self::AtMost(most) => format!("at most {}", shown(most)),
            Self::AtLeast(least) => format!("at least {}", shown(least)),
        }
    }
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    spread: String,
    goal: Option<Goal>,
}

impl Figure {
    /// The median of several runs.
    pub fn of_runs(name: impl Into<String>, unit: &'static str, mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        let at = |place: usize| runs.get(place).copied().unwrap_or(f64::NAN);
        let spread = match runs.len() {
            1 => "1 run".to_owned(),
            count => format!(
                "median of {count} runs, {} to {}",
                shown(at(0)),
                shown(at(count.saturating_sub(1)))
            ),
        };
        Self {
            name: name.into(),
            unit,
            value: at(runs.len() / 2),
            spread,
            goal: None,
        }
    }

    /// A value that says itself what it is the mean, the worst or the sum of.
    pub fn one(
        name: impl Into<String>,
        unit: &'static str,
        value: f64,
        spread: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            spread: spread.into(),
            goal: None,
        }
    }

    /// With a goal.
    pub fn goal(self, goal: Goal) -> Self {
        Self {
            goal: Some(goal),
            ..self
        }
    }

    /// Prints the line.
    pub fn print(&self) {
        let Self {
            name, unit, spread, ..
        } = self;
        let goal = self.goal.map_or_else(String::new, |goal| {
            let word = if goal.is_met(self.value) {
                "met"
            } else {
                "MISSED"
            };
            format!("; goal {}: {word}", goal.text())
        });
        let space = if unit.is_empty() { "" } else { " " };
        println!(
            "{name}: {}{space}{unit} ({spread}){goal}",
            shown(self.value)
        );
    }
}

/// With three digits or so, and none behind the point of a whole number.
pub fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// `1 seed`, `10 seeds`.
pub fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// The mean of some values; not a number without any.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The smallest and the largest.
pub fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed() {
        for (goal, value, met) in [
            (Goal::Below(1.0), 1.0, false),
            (Goal::AtMost(1.0), 1.0, true),
            (Goal::AtLeast(1.0), 0.99, false),
            (Goal::AtLeast(1.0), f64::NAN, false),
        ] {
            assert_eq!(goal.is_met(value), met, "{goal:?} {value}");
        }
    }

    #[test]
    fn the_median_is_a_run() {
        let figure = Figure::of_runs("f", "ms", vec![3.0, 1.0, 2.0]);
        assert_eq!(figure.value, 2.0);
        assert_eq!(figure.spread, "median of 3 runs, 1 to 3");
        assert_eq!(shown(0.1234), "0.123");
        assert_eq!(shown(1234.5), "1234");
    }
}
