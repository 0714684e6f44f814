//! What ships with the program is checked, formatted and planned; what the documentation shows is the language there is.

use std::fs;
use std::path::{Path, PathBuf};

use ftp::lang::{self, Checked, stdlib};
use ftp::methods;
use ftp::plan::Plan;
use ftp::syntax::ast::{Statement, Type};
use ftp::syntax::{self, Source};

mod support;
use support::Table;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Checks and plans a file with the real methods, data being there whatever it is called.
fn stages(source: &Source) -> usize {
    match lang::check(source, methods::registry(), &Table, &[]) {
        Ok(Checked { program, warnings, source }) => {
            let reports: Vec<_> = warnings.iter().map(|one| one.render(&source, false)).collect();
            assert!(warnings.is_empty(), "{}", reports.join("\n"));
            Plan::new(&program, "cpu").stages.len()
        }
        Err(found) => {
            let reports: Vec<_> = found.all.iter().map(|one| one.render(&found.source, false)).collect();
            panic!("{}:\n{}", source.name, reports.join("\n"))
        }
    }
}

#[test]
fn every_module_of_the_standard_library_is_known_and_formatted() {
    let shipped: Vec<_> = files("stdlib", "ftp");
    let names: Vec<_> = shipped.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let known: Vec<_> = stdlib::MODULES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known);
    for (name, text) in stdlib::MODULES {
        let source = Source::new(*name, *text);
        assert_eq!(syntax::format(&source).unwrap(), *text, "std.{name} is not in the one style");
    }
}

/// An argument for a parameter without a default.
fn argument(ty: &Type) -> String {
    match ty.name.text.as_str() {
        "model" => "base".into(),
        "text" => "domain".into(),
        "labelled" => "target".into(),
        "delta" => "bitfit".into(),
        "recipe" => "finetune".into(),
        other => panic!("a recipe of the library needs a {other}; give it a default"),
    }
}

#[test]
fn every_recipe_of_the_standard_library_is_documented_and_makes_a_plan() {
    let mut recipes = 0;
    for (module, text) in stdlib::MODULES {
        let (tree, _) = syntax::parse(&Source::new(*module, *text));
        for statement in &tree.statements {
            let Statement::Recipe(recipe) = statement else { continue };
            recipes += 1;
            let name = &recipe.name.text;
            assert!(recipe.docs.is_some(), "std.{module}.{name} says nothing about itself");
            for parameter in &recipe.parameters {
                assert!(parameter.docs.is_some(), "std.{module}.{name}: `{}` is not documented", parameter.name.text);
            }
            let given = recipe.parameters.iter().filter(|parameter| parameter.default.is_none());
            let given: Vec<_> = given.map(|one| format!("{} = {}", one.name.text, argument(&one.ty))).collect();
            let text = format!(
                "use std.{module}\n\nlet base = hf(\"models/minilm\")\nlet _domain = text(\"d.txt\")\nlet domain = _domain\n\
let target = labelled(\"d.jsonl\")\npipeline _main = base -> adapt(domain) -> finetune(target)\n\
pipeline main = {module}.{name}({})\n",
                given.join(", ")
            );
            assert!(stages(&Source::new(format!("std.{module}.{name}"), text)) >= 2);
        }
    }
    assert!(recipes >= 8, "only {recipes} recipes were found");
}

#[test]
fn every_pipeline_in_the_repository_is_formatted_and_makes_a_plan() {
    let shipped = files("pipelines", "ftp");
    assert!(shipped.len() >= 4);
    for path in shipped {
        let text = read(&path);
        let source = Source::new(path.file_name().unwrap().to_str().unwrap(), &text);
        assert_eq!(syntax::format(&source).unwrap(), text, "{} is not in the one style", source.name);
        assert!(stages(&source) >= 2, "{}", source.name);
    }
}

/// The blocks of a page that are in the language.
fn blocks(text: &str) -> Vec<&str> {
    let mut blocks = vec![];
    let mut rest = text;
    while let Some(at) = rest.find("```ftp\n") {
        let body = &rest[at + 7..];
        let end = body.find("\n```").expect("a block has an end");
        blocks.push(&body[..end + 1]);
        rest = &body[end..];
    }
    blocks
}

#[test]
fn every_example_of_the_documentation_is_in_the_language() {
    let mut pages = files("docs", "md");
    pages.push(root().join("README.md"));
    let mut examples = 0;
    for page in pages {
        let text = read(&page);
        for block in blocks(&text) {
            examples += 1;
            let source = Source::new(page.display().to_string(), block);
            let (_, errors) = syntax::parse(&source);
            assert!(errors.is_empty(), "{}: {errors:?}\n{block}", page.display());
        }
    }
    assert!(examples > 10, "only {examples} examples were found");
}
