//! A quantity that holds from one moment to the next, thinned out to what a plot can show.

/// One stretch of time with one value: the value, or its mean over the stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// First second.
    pub(super) from: i64,
    /// First second after it.
    pub(super) to: i64,
    /// The value.
    pub(super) value: f64,
}

/// The values that hold from each moment on, until `end`, as at most `most` steps. With more moments than that, time is cut into equal
/// parts and each shows the mean over its time.
pub(super) fn steps(moments: &[(i64, f64)], end: i64, most: usize) -> Vec<Step> {
    let until = moments.iter().skip(1).map(|&(from, _)| from).chain([end]);
    let exact: Vec<Step> = moments
        .iter()
        .zip(until)
        .map(|(&(from, value), to)| Step { from, to, value })
        .filter(|step| step.to > step.from)
        .collect();
    let (Some(first), true) = (exact.first(), exact.len() > most && most > 0) else {
        return exact;
    };
    let begin = first.from;
    let span = end.saturating_sub(begin);
    let edge = |at: usize| {
        let part = i128::from(span) * at as i128 / most as i128;
        begin.saturating_add(i64::try_from(part).unwrap_or(i64::MAX))
    };
    let mut parts = Vec::with_capacity(most);
    let mut rest = exact.iter().peekable();
    for at in 0..most {
        let (from, to) = (edge(at), edge(at + 1));
        let mut sum = 0.0;
        while let Some(step) = rest.peek() {
            sum += step.value * (step.to.min(to) - step.from.max(from)) as f64;
            if step.to > to {
                break;
            }
            rest.next();
        }
        if to > from {
            parts.push(Step {
                from,
                to,
                value: sum / (to - from) as f64,
            });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(steps: &[Step]) -> f64 {
        steps.iter().map(|s| s.value * (s.to - s.from) as f64).sum()
    }

    #[test]
    fn few_moments_are_shown_as_they_are() {
        let step = |from, to, value| Step { from, to, value };
        assert_eq!(
            steps(&[(0, 1.0), (10, 3.0), (10, 4.0)], 30, 5),
            [step(0, 10, 1.0), step(10, 30, 4.0)]
        );
        assert_eq!(steps(&[], 30, 5), []);
        assert_eq!(steps(&[(7, 1.0)], 7, 5), []);
    }

    #[test]
    fn thinning_keeps_the_area_and_the_ends() {
        let moments: Vec<(i64, f64)> = (0..1000)
            .map(|at| (at * 7 + 3, f64::from(at as i32 % 13)))
            .collect();
        let end = 7_100;
        let all = steps(&moments, end, usize::MAX);
        for most in [1, 2, 17, 240, 999] {
            let thin = steps(&moments, end, most);
            assert!(thin.len() <= most);
            assert!((area(&thin) - area(&all)).abs() < 1e-6, "{most}");
            assert_eq!(thin.first().map(|s| s.from), Some(3));
            assert_eq!(thin.last().map(|s| s.to), Some(end));
            assert!(thin.windows(2).all(|pair| pair[0].to == pair[1].from));
        }
    }
}
