//! `ftp explain`.

use clap::Args;

use super::Exit;
use crate::lang::explain::{self, Block, Page};

#[derive(Args)]
pub(super) struct Explain {
    /// The code of an error, whole or its end: ftp::name::unknown_stage, unknown_stage. All codes without one
    code: Option<String>,
}

impl Explain {
    pub fn run(self) -> Exit {
        let Some(code) = self.code else {
            print!("{}", list());
            return Exit::Ok;
        };
        let pages = explain::find(&code);
        if pages.is_empty() {
            eprintln!("error: no error has the code `{code}`");
            match explain::nearest(&code) {
                Some(near) => eprintln!("  help: did you mean `{near}`?"),
                None => eprintln!("  help: `ftp explain` lists all codes"),
            }
            return Exit::Usage;
        }
        let pages: Vec<String> = pages.into_iter().map(show).collect();
        print!("{}", pages.join("\n"));
        Exit::Ok
    }
}

fn list() -> String {
    let width = explain::all().map(|page| page.code.len()).max().unwrap_or(0);
    let line = |page: &Page| format!("{:width$}  {}\n", page.code, page.summary().replace('\n', " "));
    explain::all().map(line).collect()
}

/// A page for the terminal: examples are indented, and say what they are.
fn show(page: &Page) -> String {
    let mut text = format!("{}\n", page.code);
    for block in &page.blocks {
        text += "\n";
        text += &match block {
            Block::Text(paragraph) => format!("{paragraph}\n"),
            Block::Wrong(file) => format!("Wrong:\n\n{}", indented(file)),
            Block::Right(file) => format!("Right:\n\n{}", indented(file)),
            Block::Data { path, count: 1, content } => format!("{path}:\n\n{}", indented(content)),
            Block::Data { path, count, content } => {
                format!("{path}, its last line {count} times with different numbers:\n\n{}", indented(content))
            }
        };
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}
