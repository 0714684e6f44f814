//! The sections of the page but for the curves.

use std::fmt::Write;

use indexmap::IndexMap;

use super::super::{drawing::escaped, text};
use super::{Comparison, DataFile, Expectation, Line, Stage, State};
use crate::lang::ir::Fold;
use crate::lang::metric;

/// Of the stages that say the same, so many are named.
const MOST_NAMED: usize = 3;

pub(super) fn facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let line = |(name, value): &(String, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.iter().map(line).collect::<String>())
}

/// A table a labelled set.
pub(super) fn comparisons(comparisons: &[Comparison]) -> String {
    let mut out = String::new();
    for one in comparisons {
        let rows = one.rows.map_or(String::new(), |rows| format!(" ({} rows)", text::thousands(rows)));
        write!(
            out,
            "<h3>{}, {} split{rows}</h3>\n<div class=\"wide\"><table>\n<tr><th>pipeline</th>",
            escaped(&one.set),
            escaped(&one.split)
        )
        .expect("a string");
        for name in &one.metrics {
            write!(out, "<th class=\"n\">{}</th>", escaped(name)).expect("a string");
        }
        out += "</tr>\n";
        // The first metric is the one that counts.
        let mean =
            |line: &Line| line.values.first().filter(|values| !values.is_empty()).map(|values| Fold::Mean.of(values));
        let rises = one.metrics.first().is_some_and(|name| metric::rises(name));
        let compared = one.lines.iter().filter(|line| !line.baseline).filter_map(mean);
        let best = if rises { compared.reduce(f64::max) } else { compared.reduce(f64::min) };
        for line in &one.lines {
            let class = match line.baseline {
                true => " class=\"baseline\"",
                false if mean(line).is_some() && mean(line) == best && one.lines.len() > 1 => " class=\"best\"",
                false => "",
            };
            out += &row(line, class);
        }
        out += "</table></div>\n";
        for line in one.lines.iter().filter(|line| !line.members.is_empty()) {
            write!(
                out,
                "<details><summary>{}: each of {}</summary>\n<div class=\"wide\"><table>\n",
                escaped(&line.name),
                line.members.len()
            )
            .expect("a string");
            line.members.iter().for_each(|member| out += &row(member, ""));
            out += "</table></div></details>\n";
        }
    }
    out
}

fn row(line: &Line, class: &str) -> String {
    let mut out = format!("<tr{class}><td class=\"name\">{}", escaped(&line.name));
    if !line.stages.is_empty() {
        write!(out, "<br><small>{}</small>", escaped(&line.stages)).expect("a string");
    }
    out += "</td>";
    for values in &line.values {
        let cell = match &values[..] {
            [] => "–".to_owned(),
            [value] => text::metric(*value),
            several => {
                let [mean, std, min, max] =
                    [Fold::Mean, Fold::Std, Fold::Min, Fold::Max].map(|fold| text::metric(fold.of(several)));
                format!("{mean} ± {std}<br><small>{min} to {max}, n = {}</small>", several.len())
            }
        };
        write!(out, "<td class=\"n\">{cell}</td>").expect("a string");
    }
    out + "</tr>\n"
}

pub(super) fn expectations(expectations: &[Expectation]) -> String {
    if expectations.is_empty() {
        return String::new();
    }
    let mut out =
        String::from("<div class=\"wide\"><table>\n<tr><th>expected</th><th class=\"n\">found</th><th></th></tr>\n");
    for one in expectations {
        let found = one.value.map_or("unknown".to_owned(), text::metric);
        let (class, word) = if one.holds { ("good", "holds") } else { ("bad", "does not hold") };
        writeln!(out, "<tr><td class=\"name\"><code>{}</code></td><td class=\"n\">{found}</td><td class=\"{class}\">{word}</td></tr>", escaped(&one.text)).expect("a string");
    }
    out + "</table></div>\n"
}

/// The drawing is SVG already; it may be wider than the page.
pub(super) fn graph(svg: &str) -> String {
    if svg.is_empty() { String::new() } else { format!("<div class=\"wide\">{svg}</div>\n") }
}

/// When what ran ran, and what was there.
pub(super) fn timeline(stages: &[Stage]) -> String {
    let spans = |stage: &Stage| Some((stage.started?, stage.started? + stage.seconds?));
    let ran: Vec<(f64, f64)> = stages.iter().filter(|stage| stage.state == State::Ran).filter_map(spans).collect();
    let begin = ran.iter().map(|span| span.0).fold(f64::INFINITY, f64::min);
    let end = ran.iter().map(|span| span.1).fold(f64::NEG_INFINITY, f64::max);
    let whole = (end - begin).max(1e-3);
    if stages.is_empty() {
        return String::new();
    }
    let mut out = String::from("<div class=\"timeline\">\n");
    for stage in stages {
        let bar = match (stage.state, spans(stage)) {
            (State::Ran, Some((from, to))) => {
                let percent = |seconds: f64| 100.0 * seconds / whole;
                format!(
                    "<div class=\"bar\" style=\"left:{:.2}%;width:{:.2}%\"></div>",
                    percent(from - begin).min(99.5),
                    percent(to - from)
                )
            }
            (State::Failed, _) => "<div class=\"bar failed\" style=\"left:0;width:100%\"></div>".to_owned(),
            _ => String::new(),
        };
        let time = match (stage.state, stage.seconds) {
            (State::Ran, Some(seconds)) => text::duration(seconds),
            (State::Hit, Some(seconds)) => format!("in the store (took {})", text::duration(seconds)),
            (state, _) => state.word().to_owned(),
        };
        writeln!(
            out,
            "<div>{}</div><div class=\"track\">{bar}</div><div class=\"time faint\">{time}</div>",
            escaped(&stage.label)
        )
        .expect("a string");
    }
    out + "</div>\n"
}

