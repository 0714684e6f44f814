//! Listeners of the event stream, tables for the end of a run, and the manual of methods.
//!
//! From outside: [`reporter`] picks a listener; [`table`] lays out results, [`manual`] what
//! signatures say.

pub mod card;
pub mod drawing;
pub mod github;
mod json;
pub mod junit;
pub mod manual;
pub mod origin;
pub mod page;
mod plain;
pub mod table;
pub mod tensorboard;
mod terminal;
pub mod text;

use std::io::IsTerminal;

use crate::event::Event;

/// How to tell what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A live line with a bar.
    Terminal,
    /// A line an event, for CI and files.
    Plain,
    /// One JSON object an event on standard output.
    Json,
}

impl Style {
    /// JSON when asked for, the live line on a terminal that can move its cursor, plain lines otherwise.
    pub fn choose(json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
        match (json, std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none()) {
            (true, _) => Style::Json,
            (false, true) => Style::Terminal,
            (false, false) => Style::Plain,
        }
    }
}

/// A listener of one run's events.
pub fn reporter(style: Style) -> Box<dyn Fn(&Event)> {
    match style {
        Style::Terminal => Box::new(terminal::listener()),
        Style::Plain => Box::new(plain::listener()),
        Style::Json => Box::new(json::listener()),
    }
}
