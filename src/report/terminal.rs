//! A live line for every running stage, and a line for whatever is over. On standard error.
//!
//! A live line is cut to the terminal's width each time it is drawn, what matters most first, and of more stages than the
//! terminal has rows the first are shown: a line that wraps could not be taken back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text;
use crate::event::Event;

/// Letters of a stage's name that a live line has.
const NAME: usize = 32;

/// Cells of a bar.
const BAR: usize = 16;

pub(super) fn listener() -> impl Fn(&Event) {
    listener_on(ProgressDrawTarget::stderr())
}

fn listener_on(target: ProgressDrawTarget) -> impl Fn(&Event) {
    let lines = MultiProgress::with_draw_target(target);
    let running: RefCell<HashMap<String, ProgressBar>> = RefCell::default();
    move |event| {
        let mut running = running.borrow_mut();
        match event {
            Event::StageStarted { stage, .. } => {
                let line = lines.add(live());
                line.set_message(name(stage));
                running.insert(stage.clone(), line);
            }
            Event::Activity { stage, doing } => {
                if let Some(line) = running.get(stage) {
                    line.set_message(format!("{}  {}", name(stage), text::printable(doing).replace('\n', " ")));
                }
            }
            Event::Progress { stage, .. } => {
                if let Some(line) = running.get(stage) {
                    line.set_message(format!("{}  {}", name(stage), figures(event)));
                }
            }
            Event::StageFinished { stage, .. }
            | Event::StageFailed { stage, .. }
            | Event::StageRetried { stage, .. } => {
                if let Some(line) = running.remove(stage) {
                    line.finish_and_clear();
                    lines.remove(&line);
                }
            }
            Event::RunFinished { .. } => running.drain().for_each(|(_, line)| line.finish_and_clear()),
            _ => {}
        }
        if let Some(line) = text::line(event) {
            // Above the live lines; where standard error is no terminal after all, nothing is lost.
            if running.is_empty() || lines.println(&line).is_err() {
                // A terminal that went away is no reason to stop training.
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
        }
    }
}

/// Nothing but the message has a width of its own, so that nothing but the message can be cut.
fn live() -> ProgressBar {
    let line = ProgressBar::new_spinner();
    line.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is valid"));
    line.enable_steady_tick(Duration::from_millis(120));
    line
}

/// A stage's name on a live line: of a long one the beginning and the end, which tell it from others.
fn name(stage: &str) -> String {
    let letters: Vec<char> = text::printable(stage).replace('\n', " ").chars().collect();
    if letters.len() <= NAME {
        return letters.into_iter().collect();
    }
    let (head, tail) = (&letters[..NAME / 2 - 1], &letters[letters.len() - NAME / 2..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

/// `████████░░░░░░░░  50 %  42 s left  loss 0.7312  1,900 tokens/s  epoch 1.5/3  step 120/240`.
fn figures(event: &Event) -> String {
    let Event::Progress { epoch, epochs, step, steps, loss, tokens_per_second, eta_seconds, .. } = event else {
        return String::new();
    };
    let share = if *steps == 0 { 0.0 } else { (*step as f64 / *steps as f64).min(1.0) };
    let full = (share * BAR as f64) as usize;
    format!(
        "{}{} {:3.0} %  {} left  loss {loss:.4}  {} tokens/s  epoch {epoch:.1}/{epochs}  step {step}/{steps}",
        "█".repeat(full),
        "░".repeat(BAR - full),
        (share * 100.0).floor(),
        text::duration(*eta_seconds),
        text::thousands(tokens_per_second.round() as u64),
    )
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A screen that keeps what stands on it: rows of letters, and the cursor. It wraps, and does not scroll.
    #[derive(Debug, Clone)]
    struct Screen {
        width: Arc<AtomicU16>,
        height: u16,
        held: Arc<Mutex<Held>>,
    }

    /// Rows of letters; the row and the column of the cursor.
    type Held = (Vec<Vec<char>>, usize, usize);

    impl Screen {
        fn new(width: u16, height: u16) -> Self {
            Self { width: Arc::new(AtomicU16::new(width)), height, held: Arc::default() }
        }

        fn rows(&self) -> Vec<String> {
            let held = self.held.lock().expect("not poisoned");
            let rows = held.0.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
            rows.filter(|row| !row.is_empty()).collect()
        }

        fn put(&self, text: &str) {
            let width = usize::from(self.width());
            let mut held = self.held.lock().expect("not poisoned");
            let (rows, row, column) = &mut *held;
            for letter in text.chars() {
                match letter {
                    '\n' => (*row, *column) = (*row + 1, 0),
                    '\r' => *column = 0,
                    letter => {
                        if *column == width {
                            (*row, *column) = (*row + 1, 0);
                        }
                        rows.resize(rows.len().max(*row + 1), vec![]);
                        let cells = rows[*row].len().max(*column + 1);
                        rows[*row].resize(cells, ' ');
                        rows[*row][*column] = letter;
                        *column += 1;
                    }
                }
            }
        }

        fn move_by(&self, rows: isize, columns: isize) {
            let mut held = self.held.lock().expect("not poisoned");
            held.1 = held.1.saturating_add_signed(rows);
            held.2 = held.2.saturating_add_signed(columns);
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.width.load(Ordering::Relaxed)
        }
        fn height(&self) -> u16 {
            self.height
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.move_by(-(n as isize), 0);
            Ok(())
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.move_by(n as isize, 0);
            Ok(())
        }
        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.move_by(0, n as isize);
            Ok(())
        }
        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.move_by(0, -(n as isize));
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(&format!("{text}\n"));
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            let mut held = self.held.lock().expect("not poisoned");
            let row = held.1;
            if let Some(row) = held.0.get_mut(row) {
                row.clear();
            }
            held.2 = 0;
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started(stage: &str) -> Event {
        Event::StageStarted { stage: stage.into(), key: "k".into(), reason: "never computed".into() }
    }

    fn at(stage: &str, step: u64) -> Event {
        Event::Progress {
            stage: stage.into(),
            epoch: 1.5,
            epochs: 3.0,
            step,
            steps: 240,
            loss: 0.7312,
            learning_rate: 1e-3,
            tokens_per_second: 1900.0,
            eta_seconds: 42.0,
        }
    }

    const LONG: &str = "finetune(target, learning_rate = 5e-5) in a_pipeline_of_a_long_name #12";

    /// The last thing drawn may be held back for some milliseconds; this draws it.
    fn settle(listener: &impl Fn(&Event), step: u64) {
        std::thread::sleep(Duration::from_millis(80));
        listener(&at(LONG, step));
    }

    #[test]
    fn a_live_line_never_wraps_and_shows_what_matters_first() {
        for width in [20, 40, 80, 200] {
            let screen = Screen::new(width, 24);
            let listener = listener_on(ProgressDrawTarget::term_like(Box::new(screen.clone())));
            listener(&started(LONG));
            settle(&listener, 120);
            let rows = screen.rows();
            let live: Vec<&String> = rows.iter().filter(|row| row.contains('…')).collect();
            assert_eq!(live.len(), 1, "{width}: {rows:#?}");
            let shown = |part| live[0].contains(part);
            assert_eq!(shown("████████░░░░░░░░  50 %"), width >= 80, "{width}: {rows:#?}");
            assert_eq!(
                shown("loss 0.7312  1,900 tokens/s  epoch 1.5/3  step 120/240"),
                width == 200,
                "{width}: {rows:#?}"
            );
        }
    }

    #[test]
    fn a_line_is_cut_to_the_width_that_the_terminal_has_now() {
        let screen = Screen::new(200, 24);
        let listener = listener_on(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        listener(&started(LONG));
        settle(&listener, 120);
        screen.width.store(60, Ordering::Relaxed);
        settle(&listener, 121);
        let live = screen.rows().into_iter().rfind(|row| row.contains('…')).expect("a live line");
        assert!(live.chars().count() <= 60, "{live}");
    }

    #[test]
    fn more_stages_than_rows_leave_the_screen_whole_and_what_is_over_becomes_one_line() {
        let screen = Screen::new(100, 5);
        let listener = listener_on(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let stages: Vec<String> = (0..20).map(|number| format!("finetune(target) #{number}")).collect();
        stages.iter().for_each(|stage| listener(&started(stage)));
        for stage in &stages {
            listener(&at(stage, 240));
            let (stage, key, output) = (stage.clone(), "k".to_owned(), "o".to_owned());
            listener(&Event::StageFinished { stage, key, output, seconds: 3.0 });
        }
        let rows = screen.rows();
        for stage in &stages[..19] {
            let done = format!("{stage}: done in 3.0 s");
            assert_eq!(rows.iter().filter(|row| **row == done).count(), 1, "{done}: {rows:#?}");
        }
        assert!(!rows.iter().any(|row| row.contains('█')), "{rows:#?}");
    }
}
