//! The HTML report: whole, self-contained, and safe whatever things are called.
#![cfg(feature = "train")]

#[cfg(target_os = "linux")]
mod browser;
mod place;

use ftp::report::page::{Badge, Comparison, DataFile, Evaluation, Expectation, Journal, Line, Page, Stage, State};
use place::{PIPELINE, Place};

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;'\u{1b}[31m</td></style>";

/// Names of elements in the order they open; panics where they do not nest.
fn elements(html: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::<String>::new(), vec![]);
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag is closed");
        let (inside, after) = tag.split_at(end);
        let name: String = inside.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if inside.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "in the right order: ..{}", &html[..20]);
        } else if !inside.starts_with('!') {
            all.push(name.clone());
            if !inside.ends_with('/') && !["meta", "br"].contains(&name.as_str()) {
                open.push(name.clone());
            }
        }
        rest = &after[1..];
        if name == "style" && !inside.starts_with('/') {
            rest = &rest[rest.find("</style>").expect("it ends")..];
        }
    }
    assert!(open.is_empty(), "{open:?}");
    all
}

/// Nothing is fetched and nothing is executed.
fn self_contained(html: &str) {
    let all = elements(html);
    for name in ["script", "img", "iframe", "object", "embed", "link", "base", "form"] {
        assert!(!all.iter().any(|element| element == name), "a <{name}>");
    }
    let all = html.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
    for part in ["http:", "https:", "url(", "@import"] {
        assert!(!all.contains(part), "{part}");
    }
    for tag in html.split('<').filter_map(|tag| tag.split('>').next()) {
        // What stands in an attribute's value is only text.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains(" src=") && !names.contains(" on"), "<{tag}>");
    }
    for id in html.match_indices("href=\"#").map(|(at, _)| html[at + 7..].split('"').next().expect("closed")) {
        assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

fn hostile() -> Page {
    let name = || HOSTILE.to_owned();
    let evaluation = |epoch: f64, split: &str| Evaluation {
        split: split.to_owned(),
        epoch,
        loss: 1.0 / (epoch + 1.0),
        metrics: vec![(name(), 0.5 + epoch / 10.0)],
        confusion: Some(vec![vec![3, 1], vec![0, 4]]),
    };
    let stage = |number: usize| Stage {
        label: format!("{HOSTILE} {number}"),
        family: name(),
        state: [State::Ran, State::Hit, State::Failed, State::Stopped, State::Missing][number % 5],
        started: Some(1.0e9 + number as f64),
        seconds: Some(2.5),
        key: Some("k".repeat(64)),
        output: Some(name()),
        parameters: vec![name()],
        labels: vec![name(), name()],
        journal: Journal {
            loss: (0..900)
                .map(|step| (f64::from(step), 1.0 / f64::from(step + 1)))
                .chain([(901.0, f64::NAN)])
                .collect(),
            evaluations: vec![evaluation(1.0, "dev"), evaluation(2.0, "dev"), evaluation(2.0, "test")],
        },
    };
    let line = |value: f64| Line { name: name(), stages: name(), values: vec![vec![value]], ..Line::default() };
    Page {
        title: name(),
        badge: Badge { state: State::Failed, text: name() },
        facts: vec![(name(), name())],
        warnings: vec![name()],
        comparisons: vec![Comparison {
            set: name(),
            split: name(),
            rows: Some(1234),
            metrics: vec![name()],
            lines: vec![
                Line { values: vec![vec![0.5, 0.6, 0.7]], members: vec![line(0.5), line(0.6), line(0.7)], ..line(0.0) },
                Line { baseline: true, ..line(0.9) },
            ],
        }],
        expectations: vec![Expectation { text: name(), value: None, holds: false }],
        graph: String::new(),
        stages: (0..9).map(stage).collect(),
        data: vec![DataFile { source: name(), file: name(), split: name(), rows: Some(5), bytes: 7, digest: name() }],
        notices: vec![(name(), name())],
        environment: vec![(name(), name())],
        reproduce: vec![name()],
    }
}

#[test]
fn whatever_things_are_called_it_stays_text() {
    let html = hostile().html();
    self_contained(&html);
    assert!(!html.contains("<script>") && !html.contains("\u{1b}"));
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "it is shown as it was written");
    assert!(!html.contains("NaN") && !html.contains("inf"), "what is no number is not drawn");
}

#[test]
fn several_models_of_one_declaration_are_shown_with_their_spread() {
    let html = hostile().html();
    // Sample standard deviation of 0.5, 0.6, 0.7: sqrt((0.01 + 0.01) / 2) = 0.1.
    assert!(html.contains("0.6000 ± 0.1000<br><small>0.5000 to 0.7000, n = 3</small>"), "{html}");
    assert!(html.contains("<tr class=\"best\"><td class=\"name\">&lt;script"), "a baseline is not the best pipeline");
}

#[test]
fn a_page_about_nothing_is_a_page() {
    let html = Page { title: "p.ftp".into(), ..Page::default() }.html();
    self_contained(&html);
    assert!(html.contains("<h1>p.ftp</h1>") && !html.contains("<section"));
}

#[test]
fn a_run_is_shown_with_everything_that_came_of_it() {
    let here = Place::new(&PIPELINE.replace("expect best.accuracy >= 0.0", "expect best.accuracy < 0.01"));
    here.ftp(&["run", "p.ftp"], 1);
    assert!(here.ftp(&["report", "p.ftp", "-o", "r.html"], 0).contains("r.html"));
    let html = here.read("r.html");
    self_contained(&html);
    for section in [
        "results",
        "expectations",
        "plan",
        "time",
        "curves",
        "confusion",
        "data",
        "notices",
        "stages",
        "environment",
        "reproduce",
    ] {
        assert!(html.contains(&format!("<section id=\"{section}\">")), "{section}");
    }
    assert!(html.contains("an expectation does not hold"));
    assert!(html.contains("The better of") || html.contains("n = 2</small>"), "two seeds in one line");
    // pretrain, adapt, finetune twice, select; each of them ran, and is a box of the drawing.
    assert_eq!(html.matches("<g class=\"stage ran\">").count(), 5, "{html}");
    assert_eq!(html.matches("<g class=\"source\">").count(), 2);
    assert_eq!(html.matches("class=\"bar\"").count(), 5);
    // 14 rows of test, 7 of each label, counted once for each of the two seeds.
    let matrices: Vec<&str> = html.split("<table class=\"confusion\">").skip(1).collect();
    assert_eq!(matrices.len(), 2);
    for matrix in matrices {
        let cells = matrix.split("</table>").next().expect("it ends").split("<td class=\"n\"").skip(1);
        let counts =
            cells.map(|cell| cell.split(['>', '<']).nth(1).expect("a count").parse::<u64>().expect("a number"));
        let counts: Vec<u64> = counts.collect();
        assert_eq!((counts[0] + counts[1], counts[2] + counts[3]), (7, 7));
    }
    assert!(html.matches("<polyline").count() >= 4 && html.contains("dev accuracy"));

    // Once more: nothing ran then; and by the id of the first run, everything did.
    let id = html.split("<dt>run</dt><dd>").nth(1).and_then(|rest| rest.split('<').next()).expect("an id").to_owned();
    here.ftp(&["run", "p.ftp"], 1);
    here.ftp(&["report", "p.ftp"], 0);
    assert_eq!(here.read("p.html").matches("<g class=\"stage hit\">").count(), 5);
    here.ftp(&["report", &id, "-o", "first.html"], 0);
    assert_eq!(here.read("first.html").matches("<g class=\"stage ran\">").count(), 5);
    assert!(here.ftp(&["report", "20010101", "-o", "no.html"], 2).contains("no run of that id"));
}

#[test]
fn what_is_not_there_is_said() {
    let here = Place::new(PIPELINE);
    here.ftp(&["report", "p.ftp"], 0);
    let html = here.read("p.html");
    self_contained(&html);
    assert!(
        html.contains("knows no run of this file") && html.contains("5 of 5 stages are not in the store"),
        "{html}"
    );
}

#[test]
fn a_stage_that_failed_is_shown_with_its_reason() {
    // Two heads can't share five numbers evenly: known only when the stage runs.
    let here = Place::new(&PIPELINE.replace("hidden_size = 16", "hidden_size = 5"));
    here.ftp(&["run", "p.ftp"], 1);
    here.ftp(&["report", "p.ftp"], 0);
    let html = here.read("p.html");
    self_contained(&html);
    assert!(html.contains("<p class=\"badge failed\">failed: pretrain</p>"), "{html}");
    assert!(html.contains("(ftp::pretrain::heads)") && html.contains("<g class=\"stage failed\">"));
}

/// Widths of a desk's screen, a tablet's, a phone's, and of the smallest phone that people still have.
#[cfg(target_os = "linux")]
const SCREENS: [(&str, u32, u32); 4] =
    [("desk", 1280, 900), ("tablet", 768, 1024), ("phone", 390, 844), ("small", 320, 568)];

/// Where no Chromium is installed, this is said and nothing is tested.
#[cfg(target_os = "linux")]
#[test]
fn the_report_is_whole_on_every_screen_and_on_paper() {
    let Some(program) = browser::chromium() else {
        println!(
            "not seen here: the report in a browser, for no Chromium is installed ({}, or CHROME)",
            browser::NAMES.join(", ")
        );
        return;
    };
    let here = Place::new(&PIPELINE.replace("seed in 1..2", "seed in 1..8"));
    here.ftp(&["run", "p.ftp", "-j", "2"], 0);
    here.ftp(&["report", "p.ftp", "-o", "r.html"], 0);
    let mut browser = browser::Browser::start(&program);
    let (faults, mut looks) = (include_str!("browser/faults.js"), 0);
    for (name, width, height) in SCREENS {
        for colours in ["light", "dark"] {
            browser.screen(width, height, "screen", colours);
            browser.open(&here.at("r.html"));
            let found = browser.evaluate(faults);
            let whole = serde_json::json!({ "captureBeyondViewport": true });
            let bytes = browser.keep(&format!("{name}-{colours}.png"), "Page.captureScreenshot", whole);
            assert_eq!(found, serde_json::json!([]), "{name}, {width} px, {colours}");
            assert!(bytes > 10_000, "{name}: almost nothing is drawn");
            looks += 1;
        }
    }
    // One file, and nothing else was asked for; nothing was refused by its own policy, and nothing ran.
    let asked = |event: &&serde_json::Value| event["method"] == "Network.requestWillBeSent";
    let urls: Vec<&str> =
        browser.events.iter().filter(asked).filter_map(|event| event["params"]["request"]["url"].as_str()).collect();
    assert!(urls.len() == 1 && urls[0].ends_with("/r.html"), "{urls:?}");
    let complaints = |event: &&serde_json::Value| {
        event["method"] == "Log.entryAdded" || event["method"] == "Runtime.consoleAPICalled"
    };
    let complaints: Vec<&serde_json::Value> = browser.events.iter().filter(complaints).collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    // A4 with margins of 10 mm is 718 px wide.
    browser.screen(718, 1000, "print", "light");
    browser.open(&here.at("r.html"));
    assert_eq!(browser.evaluate(faults), serde_json::json!([]), "on paper");
    let closed = "[...document.querySelectorAll('details:not([open]) > :not(summary)')].filter(one => one.getBoundingClientRect().height === 0).length";
    assert_eq!(browser.evaluate(closed), serde_json::json!(0), "what is folded on a screen is read on paper");
    let paper = serde_json::json!({ "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false });
    let bytes = browser.keep("paper.pdf", "Page.printToPDF", paper);
    println!(
        "{looks} looks at the report on {} screens, light and dark, and {bytes} bytes of paper: no fault",
        SCREENS.len()
    );
    assert!(bytes > 10_000);
}
