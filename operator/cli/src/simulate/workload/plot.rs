//! One quantity over time as an SVG drawing.

use std::fmt::Write as _;

use super::report::duration;
use super::steps::{Step, steps};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 28.0;
/// Most steps that are drawn: about one for two pixels of a wide screen.
const MAX_STEPS: usize = 600;
/// Stretches that show their value under the pointer.
const MAX_HOVER: usize = 160;
/// Most marks on either axis.
const MAX_MARKS: u32 = 12;
/// Seconds between marks of the time axis: whole parts of a minute, an hour, a day; then days.
const TIME_MARKS: [i64; 24] = [
    1,
    2,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
    1_800,
    3_600,
    7_200,
    14_400,
    21_600,
    43_200,
    86_400,
    172_800,
    432_000,
    864_000,
    2_592_000,
    8_640_000,
    31_536_000,
    157_680_000,
    315_360_000,
];

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot<'a> {
    /// What it is, for people who cannot see it.
    pub(super) title: &'a str,
    /// Unit behind values, with the space that belongs before it.
    pub(super) unit: &'a str,
    /// Values that hold from each moment on.
    pub(super) moments: &'a [(i64, f64)],
    /// End of the last value.
    pub(super) end: i64,
    /// Upper end of the scale, where it is fixed.
    pub(super) top: Option<f64>,
    /// Smallest distance of two marks on the scale; 1 for things that are counted.
    pub(super) least_mark: f64,
}

/// The drawing: an area under a line with steps, grid lines, marks, and values under the pointer.
pub(super) fn svg(plot: &Plot<'_>) -> String {
    let begin = plot.moments.first().map_or(0, |&(seconds, _)| seconds);
    let span = (plot.end.saturating_sub(begin)).max(1) as f64;
    let drawn = steps(plot.moments, plot.end, MAX_STEPS);
    let highest = drawn.iter().map(|step| step.value).fold(0.0, f64::max);
    let mark = value_mark(plot.top.unwrap_or(highest)).max(plot.least_mark);
    let top = plot
        .top
        .unwrap_or_else(|| (highest / mark).ceil().max(1.0) * mark);
    let x = |seconds: i64| LEFT + (seconds - begin) as f64 / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value / top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);

    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over time, at most {}{}\">\n",
        plot.title,
        number(highest),
        plot.unit
    );
    for at in 0..=MAX_MARKS {
        let value = f64::from(at) * mark;
        if value > top * 1.000_001 {
            break;
        }
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {:.1}H{}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
            y(value),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(value) + 4.0,
            number(value)
        );
    }
    let step = time_mark(span as i64);
    for at in 0..=MAX_MARKS {
        let seconds = step.saturating_mul(i64::from(at));
        if seconds as f64 > span {
            break;
        }
        let at = x(begin.saturating_add(seconds));
        // The last mark would run over the edge.
        let anchor = if at > WIDTH - 40.0 { " end" } else { "" };
        let _ = writeln!(
            out,
            "<text class=\"x{anchor}\" x=\"{at:.1}\" y=\"{}\">{}</text>",
            HEIGHT - 8.0,
            time_label(seconds)
        );
    }
    if let Some(first) = drawn.first() {
        let mut line = format!("M{:.1} {:.1}", x(first.from), y(first.value));
        for step in &drawn {
            let _ = write!(line, "V{:.1}H{:.1}", y(step.value), x(step.to));
        }
        let base = y(0.0);
        let _ = writeln!(
            out,
            "<path class=\"area\" d=\"{line}V{base:.1}H{:.1}Z\"/><path class=\"line\" d=\"{line}\"/>",
            x(first.from)
        );
    }
    for part in hover(plot) {
        let _ = writeln!(
            out,
            "<rect class=\"hover\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>{}: {}{}</title></rect>",
            x(part.from),
            x(part.to) - x(part.from),
            HEIGHT - TOP - BOTTOM,
            duration(part.from - begin),
            number(part.value),
            plot.unit
        );
    }
    out.push_str("</svg>\n");
    out
}

