//! `ftp help`: of a command, or of a method of the language.

use clap::{Args, CommandFactory};

use super::{Cli, Exit, methods};
use crate::methods as registry;

#[derive(Args)]
pub(super) struct Help {
    /// A command (`run`) or a method (`finetune`)
    topic: Option<String>,
}

impl Help {
    pub fn run(self) -> Exit {
        // Building fills in each command's usage line.
        let mut program = Cli::command();
        program.build();
        let Some(topic) = self.topic else {
            print!("{}", program.render_long_help());
            return Exit::Ok;
        };
        if let Some(command) = program.find_subcommand_mut(&topic) {
            print!("{}", command.render_long_help());
            return Exit::Ok;
        }
        if let Some(signature) = registry::registry().get(&topic) {
            print!("{}", methods::shown(signature));
            return Exit::Ok;
        }
        eprintln!("error: there is no command and no method `{topic}`");
        eprintln!("  help: `ftp help` lists the commands, `ftp methods` the methods");
        Exit::Usage
    }
}
