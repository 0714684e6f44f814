//! The command line: one file a command.
//!
//! Exit codes: 0 ok, 1 a stage or an expectation failed, 2 usage, 3 the file is wrong, 130 interrupted.

mod bundle;
mod cache;
mod check;
mod diff;
mod doctor;
mod explain;
mod fmt;
mod graph;
mod help;
#[cfg(feature = "remote")]
mod key;
mod limits;
#[cfg(feature = "train")]
mod listeners;
mod lock;
mod log;
mod lsp;
mod methods;
mod new;
mod params;
mod past;
mod plan;
#[cfg(feature = "train")]
mod predict;
mod project;
#[cfg(feature = "train")]
mod publish;
#[cfg(feature = "remote")]
mod push;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "train")]
mod report;
#[cfg(feature = "train")]
mod reproduction;
#[cfg(feature = "train")]
mod results;
#[cfg(feature = "train")]
mod run;
mod sarif;
mod show;
#[cfg(any(feature = "train", feature = "remote"))]
mod signals;
#[cfg(feature = "train")]
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use params::FileArguments;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    WrongFile = 3,
    #[cfg_attr(
        not(any(feature = "train", feature = "remote")),
        expect(dead_code, reason = "only runs and transfers are interrupted")
    )]
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Declarative pipelines for fine-tuning language models.
#[derive(Parser)]
#[command(name = "ftp", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a file without running anything: names, types, ranges, data, labels
    Check(check::Check),
    /// Show what of this machine can be used: devices, precisions, threads, memory, the store
    Doctor(doctor::Doctor),
    /// Explain the code of an error, with a wrong and a right example
    Explain(explain::Explain),
    /// Write files in the one style, or say where they differ from it
    Fmt(fmt::Fmt),
    /// Record which commits of repositories a file's modules stand at, and fetch them
    Lock(lock::LockCommand),
    /// Take the newest commits behind the tags that a file's modules name
    Update(lock::Update),
    /// Copy modules of repositories beside the file
    Vendor(lock::Vendor),
    /// Show which stages are in the store, which will run, and why
    Plan(plan::Plan),
    /// Run what is not in the store yet, publish, and report
    #[cfg(feature = "train")]
    Run(run::Run),
    /// Write what came of a run into one HTML file
    #[cfg(feature = "train")]
    Report(report::Report),
    /// Draw the plan as a graph (SVG, Graphviz dot, Mermaid or JSON)
    Graph(graph::Graph),
    /// Label texts with a published model
    #[cfg(feature = "train")]
    Predict(predict::Predict),
    /// Pack a file, its modules, data and results into one archive that runs elsewhere
    Bundle(bundle::Bundle),
    /// Unpack what `ftp bundle` packed, verified, its results into the store
    Unbundle(bundle::Unbundle),
    /// Give results to a remote: a directory, an S3-compatible service
    #[cfg(feature = "remote")]
    Push(push::Push),
    /// Bring results from a remote into the store, verified
    #[cfg(feature = "remote")]
    Pull(push::Pull),
    /// Make and show the key that results are signed with, and say whose results are taken
    #[cfg(feature = "remote")]
    Key(key::Key),
    /// List the runs, the last one first
    Log(log::Log),
    /// Show a run, or a result: what it was made from, what came of it, what was noted
    Show(show::Show),
    /// Compare two runs or results: everything they were made from, and their scores
    Diff(diff::Diff),
    /// Look after the store: list and pin results, remove what nothing keeps, verify everything
    Cache(cache::Cache),
    /// List the methods, or show the manual page of one
    Methods(methods::Methods),
    /// Begin a project: a commented file with a little data, which checks and runs
    New(new::New),
    /// Show the help of a command, or the manual page of a method
    Help(help::Help),
    /// Serve an editor: diagnostics, completion, hover and more, over standard input and output
    Lsp(lsp::Lsp),
    /// Run one stage; started by `ftp run`
    #[cfg(feature = "train")]
    #[command(hide = true)]
    Stage(stage::Stage),
}

/// What every command that looks into the store takes.
#[derive(Args)]
struct StoreArguments {
    /// Where results are kept [default: $FTP_STORE, else ~/.cache/ftp]
    #[arg(long, value_name = "DIR", env = "FTP_STORE")]
    store: Option<PathBuf>,
    /// What to compute on: cpu, or cuda:0; several GPUs, cuda:0,cuda:1, have a stage each
    #[arg(long, default_value = "cpu", value_parser = device_name)]
    device: String,
}

/// A device's name; whether there is one is asked where something is computed, not where it is planned.
fn device_name(text: &str) -> Result<String, String> {
    let gpu = |name: &str| name.strip_prefix("cuda:").is_some_and(|index| index.parse::<u16>().is_ok());
    let gpus: Vec<&str> = text.split(',').collect();
    let twice = gpus.iter().enumerate().any(|(at, name)| gpus[..at].contains(name));
    let known = text == "cpu" || text == "cuda" || (gpus.iter().all(|name| gpu(name)) && !twice);
    match known {
        true => Ok(text.to_owned()),
        false => Err("a device is `cpu`, or `cuda:0`, `cuda:1` ..., or several of these: `cuda:0,cuda:1`".to_owned()),
    }
}

/// Runs the command the process arguments name.
pub fn main() -> ExitCode {
    // Writing to a closed pipe (`ftp plan ... | head`) ends the program quietly, as everywhere on Unix.
    #[cfg(unix)]
    // SAFETY: called first thing in the process, before any thread exists.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    params::announce::<Cli>(&arguments);
    let exit = match Cli::parse_from(arguments).command {
        Command::Check(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Fmt(command) => command.run(),
        Command::Lock(command) => command.run(),
        Command::Update(command) => command.run(),
        Command::Vendor(command) => command.run(),
        Command::Plan(command) => command.run(),
        #[cfg(feature = "train")]
        Command::Run(command) => command.run(),
        #[cfg(feature = "train")]
        Command::Report(command) => command.run(),
        Command::Graph(command) => command.run(),
        #[cfg(feature = "train")]
        Command::Predict(command) => command.run(),
        Command::Bundle(command) => command.run(),
        Command::Unbundle(command) => command.run(),
        #[cfg(feature = "remote")]
        Command::Push(command) => command.run(),
        #[cfg(feature = "remote")]
        Command::Pull(command) => command.run(),
        #[cfg(feature = "remote")]
        Command::Key(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Show(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Cache(command) => command.run(),
        Command::Methods(command) => command.run(),
        Command::New(command) => command.run(),
        Command::Help(command) => command.run(),
        Command::Lsp(command) => command.run(),
        #[cfg(feature = "train")]
        Command::Stage(command) => return command.run(),
    };
    exit.into()
}
