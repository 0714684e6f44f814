//! `ftp predict`: label texts with a published model.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use crate::methods::bundle::Bundle;
use crate::methods::predict;
use crate::plan::spec::StageFailure;

/// Texts labelled at a time: enough to keep the cores busy, few enough to answer a pipe soon.
const CHUNK: usize = 256;

/// Reads texts from the arguments, from a file, or a line each from standard input; writes a line each.
#[derive(Args)]
pub(super) struct Predict {
    /// A directory that `publish` wrote, or any Hugging Face sequence-classification model
    model: PathBuf,
    /// Texts to label; two parts of a pair are separated by a tab
    text: Vec<String>,
    /// Read texts from this file, a line each (`-` for standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// One JSON object a line, with the probability of every label
    #[arg(long)]
    json: bool,
    /// Longest sequence in tokens
    #[arg(long, default_value_t = 128)]
    max_length: usize,
    /// What to compute on: cpu, or cuda:0 ...
    #[arg(long, default_value = "cpu", value_parser = super::device_name)]
    device: String,
}

impl Predict {
    pub fn run(self) -> Exit {
        if let Err(error) = crate::train::device(&self.device) {
            super::project::print_error(&error);
            return Exit::Usage;
        }
        match self.predict() {
            Ok(()) => Exit::Ok,
            Err(failure) => {
                eprintln!("error: {} ({})", failure.message, failure.code);
                if let Some(help) = failure.help {
                    eprintln!("  help: {help}");
                }
                Exit::Failed
            }
        }
    }

    fn predict(self) -> Result<(), StageFailure> {
        let predictor = predict::Predictor::new(Bundle::from_directory(&self.model)?, self.max_length, &self.device)?;
        let mut lines = self.lines()?;
        let mut cut = 0;
        loop {
            let texts: Vec<String> = lines.by_ref().take(CHUNK).collect::<Result<_, _>>().map_err(unreadable)?;
            if texts.is_empty() {
                break;
            }
            let (predictions, truncated) = predictor.label(&texts)?;
            cut += truncated;
            let mut out = std::io::stdout().lock();
            for (text, prediction) in texts.iter().zip(predictions) {
                let line = if self.json { prediction.to_json(text).to_string() } else { prediction.line(text) };
                writeln!(out, "{line}").map_err(unreadable)?;
            }
        }
        if cut > 0 {
            eprintln!("note: {cut} texts are longer than {} tokens and were cut", self.max_length);
        }
        Ok(())
    }

    fn lines(&self) -> Result<Box<dyn Iterator<Item = std::io::Result<String>>>, StageFailure> {
        if !self.text.is_empty() {
            return Ok(Box::new(self.text.clone().into_iter().map(Ok)));
        }
        match &self.input {
            Some(path) if path.as_os_str() != "-" => {
                let file = std::fs::File::open(path).map_err(|error| {
                    StageFailure::new(
                        "ftp::predict::unreadable",
                        format!("can't read {}: {}", path.display(), super::project::reason(&error)),
                    )
                })?;
                Ok(Box::new(std::io::BufReader::new(file).lines()))
            }
            _ => {
                if std::io::stdin().is_terminal() {
                    eprintln!("reading texts from the terminal, one a line; end with ctrl-D");
                }
                Ok(Box::new(std::io::stdin().lock().lines()))
            }
        }
    }
}

fn unreadable(error: std::io::Error) -> StageFailure {
    StageFailure::new("ftp::predict::unreadable", format!("the texts can't be read: {error}"))
        .help("texts must be UTF-8, one a line")
}
