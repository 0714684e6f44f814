//! Who listens to a run besides the person at the terminal: reports for continuous integration, event files for TensorBoard.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use clap::Args;

use super::project::place;
use crate::event::{Event, Notice};
use crate::lang::ir::Program;
use crate::plan::Plan;
use crate::report::github;
use crate::report::junit::Junit;
use crate::report::tensorboard::TensorBoard;
use crate::report::{self, Style};
use crate::store::{Store, StoreError};
use crate::syntax::Source;

#[derive(Args)]
pub(super) struct Listening {
    /// Print events as JSON, one object a line, on standard output
    #[arg(long)]
    pub json: bool,
    /// Write what came of every stage and expectation as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write losses, rates and scores as event files for TensorBoard, a directory a result; those of results that were in the
    /// store, too
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

/// All that hear a run's events.
pub(super) struct Listeners {
    reporter: Box<dyn Fn(&Event)>,
    junit: Option<(RefCell<Junit>, PathBuf)>,
    board: Option<(TensorBoard, PathBuf)>,
    /// What went wrong, for annotations, with the number of expectations that were looked at before; none where nobody
    /// shows them.
    wrong: Option<RefCell<Vec<(usize, Event)>>>,
    expectations: Cell<usize>,
    /// Stages that were in the store: label and key.
    found: RefCell<Vec<(String, String)>>,
    /// What was dropped, cut, guessed or ignored, and by which stage.
    pub notices: RefCell<Vec<(String, Notice)>>,
    /// What could not be written, said once.
    failed: RefCell<Option<String>>,
}

impl Listening {
    /// Removes the report of an earlier run, so that nobody takes it for this one's, should this one not come so far.
    pub fn forget(&self) {
        if let Some(path) = &self.junit {
            // One that can't be removed can't be written either, which is said.
            let _ = std::fs::remove_file(path);
        }
    }

    /// # Errors
    /// When a directory to write to can't be made: in words.
    pub fn begin(&self, style: Style) -> Result<Listeners, String> {
        let board = |path: &PathBuf| match TensorBoard::new(path) {
            Ok(board) => Ok((board, path.clone())),
            Err(error) => Err(format!("can't make the directory {}: {error}", path.display())),
        };
        Ok(Listeners {
            reporter: report::reporter(style),
            junit: self.junit.clone().map(|path| (RefCell::default(), path)),
            board: self.tensorboard.as_ref().map(board).transpose()?,
            wrong: github::is_there().then(RefCell::default),
            expectations: Cell::new(0),
            found: RefCell::default(),
            notices: RefCell::default(),
            failed: RefCell::default(),
        })
    }
}

impl Listeners {
    pub fn hear(&self, event: &Event) {
        match event {
            Event::Notice { stage, notice } => self.notices.borrow_mut().push((stage.clone(), notice.clone())),
            Event::StageHit { stage, key } if self.board.is_some() => {
                self.found.borrow_mut().push((stage.clone(), key.clone()));
            }
            Event::StageFailed { .. } | Event::Expectation { holds: false, .. } => {
                let number = self.expectations.get();
                self.wrong.iter().for_each(|wrong| wrong.borrow_mut().push((number, event.clone())));
            }
            _ => {}
        }
        if let Event::Expectation { .. } = event {
            self.expectations.set(self.expectations.get() + 1);
        }
        if let Some((junit, _)) = &self.junit {
            junit.borrow_mut().note(event);
        }
        if let Some((board, path)) = &self.board
            && let Err(error) = board.note(event)
        {
            let message = format!("can't write to {}: {error}", path.display());
            self.failed.borrow_mut().get_or_insert(message);
        }
        (self.reporter)(event);
    }

    /// The run is over; `tables` is what it shows at its end. What could not be written is said, and fails nothing.
    pub fn finish(&self, plan: &Plan, program: &Program, source: &Source, store: &Store, tables: impl Fn() -> String) {
        if let Some((junit, path)) = &self.junit {
            let labels: Vec<&str> = plan.stages.iter().map(|stage| stage.label.as_str()).collect();
            if let Err(error) = junit.borrow().write(path, &source.name, &labels) {
                eprintln!("warning: can't write {}: {error}", path.display());
            }
        }
        if let Some((board, _)) = &self.board {
            for (stage, key) in self.found.borrow().iter() {
                if let Err(error) = retell(board, store, stage, key) {
                    eprintln!("warning: the journal of {stage} can't be read: {error}");
                }
            }
        }
        if let Some(message) = self.failed.borrow().as_ref() {
            eprintln!("warning: {message}");
        }
        if let Some(wrong) = &self.wrong {
            wrong.borrow().iter().for_each(|(number, event)| annotate(*number, event, plan, program, source));
            let tables = tables();
            if !tables.is_empty() {
                github::add_to_summary(&format!(
                    "### {}\n\n```text\n{}\n```\n",
                    source.name,
                    tables.trim_matches('\n')
                ));
            }
        }
    }
}

/// Writes down what a stage said that ran before, unless that is written already.
fn retell(board: &TensorBoard, store: &Store, stage: &str, key: &str) -> Result<(), StoreError> {
    if board.begin(stage, key) {
        return Ok(());
    }
    let Some(manifest) = store.result(&key.to_owned())? else { return Ok(()) };
    for mut entry in store.journal(&manifest)? {
        // It may have been called otherwise then.
        if let Event::Progress { stage: said, .. } | Event::Evaluated { stage: said, .. } = &mut entry.event {
            *said = stage.to_owned();
        }
        // A disk that is full was noticed with what runs now.
        let _ = board.note_at(&entry.event, manifest.record.started + entry.seconds);
    }
    Ok(())
}

/// Standard error, like everything that is said on the way: GitHub reads both, and `--json` has standard output.
fn annotate(number: usize, event: &Event, plan: &Plan, program: &Program, source: &Source) {
    let annotation = match event {
        Event::StageFailed { stage, code, message, help, .. } => {
            let at = plan.stages.iter().position(|one| one.label == *stage);
            let place = at.map(|at| place(source, plan.node(program, at).span));
            let help = help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"));
            github::annotation("error", place.as_ref(), code, &format!("{stage}: {message}{help}"))
        }
        Event::Expectation { measure, value, relation, bound, .. } => {
            let place = program.expectations.get(number).map(|one| place(source, one.span));
            let message = format!("{measure} is {value}, expected {relation} {bound}");
            github::annotation("error", place.as_ref(), "expectation", &message)
        }
        _ => return,
    };
    eprintln!("{annotation}");
}
