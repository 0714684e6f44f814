//! `ftp check`.

use clap::Args;

use super::{Exit, FileArguments, project};
use crate::lang::signature::Kind;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: FileArguments,
    /// Print errors as JSON, one object a line, on standard output
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> Exit {
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
            println!("{}: ok ({} pipelines, {stages} stages)", project.source.name, program.pipelines.len());
        }
        Exit::Ok
    }
}