/// Which labels were taken for which.
pub(super) fn confusions(stages: &[Stage]) -> String {
    let found = stages.iter().filter_map(|stage| Some((stage, stage.journal.confusion()?)));
    let found: Vec<_> = found.filter(|(stage, (_, counts))| stage.labels.len() == counts.len()).collect();
    // Many seeds have many matrices: the first is shown, the others on request.
    let mut out = String::new();
    for (at, (stage, (split, counts))) in found.iter().enumerate() {
        let open = if at < 2 { " open" } else { "" };
        write!(
            out,
            "<details{open}><summary>{}, {split} split</summary>\n<div class=\"wide\">{}</div></details>\n",
            escaped(&stage.label),
            confusion(&stage.labels, counts)
        )
        .expect("a string");
    }
    out
}

fn confusion(labels: &[String], counts: &[Vec<u64>]) -> String {
    let mut out = format!(
        "<table class=\"confusion\">\n<tr><td></td><th colspan=\"{}\">predicted</th><td></td></tr>\n<tr><th>is</th>",
        labels.len()
    );
    for label in labels {
        write!(out, "<th scope=\"col\">{}</th>", escaped(label)).expect("a string");
    }
    out += "<th>recall</th></tr>\n";
    for (at, (label, row)) in labels.iter().zip(counts).enumerate() {
        let sum: u64 = row.iter().sum();
        let share = |count: u64| if sum == 0 { 0.0 } else { count as f64 / sum as f64 };
        write!(out, "<tr><th scope=\"row\">{}</th>", escaped(label)).expect("a string");
        for count in row {
            let share = share(*count);
            write!(
                out,
                "<td class=\"n\" style=\"background:rgba(var(--heat),{:.2})\">{}</td>",
                0.75 * share,
                text::thousands(*count)
            )
            .expect("a string");
        }
        let recall = if sum == 0 {
            "–".to_owned()
        } else {
            format!("{:.1} %", 100.0 * share(row.get(at).copied().unwrap_or(0)))
        };
        writeln!(out, "<td class=\"faint\">{recall}</td></tr>").expect("a string");
    }
    out + "</table>"
}

pub(super) fn data(files: &[DataFile]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<div class=\"wide\"><table>\n<tr><th>source</th><th>file</th><th>split</th><th class=\"n\">rows</th><th class=\"n\">size</th><th>BLAKE3</th></tr>\n",
    );
    for file in files {
        writeln!(
            out,
            "<tr><td class=\"name\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"digest\">{}</td></tr>",
            escaped(&file.source),
            escaped(&file.file),
            escaped(&file.split),
            file.rows.map_or(String::new(), text::thousands),
            text::bytes(file.bytes),
            escaped(&file.digest)
        )
        .expect("a string");
    }
    out + "</table></div>\n"
}

pub(super) fn notices(notices: &[(String, String)]) -> String {
    if notices.is_empty() {
        return String::new();
    }
    let mut by_message: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for (of, message) in notices {
        let all = by_message.entry(message).or_default();
        if !all.contains(&of.as_str()) {
            all.push(of);
        }
    }
    let line = |(message, of): (&str, Vec<&str>)| {
        let shown: Vec<String> = of.iter().take(MOST_NAMED).map(|of| escaped(of)).collect();
        let more = of.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("<li>{} <span class=\"faint\">{}{more}</span></li>\n", escaped(message), shown.join(", "))
    };
    format!("<ul>\n{}</ul>\n", by_message.into_iter().map(line).collect::<String>())
}

pub(super) fn stages(stages: &[Stage]) -> String {
    let mut out = String::new();
    for stage in stages {
        writeln!(
            out,
            "<details><summary>{} <span class=\"faint\">{}</span></summary>",
            escaped(&stage.label),
            stage.state.word()
        )
        .expect("a string");
        if !stage.parameters.is_empty() {
            let parameters: Vec<String> =
                stage.parameters.iter().map(|one| format!("<code>{}</code>", escaped(one))).collect();
            writeln!(out, "<p>{}</p>", parameters.join(", ")).expect("a string");
        }
        for (name, digest) in [("key", &stage.key), ("output", &stage.output)] {
            if let Some(digest) = digest {
                writeln!(out, "<div>{name} <span class=\"digest\">{}</span></div>", escaped(digest)).expect("a string");
            }
        }
        out += "</details>\n";
    }
    out
}

pub(super) fn reproduce(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    format!("<pre>{}</pre>\n", lines.join("\n"))
}
