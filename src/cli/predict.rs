//! `ftp predict`: label texts with a published model, or with results in the store.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use crate::data::{DataError, saved};
use crate::lang::world::Digest;
use crate::methods::bases::Bases;
use crate::methods::bundle::Bundle;
use crate::methods::predict::{self, Predictor};
use crate::plan::spec::StageFailure;
use crate::store::{Lookup, Store, StoreError};

/// Texts labelled at a time: enough to keep the cores busy, few enough to answer a pipe soon.
const CHUNK: usize = 256;

/// Reads texts from the arguments, from a file, or a line each from standard input; writes a line each.
#[derive(Args)]
pub(super) struct Predict {
    /// A directory that `publish` wrote, any Hugging Face sequence-classification model, or an adapter of `peft` or
    /// `adapters`; or a result in the store: the
    /// first characters of a key, or the name of a pipeline, for what the last run that finished it came to
    #[arg(value_name = "DIR|KEY|PIPELINE")]
    model: String,
    /// The model that an adapter in DIR lies over, a directory [default: the one its configuration names]
    #[arg(long, value_name = "DIR", conflicts_with = "delta")]
    base: Option<PathBuf>,
    /// Texts to label; two parts of a pair are separated by a tab
    text: Vec<String>,
    /// Label every text with this result too: another delta over the same model, which is read only once
    #[arg(long, value_name = "KEY|PIPELINE")]
    delta: Vec<String>,
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE")]
    store: Option<PathBuf>,
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
        let predictors = self.predictors()?;
        let mut lines = self.lines()?;
        let mut cut = 0;
        loop {
            let texts: Vec<String> = lines.by_ref().take(CHUNK).collect::<Result<_, _>>().map_err(unreadable)?;
            if texts.is_empty() {
                break;
            }
            let mut answers = vec![];
            let mut cut_here = 0;
            for (_, predictor) in &predictors {
                let (predictions, truncated) = predictor.label(&texts)?;
                cut_here = truncated.max(cut_here);
                answers.push(predictions);
            }
            cut += cut_here;
            let mut out = std::io::stdout().lock();
            for (row, text) in texts.iter().enumerate() {
                for ((name, _), answers) in predictors.iter().zip(&answers) {
                    let name = (predictors.len() > 1).then_some(name.as_str());
                    writeln!(out, "{}", self.line(name, &answers[row], text)).map_err(unreadable)?;
                }
            }
        }
        if cut > 0 {
            eprintln!("note: {cut} texts are longer than {} tokens and were cut", self.max_length);
        }
        Ok(())
    }

    /// One answer; `name` tells several models' apart.
    fn line(&self, name: Option<&str>, answer: &predict::Answer, text: &str) -> String {
        match (self.json, name) {
            (false, None) => answer.line(text),
            (false, Some(name)) => format!("{name}\t{}", answer.line(text)),
            (true, name) => {
                let mut object = answer.to_json(text);
                if let Some(name) = name {
                    object["model"] = name.into();
                }
                object.to_string()
            }
        }
    }

    /// The model and the other deltas, each with the name it was given by.
    fn predictors(&self) -> Result<Vec<(String, Predictor)>, StageFailure> {
        let directory = Path::new(&self.model);
        if directory.is_dir() && self.delta.is_empty() {
            let bundle = match directory.join(saved::CONFIG).is_file() {
                true => self.with_adapter(directory)?,
                false => Bundle::from_directory(directory)?,
            };
            return Ok(vec![(self.model.clone(), Predictor::new(bundle, self.max_length, &self.device)?)]);
        }
        let store = Store::open(super::project::store_directory(self.store.as_deref()))?;
        let mut bases = Bases::keeping();
        let mut predictors: Vec<(String, Predictor)> = vec![];
        let mut first = None;
        for name in std::iter::once(&self.model).chain(&self.delta) {
            let output = output_of(&store, name)?;
            let base = Bases::below(&store, &output)?;
            if *first.get_or_insert_with(|| base.clone()) != base {
                let message = format!("`{name}` is no delta over the model that `{}` is one over", self.model);
                return Err(StageFailure::new("ftp::predict::other_base", message).help("predict with it by itself"));
            }
            let predictor = Predictor::new(bases.open(&store, &output)?, self.max_length, &self.device)?;
            let predictor = match predictors.first() {
                Some((_, first)) => predictor.sharing(first),
                None => predictor,
            };
            predictors.push((name.clone(), predictor));
        }
        Ok(predictors)
    }

    /// An adapter over its base.
    fn with_adapter(&self, directory: &Path) -> Result<Bundle, StageFailure> {
        let base = match &self.base {
            Some(base) => base.clone(),
            None => {
                let base = base_of(directory)?;
                eprintln!("note: over the model in {}", base.display());
                base
            }
        };
        let (bundle, notices) = Bundle::with_saved(&base, directory)?;
        for notice in notices {
            eprintln!("note: {}", notice.message);
        }
        Ok(bundle)
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

/// Where the model lies that an adapter's configuration names: seen from here or, for one that was published, from a
/// directory above it.
fn base_of(directory: &Path) -> Result<PathBuf, StageFailure> {
    let found = saved::read(directory, &directory.display().to_string()).map_err(DataError::from)?;
    let named = found.base.unwrap_or_default();
    let whole = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    let places =
        std::iter::once(PathBuf::from(&named)).chain(whole.ancestors().skip(1).map(|above| above.join(&named)));
    let found = places.into_iter().find(|place| !named.is_empty() && place.join(saved::MODEL_CONFIG).is_file());
    found.ok_or_else(|| {
        let message = match named.as_str() {
            "" => format!("{} names no model that it lies over", directory.display()),
            named => format!("{} lies over `{named}`, which is no directory here", directory.display()),
        };
        StageFailure::new("ftp::predict::no_base", message).help("say where that model lies: `--base DIR`")
    })
}

/// The output of a result in the store.
fn output_of(store: &Store, name: &str) -> Result<Digest, StageFailure> {
    let key = store.find(name).map_err(|error| match error {
        StoreError::NothingNamed { .. } => {
            let message = format!("there is neither a directory nor a result in the store named `{name}`");
            StageFailure::new("ftp::predict::no_model", message)
                .help("give a directory with a model, the name of a pipeline that was run, or a key that `ftp cache ls` shows")
        }
        error => error.into(),
    })?;
    match store.lookup(&key) {
        Lookup::Hit(manifest) => Ok(manifest.output),
        Lookup::Miss(_) => {
            let message = format!("the result of `{name}` is not whole in the store any more");
            Err(StageFailure::new("ftp::predict::no_model", message).help("run its pipeline again: `ftp run`"))
        }
    }
}

fn unreadable(error: std::io::Error) -> StageFailure {
    StageFailure::new("ftp::predict::unreadable", format!("the texts can't be read: {error}"))
        .help("texts must be UTF-8, one a line")
}
