//! `ftp check`.

use clap::Args;

use super::{Exit, FileArguments, project, sarif};
use crate::lang::signature::Kind;
use crate::lang::{Checked, Diagnostic, Diagnostics, Fix};
use crate::syntax::Source;

/// Mending one error can uncover another; this many times is enough for any sane file.
const ROUNDS: usize = 8;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: FileArguments,
    /// Print errors as JSON, one object a line, on standard output
    #[arg(long)]
    json: bool,
    /// Print errors as SARIF 2.1.0 on standard output
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
    /// Mend what can be mended without doubt, such as misspelt names, and write the file
    #[arg(long)]
    fix: bool,
}

impl Check {
    pub fn run(self) -> Exit {
        if self.fix
            && let Err(exit) = self.mend()
        {
            return exit;
        }
        if self.sarif {
            return self.report();
        }
        let project = match project::open(&self.file, self.json) {
            Ok(project) => project,
            Err(exit) => return exit,
        };
        if !self.json {
            let program = &project.program;
            for node in &program.nodes {
                for notice in node.source.iter().flat_map(|facts| &facts.notices) {
                    eprintln!("note: {}: {}", node.label, notice.message);
                }
            }
            let stages = program.nodes.iter().filter(|node| node.kind == Kind::Stage).count();
            let (pipelines, stages) = (counted(program.pipelines.len(), "pipeline"), counted(stages, "stage"));
            println!("{}: ok ({pipelines}, {stages})", project.source.name);
        }
        Exit::Ok
    }

    fn report(&self) -> Exit {
        let (source, checked) = match project::check(&self.file) {
            Ok(read) => read,
            Err(exit) => return exit,
        };
        let exit = if checked.is_ok() { Exit::Ok } else { Exit::WrongFile };
        println!("{:#}", sarif::log(&source, findings(&checked)));
        exit
    }

    /// Applies fixes as long as they lead somewhere, and writes the file if any did.
    fn mend(&self) -> Result<(), Exit> {
        let (mut source, mut checked) = project::check(&self.file)?;
        let mut fixed = 0;
        for _ in 0..ROUNDS {
            let fixes = findings(&checked).iter().filter_map(|one| one.fix.as_ref());
            // A module may be someone else's.
            let fixes: Vec<&Fix> = fixes.filter(|fix| fix.span.file == 0).collect();
            let (text, applied) = apply(&source.text, fixes);
            let mended = Source::new(&source.name, text);
            let after = project::check_source(&self.file, &mended);
            // A mended name may uncover an error behind it, but never make one argument of two.
            if applied == 0 || errors(&after) > errors(&checked) || repeated(&after) > repeated(&checked) {
                break;
            }
            (source, checked, fixed) = (mended, after, fixed + applied);
        }
        if fixed > 0 {
            project::replace(&self.file.file, &source.text)?;
            eprintln!("{}: {fixed} {} mended", source.name, if fixed == 1 { "place" } else { "places" });
        }
        Ok(())
    }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn findings(checked: &Result<Checked, Diagnostics>) -> &[Diagnostic] {
    match checked {
        Ok(checked) => &checked.warnings,
        Err(diagnostics) => &diagnostics.all,
    }
}

fn errors(checked: &Result<Checked, Diagnostics>) -> usize {
    checked.as_ref().err().map_or(0, Diagnostics::errors)
}

/// How many names and arguments are given twice.
fn repeated(checked: &Result<Checked, Diagnostics>) -> usize {
    findings(checked).iter().filter(|one| one.code.ends_with("::duplicate")).count()
}

/// The text with the edits made, and how many; of edits of one place only the first is.
fn apply(text: &str, mut fixes: Vec<&Fix>) -> (String, usize) {
    fixes.sort_by_key(|fix| fix.span);
    let (mut mended, mut end, mut applied) = (String::with_capacity(text.len()), 0, 0);
    for fix in fixes {
        if fix.span.start < end || (applied > 0 && fix.span.start == end) {
            continue;
        }
        mended += &text[end..fix.span.start];
        mended += &fix.text;
        end = fix.span.end;
        applied += 1;
    }
    mended += &text[end..];
    (mended, applied)
}
