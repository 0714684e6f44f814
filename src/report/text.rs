//! Numbers and events in words.

use crate::event::Event;

/// `1,234,567`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.8 s`, `42 s`, `3 min 05 s`, `2 h 07 min`; `?` of what is not known.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Without what a terminal would obey: of control characters only the ends of lines stay. Names and data are other people's.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}

/// `1.2 kB`, `90.9 MB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

/// A metric as tables show it.
pub fn metric(value: f64) -> String {
    format!("{value:.4}")
}

/// `accuracy 0.8123, macro_f1 0.8011`.
pub fn metrics(metrics: &[(String, f64)]) -> String {
    metrics.iter().map(|(name, value)| format!("{name} {}", metric(*value))).collect::<Vec<_>>().join(", ")
}

/// The figures of a training step: `epoch 1.5/3  step 120/240  loss 0.6931  1,900 tokens/s  0:42 left`.
pub fn progress(event: &Event) -> Option<String> {
    let Event::Progress { epoch, epochs, step, steps, loss, tokens_per_second, eta_seconds, .. } = event else {
        return None;
    };
    Some(format!(
        "epoch {epoch:.1}/{epochs}  step {step}/{steps}  loss {loss:.4}  {} tokens/s  {} left",
        thousands(tokens_per_second.round() as u64),
        duration(*eta_seconds)
    ))
}

/// Every event but progress and activity as a line; `None` for those.
pub fn line(event: &Event) -> Option<String> {
    raw_line(event).map(|line| printable(&line))
}

fn raw_line(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { file, stages, store } => format!("{file}: {stages} stages, store {store}"),
        Event::StageStopped { stage } => format!("{stage}: stopped by a race"),
        Event::StageHit { stage, .. } => format!("{stage}: already in the store"),
        Event::StageStarted { stage, reason, .. } => format!("{stage}: running ({reason})"),
        Event::StageWaiting { stage, holder, .. } => format!("{stage}: waiting for {holder}, who computes the same"),
        // Not of a training: there are no epochs.
        Event::Evaluated { stage, split, epoch, loss, metrics: found, .. } if *epoch == 0.0 => {
            format!("{stage}: {split}: {}, loss {loss:.4}", metrics(found))
        }
        Event::Evaluated { stage, split, epoch, loss, metrics: found, .. } => {
            format!("{stage}: {split} after epoch {epoch:.1}: {}, loss {loss:.4}", metrics(found))
        }
        Event::Notice { stage, notice } if stage.is_empty() => format!("note: {}", notice.message),
        Event::Notice { stage, notice } => format!("{stage}: note: {}", notice.message),
        Event::StageFinished { stage, seconds, .. } => format!("{stage}: done in {}", duration(*seconds)),
        Event::StageFailed { stage, code, message, help, kept } => {
            let mut text = format!("{stage}: failed ({code})\n  {message}");
            if let Some(help) = help {
                text += &format!("\n  help: {help}");
            }
            if !kept.is_empty() {
                text += &format!("\n  kept: {kept}");
            }
            text
        }
        Event::Published { pipeline, directory } => format!("published {pipeline} to {directory}"),
        Event::Expectation { measure, value, relation, bound, holds } => format!(
            "expect {measure} {relation} {bound}: {} ({})",
            if *holds { "holds" } else { "FAILS" },
            metric(*value)
        ),
        Event::StageRetried { stage, code, message, attempt, seconds } => {
            format!("{stage}: {message} ({code}); try {attempt} in {}", duration(*seconds))
        }
        Event::RunFinished { ran: 0, failed: 0, hits, seconds, .. } => {
            format!("nothing to train: all {hits} stages were in the store ({})", duration(*seconds))
        }
        Event::RunFinished { ran, hits, failed: 0, seconds, .. } => {
            format!("{ran} stages ran, {hits} were in the store ({})", duration(*seconds))
        }
        Event::RunFinished { ran, hits, failed, skipped, seconds } => {
            let skipped = match skipped {
                0 => String::new(),
                count => format!(", {count} were not begun"),
            };
            format!("{ran} stages ran, {hits} were in the store, {failed} failed{skipped} ({})", duration(*seconds))
        }
        Event::Progress { .. } | Event::Activity { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(duration(0.84), "0.8 s");
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7620.0), "2 h 07 min");
        assert_eq!((duration(f64::NAN), duration(f64::INFINITY)), ("?".into(), "?".into()));
        assert_eq!(bytes(90_868_376), "90.9 MB");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let notice = crate::event::Notice::new("c", "a column \u{1b}]0;title\u{7}, one\nline\u{9b}2J\r");
        let said = line(&Event::Notice { stage: "s".into(), notice }).expect("a line");
        assert_eq!(said, "s: note: a column \u{fffd}]0;title\u{fffd}, one\nline\u{fffd}2J\u{fffd}");
    }
}
