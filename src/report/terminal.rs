//! A live line for every running stage, and a line for whatever is over. On standard error.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text;
use crate::event::Event;

pub(super) fn listener() -> impl Fn(&Event) {
    let lines = MultiProgress::new();
    let running: RefCell<HashMap<String, ProgressBar>> = RefCell::default();
    move |event| {
        let mut running = running.borrow_mut();
        match event {
            Event::StageStarted { stage, .. } => {
                running.insert(stage.clone(), lines.add(bar(stage)));
            }
            Event::Activity { stage, doing } => {
                if let Some(bar) = running.get(stage) {
                    bar.set_message(doing.clone());
                }
            }
            Event::Progress { stage, step, steps, .. } => {
                if let Some(bar) = running.get(stage) {
                    bar.set_length(*steps);
                    bar.set_position(*step);
                    bar.set_message(text::progress(event).unwrap_or_default());
                }
            }
            Event::StageFinished { stage, .. }
            | Event::StageFailed { stage, .. }
            | Event::StageRetried { stage, .. } => {
                if let Some(bar) = running.remove(stage) {
                    bar.finish_and_clear();
                    lines.remove(&bar);
                }
            }
            Event::RunFinished { .. } => running.drain().for_each(|(_, bar)| bar.finish_and_clear()),
            _ => {}
        }
        if let Some(line) = text::line(event) {
            // Above the live lines; where standard error is no terminal after all, nothing is lost.
            if running.is_empty() || lines.println(&line).is_err() {
                eprintln!("{line}");
            }
        }
    }
}

fn bar(stage: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{spinner} {prefix} {bar:20} {msg}").expect("the template is valid");
    bar.set_style(style);
    bar.set_prefix(stage.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
