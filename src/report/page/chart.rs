//! Curves as SVG.

use std::fmt::Write;

use indexmap::IndexMap;

use super::super::drawing::escaped;
use super::{Evaluation, Stage};

/// Of a chart's drawing, in its own units, which are about pixels.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;

/// A curve is drawn with at most so many points: more can't be seen.
const MOST_POINTS: usize = 400;
/// So many curves have a colour of their own.
const COLOURS: usize = 6;

/// A curve with its name.
struct Series<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// A figure for each family of stages and each quantity; nothing where nothing was recorded.
pub(super) fn curves(stages: &[Stage]) -> String {
    let mut families: IndexMap<&str, Vec<&Stage>> = IndexMap::new();
    for stage in stages {
        families.entry(stage.family.as_str()).or_default().push(stage);
    }
    let mut out = String::new();
    for (family, stages) in families {
        let mut figures = figure("training loss", "step", series(&stages, |stage| stage.journal.loss.clone()));
        let of_dev = |stage: &Stage, value: &dyn Fn(&Evaluation) -> Option<f64>| {
            let dev = stage.journal.evaluations.iter().filter(|one| one.split == "dev" && one.epoch > 0.0);
            dev.filter_map(|one| Some((one.epoch, value(one)?))).collect::<Vec<_>>()
        };
        figures += &figure("dev loss", "epoch", series(&stages, |stage| of_dev(stage, &|one| Some(one.loss))));
        let mut names: Vec<&str> = vec![];
        for (name, _) in stages.iter().flat_map(|stage| &stage.journal.evaluations).flat_map(|one| &one.metrics) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        for name in names {
            let value =
                |one: &Evaluation| one.metrics.iter().find(|(metric, _)| metric == name).map(|(_, value)| *value);
            figures += &figure(&format!("dev {name}"), "epoch", series(&stages, |stage| of_dev(stage, &value)));
        }
        if !figures.is_empty() {
            write!(out, "<h3>{}</h3>\n<div class=\"charts\">\n{figures}</div>\n", escaped(family)).expect("a string");
            let drawn: Vec<&&Stage> = stages
                .iter()
                .filter(|stage| !stage.journal.loss.is_empty() || !stage.journal.evaluations.is_empty())
                .collect();
            if drawn.len() > 1 {
                out += &legend(&drawn.iter().map(|stage| stage.label.as_str()).collect::<Vec<_>>());
            }
        }
    }
    out
}

/// Those that drew nothing keep their colour, so that all charts of a family agree.
fn series<'a>(stages: &[&'a Stage], points: impl Fn(&'a Stage) -> Vec<(f64, f64)>) -> Vec<Series<'a>> {
    let drawn = stages.iter().filter(|stage| !stage.journal.loss.is_empty() || !stage.journal.evaluations.is_empty());
    drawn
        .map(|stage| Series {
            name: &stage.label,
            points: thinned(points(stage).into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()),
        })
        .collect()
}

/// Means of neighbours, where there are too many points to see.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |some: &[(f64, f64)]| {
        let count = some.len() as f64;
        (some.iter().map(|point| point.0).sum::<f64>() / count, some.iter().map(|point| point.1).sum::<f64>() / count)
    };
    points.chunks(together).map(mean).collect()
}

fn figure(title: &str, below: &str, series: Vec<Series>) -> String {
    let all = || series.iter().flat_map(|one| &one.points);
    if all().count() < 2 {
        return String::new();
    }
    let range = |values: &dyn Fn(&(f64, f64)) -> f64| {
        let least = all().map(values).fold(f64::INFINITY, f64::min);
        let most = all().map(values).fold(f64::NEG_INFINITY, f64::max);
        if most > least { (least, most) } else { (least - 0.5, most + 0.5) }
    };
    let (x0, x1) = range(&|point| point.0);
    let (y0, y1) = range(&|point| point.1);
    let ticks = nice(y0, y1, 4);
    let (y0, y1) = (y0.min(ticks[0]), y1.max(ticks[ticks.len() - 1]));
    let across = |x: f64| LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let down = |y: f64| HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escaped(&format!("{title} by {below}"))
    );
    for tick in &ticks {
        let y = down(*tick);
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            number(*tick)
        )
        .expect("a string");
    }
    // Between two epochs there is none.
    let whole = all().all(|point| point.0.fract() == 0.0);
    let fits = |tick: &f64| (x0..=x1).contains(tick) && (!whole || (tick - tick.round()).abs() < 1e-9);
    for tick in nice(x0, x1, 5).into_iter().filter(fits) {
        let (x, y) = (across(tick), HEIGHT - BOTTOM + 15.0);
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", number(tick))
            .expect("a string");
    }
    let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 4.0);
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{below}</text>").expect("a string");
    for (at, one) in series.iter().enumerate().rev() {
        let class = at.min(COLOURS);
        let points: Vec<String> =
            one.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y))).collect();
        writeln!(
            svg,
            "<polyline class=\"s{class}\" points=\"{}\"><title>{}</title></polyline>",
            points.join(" "),
            escaped(one.name)
        )
        .expect("a string");
        // Few points are shown as such, with their values under the pointer.
        for (x, y) in one.points.iter().filter(|_| one.points.len() <= 30) {
            writeln!(
                svg,
                "<circle class=\"s{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.4\"><title>{}: {} at {below} {}</title></circle>",
                across(*x),
                down(*y),
                escaped(one.name),
                number(*y),
                number(*x)
            )
            .expect("a string");
        }
    }
    format!("<figure><figcaption>{}</figcaption>\n{svg}</svg></figure>\n", escaped(title))
}

fn legend(names: &[&str]) -> String {
    let item = |(at, name): (usize, &&str)| {
        format!(
            "<li><svg viewBox=\"0 0 20 8\" aria-hidden=\"true\"><line class=\"s{}\" x1=\"0\" x2=\"20\" y1=\"4\" y2=\"4\" stroke-width=\"3\"/></svg>{}</li>\n",
            at.min(COLOURS),
            escaped(name)
        )
    };
    format!("<ul class=\"legend\">\n{}</ul>\n", names.iter().enumerate().map(item).collect::<String>())
}

/// About `count` round numbers that cover a range: multiples of 1, 2 or 5 times a power of ten.
fn nice(from: f64, to: f64, count: usize) -> Vec<f64> {
    let rough = (to - from) / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((from / step).floor() as i64, (to / step).ceil() as i64);
    (first..=last).map(|number| number as f64 * step).collect()
}

/// A number as short as it can be told from its neighbours.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        return format!("{value:.1e}");
    }
    let digits = if size >= 1000.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        4
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(nice(0.0, 1.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!(nice(0.62, 0.71, 4).len(), 4);
        for (from, to) in [(0.0, 1e-9), (-3.0, 7.0), (1e6, 1.000_001e6), (0.5, 1.5)] {
            let ticks = nice(from, to, 4);
            assert!(ticks[0] <= from && ticks[ticks.len() - 1] >= to && ticks.len() <= 8, "{from} {to}: {ticks:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (12.0, "12"),
            (1234.0, "1234"),
            (2e-5, "2.0e-5"),
            (0.12345, "0.1235"),
            (3e7, "3.0e7"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn long_curves_keep_their_mean_and_their_ends_about() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|n| (n as f64, n as f64)).collect();
        let thin = thinned(points);
        assert!(thin.len() <= MOST_POINTS);
        assert_eq!(thin[0], (12.0, 12.0));
    }
}
