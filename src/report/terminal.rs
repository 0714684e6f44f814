//! A live line for the running stage, and a line for whatever is over. On standard error.

use std::cell::RefCell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::text;
use crate::event::Event;

pub(super) fn listener() -> impl Fn(&Event) {
    let live: RefCell<Option<ProgressBar>> = RefCell::new(None);
    move |event| {
        let mut live = live.borrow_mut();
        match event {
            Event::StageStarted { stage, .. } => *live = Some(bar(stage)),
            Event::Activity { doing, .. } => {
                if let Some(bar) = live.as_ref() {
                    bar.set_message(doing.clone());
                }
            }
            Event::Progress { step, steps, .. } => {
                if let Some(bar) = live.as_ref() {
                    bar.set_length(*steps);
                    bar.set_position(*step);
                    bar.set_message(text::progress(event).unwrap_or_default());
                }
            }
            _ => {}
        }
        if matches!(event, Event::StageFinished { .. } | Event::StageFailed { .. } | Event::RunFinished { .. })
            && let Some(bar) = live.take()
        {
            bar.finish_and_clear();
        }
        if let Some(line) = text::line(event) {
            match live.as_ref() {
                Some(bar) => bar.println(line),
                None => eprintln!("{line}"),
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