fn hover(plot: &Plot<'_>) -> Vec<Step> {
    steps(plot.moments, plot.end, MAX_HOVER)
}

/// Distance of marks on the scale: 1, 2 or 5 times a power of ten, so that there are three to six of them.
fn value_mark(highest: f64) -> f64 {
    if !(highest.is_finite() && highest > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let wanted = highest / 5.0 / power;
    let times = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|times| wanted <= *times * 1.000_001)
        .unwrap_or(10.0);
    times * power
}

fn time_mark(span: i64) -> i64 {
    let longest = TIME_MARKS.last().copied().unwrap_or(1);
    TIME_MARKS
        .into_iter()
        .find(|mark| span / mark <= 7)
        // A dozen marks at most, however long it takes.
        .unwrap_or_else(|| longest.max(span / 7))
}

/// A mark of the time axis: one unit, since marks stand at whole ones.
fn time_label(seconds: i64) -> String {
    if seconds == 0 {
        return "0".to_owned();
    }
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "min")] {
        if seconds % unit == 0 {
            return format!("{} {name}", seconds / unit);
        }
    }
    duration(seconds)
}

/// At most four digits that matter, with k and M above a thousand.
fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_marks() {
        for (highest, mark) in [
            (0.0, 1.0),
            (1.0, 0.2),
            (3.0, 1.0),
            (100.0, 20.0),
            (12_345.0, 5_000.0),
            (f64::NAN, 1.0),
        ] {
            assert!(
                (value_mark(highest) - mark).abs() < 1e-9,
                "{highest}: {}",
                value_mark(highest)
            );
        }
        for span in [1, 59, 3_600, 86_400 * 3, i64::MAX] {
            assert!(span / time_mark(span) <= 8, "{span}");
        }
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (99.96, "100"),
            (1234.0, "1234"),
            (40_800.0, "40.8k"),
            (2.5e6, "2.5M"),
        ] {
            assert_eq!(number(value), text);
        }
        for (seconds, text) in [
            (0, "0"),
            (90, "1m30s"),
            (1_800, "30 min"),
            (43_200, "12 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(time_label(seconds), text);
        }
    }

    #[test]
    fn a_line_goes_in_steps_from_edge_to_edge() {
        let plot = Plot {
            title: "Queue",
            unit: " jobs",
            moments: &[(0, 2.0), (3_600, 4.0), (7_200, 0.0)],
            end: 14_400,
            top: None,
            least_mark: 1.0,
        };
        let drawing = svg(&plot);
        assert!(
            drawing.contains(
                "<path class=\"line\" d=\"M56.0 101.0V101.0H199.0V10.0H342.0V192.0H628.0\"/>"
            ),
            "{drawing}"
        );
        assert!(drawing.contains("<title>1h0m: 4 jobs</title>"), "{drawing}");
        assert!(
            drawing.contains("Queue over time, at most 4 jobs"),
            "{drawing}"
        );
    }

    #[test]
    fn a_drawing_without_values_and_one_of_extremes_are_drawn() {
        let cases: [(&[(i64, f64)], i64); 4] = [
            (&[], 0),
            (&[(0, 0.0)], 0),
            (&[(0, 1e18), (1, 0.0)], i64::MAX),
            (&[(5, 3.0), (6, 4.0)], 7),
        ];
        for (moments, end) in cases {
            let plot = Plot {
                title: "t",
                unit: "",
                moments,
                end,
                top: None,
                least_mark: 0.0,
            };
            let drawing = svg(&plot);
            assert!(drawing.starts_with("<svg") && drawing.ends_with("</svg>\n"));
            assert!(
                !drawing.contains("NaN") && !drawing.contains("inf"),
                "{drawing}"
            );
            assert!(drawing.len() < 5_000, "{}", drawing.len());
        }
    }
}
