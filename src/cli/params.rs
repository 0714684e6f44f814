//! The `param`s of the file that a command names, as options of that command: a pipeline's parameters are its command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches};

use crate::report::text::printable;
use crate::syntax::{self, Source, ast};

/// What every command that reads a file takes.
pub(super) struct FileArguments {
    pub file: PathBuf,
    /// Values for declared `param`s, by name; of several for one the last counts.
    pub set: Vec<(String, String)>,
}

/// A `param` that has an option of its own. clap borrows its texts from here.
struct Param {
    name: String,
    /// The option's name for clap, and as it is written.
    id: String,
    option: String,
    ty: String,
    help: String,
}

/// What the file that the command line names says of itself; read before the command line is understood.
struct Announced {
    heading: String,
    params: Vec<Param>,
    /// The file's documentation, and its pipelines with theirs.
    about: String,
}

static ANNOUNCED: OnceLock<Announced> = OnceLock::new();

/// Reads the params of the file that these arguments name, if they name one. Whatever is wrong with it is said later, by
/// the command itself. A param that is called like an option of a command can be given with `--set` only.
pub(super) fn announce<C: CommandFactory>(arguments: &[OsString]) {
    let file = arguments.iter().skip(1).map(Path::new).find(|path| path.extension().is_some_and(|end| end == "ftp"));
    let Some((file, text)) = file.and_then(|file| Some((file, std::fs::read_to_string(file).ok()?))) else { return };
    let options: Vec<String> = C::command()
        .get_subcommands()
        .flat_map(|command| command.get_arguments().filter_map(|one| one.get_long().map(str::to_owned)))
        .chain(["help".to_owned(), "version".to_owned()])
        .collect();
    let source = Source::new(file.display().to_string(), text);
    let (tree, _) = syntax::parse(&source);
    let about = about(&tree, &source);
    let params = tree.statements.into_iter().filter_map(|statement| match statement {
        ast::Statement::Param(param) if !options.contains(&option(&param.name.text)) => Some(Param {
            help: help(&param, &source),
            id: format!("param {}", param.name.text),
            option: option(&param.name.text),
            ty: source.text[param.ty.span.start..param.ty.span.end].to_owned(),
            name: param.name.text,
        }),
        _ => None,
    });
    let mut params: Vec<Param> = params.collect();
    // Declared twice is an error of the file's; one option is enough to say so.
    let mut seen = std::collections::HashSet::new();
    params.retain(|param| seen.insert(param.option.clone()));
    let _ = ANNOUNCED.set(Announced { heading: format!("Parameters of {}", source.name), params, about });
}

fn option(name: &str) -> String {
    name.replace('_', "-")
}

/// The file's documentation, and its pipelines, each with the first line of its own.
fn about(tree: &ast::File, source: &Source) -> String {
    let pipelines = tree.statements.iter().filter_map(|statement| match statement {
        ast::Statement::Pipeline(pipeline) => Some(pipeline),
        _ => None,
    });
    let pipelines: Vec<&ast::Pipeline> = pipelines.collect();
    let width = pipelines.iter().map(|pipeline| pipeline.name.text.chars().count()).max().unwrap_or(0);
    let lines = pipelines.iter().map(|pipeline| {
        let first = pipeline.docs.as_deref().and_then(|docs| docs.lines().next()).unwrap_or("");
        format!("  {:width$}  {first}", pipeline.name.text).trim_end().to_owned()
    });
    let pipelines = match pipelines.is_empty() {
        true => String::new(),
        false => format!("Pipelines of {}:\n{}", source.name, lines.collect::<Vec<_>>().join("\n")),
    };
    let parts = [tree.docs.clone().unwrap_or_default(), pipelines];
    printable(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n"))
}

fn help(param: &ast::Param, source: &Source) -> String {
    let docs = param.docs.as_deref().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ");
    let default = &source.text[param.default.span.start..param.default.span.end];
    format!("{docs}{}[default: {default}]", if docs.is_empty() { "" } else { " " })
}

impl FromArgMatches for FileArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
        let mut set: Vec<(String, String)> = matches.get_many("set").into_iter().flatten().cloned().collect();
        for param in ANNOUNCED.get().iter().flat_map(|announced| &announced.params) {
            let given = matches.try_get_many::<String>(&param.id).ok().flatten();
            set.extend(given.into_iter().flatten().map(|value| (param.name.clone(), value.clone())));
        }
        Ok(Self { file, set })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for FileArguments {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new("file").value_name("FILE").required(true).help("The `.ftp` file");
        let set = Arg::new("set").long("set").value_name("NAME=VALUE").action(ArgAction::Append);
        let set = set.help("Set a declared `param`: --set name=value (repeatable)");
        let mut command = command
            .arg(file.value_parser(clap::value_parser!(PathBuf)))
            .arg(set.value_parser(assignment as fn(&str) -> Result<(String, String), String>));
        if let Some(Announced { heading, params, about }) = ANNOUNCED.get() {
            if !about.is_empty() {
                command = command.after_help(about.as_str());
            }
            for param in params {
                command = command.arg(
                    Arg::new(param.id.as_str())
                        .long(param.option.as_str())
                        .alias(param.name.as_str())
                        .value_name(param.ty.as_str())
                        .action(ArgAction::Append)
                        .allow_hyphen_values(true)
                        .help(param.help.as_str())
                        .help_heading(heading.as_str()),
                );
            }
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as NAME=VALUE, e.g. --set epochs=5".to_owned()),
    }
}
