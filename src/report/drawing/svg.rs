//! The graph as SVG: boxes in layers from left to right, arrows between them.

use std::collections::HashMap;

use super::Shape;
use super::layers::{Layout, Size};

/// Columns of a character of the 13-pixel monospaced font, in pixels.
const CHARACTER: f64 = 7.9;
const BOX_HEIGHT: f64 = 32.0;
const PADDING: f64 = 12.0;
const MARGIN: f64 = 16.0;

/// Plain colours first: not everything that shows SVG knows about dark backgrounds.
const STYLE: &str = "\
svg { background: #fff; }
text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1c1e21; }
.source rect { fill: #eef4fb; stroke: #5b87b8; }
.stage rect { fill: #fff; stroke: #555b66; }
.pipeline rect { fill: #eef7ee; stroke: #4d8a57; }
path { fill: none; stroke: #8a909a; }
marker path { fill: #8a909a; stroke: none; }
@media (prefers-color-scheme: dark) {
  svg { background: #16181d; }
  text { fill: #e6e6e6; }
  .source rect { fill: #1d2a3a; stroke: #7aa7d9; }
  .stage rect { fill: #22252b; stroke: #a0a6b0; }
  .pipeline rect { fill: #1d3022; stroke: #7dbb88; }
}
";

/// The part of its size that a drawing within a page keeps: its letters of 13 px have 9 px then.
const SMALLEST: f64 = 0.7;

/// A whole file. `arrows` are pairs of the shapes' ids.
pub fn file(title: &str, shapes: &[Shape], arrows: &[(String, String)]) -> String {
    draw(title, &format!("<style>\n{STYLE}</style>\n"), None, shapes, arrows)
}

/// For a page that has styles of its own. It becomes smaller where there is too little room, but not so small that it can't
/// be read.
pub fn inline(title: &str, shapes: &[Shape], arrows: &[(String, String)]) -> String {
    draw(title, "", Some(SMALLEST), shapes, arrows)
}

fn draw(title: &str, style: &str, smallest: Option<f64>, shapes: &[Shape], arrows: &[(String, String)]) -> String {
    let index: HashMap<&str, usize> = shapes.iter().enumerate().map(|(at, shape)| (shape.id.as_str(), at)).collect();
    let edges = arrows.iter().filter_map(|(from, to)| Some((*index.get(from.as_str())?, *index.get(to.as_str())?)));
    let sizes: Vec<Size> = shapes
        .iter()
        .map(|shape| Size { width: 2.0 * PADDING + CHARACTER * columns(&shape.label), height: BOX_HEIGHT })
        .collect();
    let layout = Layout::new(&sizes, &edges.collect::<Vec<_>>());
    let (width, height) = (layout.width + 2.0 * MARGIN, layout.height + 2.0 * MARGIN);
    let fit = smallest
        .map_or_else(String::new, |part| format!(" style=\"min-width:{:.0}px;max-width:{width:.0}px\"", width * part));
    let mut text = format!(
        "<svg class=\"graph\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\"{fit} role=\"img\">\n\
         <title>{}</title>\n{style}\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 L8 4 L0 8 Z\"/></marker></defs>\n<g transform=\"translate({MARGIN} {MARGIN})\">\n",
        escaped(title)
    );
    for points in &layout.edges {
        text += &format!("<path d=\"{}\" marker-end=\"url(#head)\"/>\n", curve(points));
    }
    for (shape, (place, size)) in shapes.iter().zip(layout.boxes.iter().zip(&sizes)) {
        let round = if shape.kind == "stage" { 3.0 } else { BOX_HEIGHT / 2.0 };
        text += &format!(
            "<g class=\"{}{}{}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{round}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>\n",
            shape.kind,
            if shape.state.is_empty() { "" } else { " " },
            shape.state,
            place.x,
            place.y,
            size.width,
            size.height,
            place.x + size.width / 2.0,
            place.y + size.height / 2.0 + 4.5,
            escaped(&shape.label)
        );
    }
    text + "</g>\n</svg>\n"
}

/// A line through the points that leaves and enters each of them horizontally.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        if at == 0 {
            path = format!("M{x:.1} {y:.1}");
            continue;
        }
        let (from_x, from_y) = points[at - 1];
        let bend = (x - from_x) / 2.0;
        path += &format!(" C{:.1} {from_y:.1} {:.1} {y:.1} {x:.1} {y:.1}", from_x + bend, x - bend);
    }
    path
}

/// How wide a label is; characters of the East Asian blocks and emoji take two columns.
fn columns(label: &str) -> f64 {
    let wide = |c: char| {
        matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f)
            || matches!(c as u32, 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..)
    };
    label.chars().map(|c| if wide(c) { 2.0 } else { 1.0 }).sum()
}

/// Text as XML and HTML take it, also in an attribute; control characters have no place there.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_every_shape_and_arrow_is_drawn() {
        let shape = |id: &str, label: &str, kind| Shape { id: id.into(), label: label.into(), kind, state: "" };
        let shapes = [shape("a", "a <b> & \"c\"\u{7}", "source"), shape("b", "finetune(ü)", "stage")];
        let text = file("x & y", &shapes, &[("a".into(), "b".into())]);
        assert!(text.contains("a &lt;b&gt; &amp; &quot;c&quot;</text>"), "{text}");
        assert!(text.contains("<title>x &amp; y</title>"));
        assert_eq!(text.matches("<rect ").count(), 2);
        assert_eq!(text.matches("marker-end").count(), 1);
        for tag in ["svg", "g", "text", "style", "defs", "marker", "title"] {
            let opened = text.matches(&format!("<{tag} ")).count() + text.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
