//! What is written beside a published model: the card, and the file that makes the model again.

use std::path::{Component, Path};

use super::project::Project;
use crate::data::pinned::HubModel;
use crate::exec::RunReport;
use crate::lang::ir::{Node, Publication};
use crate::lang::value::Value;
use crate::methods;
use crate::methods::interchange::BaseName;
use crate::modules::Lock;
use crate::plan::Plan;
use crate::plan::reproduce::{self, Place, Request};
use crate::report::card::Card;

/// Names and texts of the files.
pub(super) fn beside(
    project: &Project,
    plan: &Plan,
    report: &RunReport,
    publication: &Publication,
) -> [(&'static str, String); 2] {
    let program = &project.program;
    let pipeline = &program.pipelines[publication.pipeline];
    let result = |stage: usize| report.manifest_of(stage);
    let card = Card {
        program,
        plan,
        registry: methods::registry(),
        pipeline: publication.pipeline,
        form: &publication.form,
        result: &result,
    };
    let last = plan.stage_of(pipeline.output).and_then(result);
    let docs = [
        format!("Makes the model `{}` again, as ftp {} made it.", pipeline.name, env!("CARGO_PKG_VERSION")),
        String::new(),
        "Recipes, modules and values of the command line are written out. Files are told by their BLAKE3 digests; where".into(),
        "they lie is a parameter.".into(),
        format!("Key of the result: {}", last.map_or("", |result| result.key.as_str())),
        format!("Output digest:     {}", last.map_or("", |result| result.output.as_str())),
    ];
    let request = Request {
        program,
        plan,
        registry: methods::registry(),
        pipeline: publication.pipeline,
        stopped: &|stage| report.stopped.get(stage).copied().unwrap_or_default(),
        place: &|node| place(project, node),
        root: &way_back(&publication.directory),
        docs: &docs,
    };
    [("README.md", card.write().unwrap_or_default()), ("reproduce.ftp", reproduce::write(&request))]
}

/// A model as its user named it.
pub(super) fn base_name(project: &Project, node: &Node) -> BaseName {
    if let Place::Hub { name, commit } = place(project, node) {
        return BaseName { name, revision: Some(commit) };
    }
    let path = node.parameters.get("path").and_then(|parameter| parameter.value.as_string());
    BaseName { name: path.unwrap_or(&node.label).to_owned(), revision: None }
}

/// Where a source lies, as seen from the project's directory.
pub(super) fn place(project: &Project, node: &Node) -> Place {
    if let Some(model) = HubModel::in_plan(node) {
        let pin = Lock::read(&project.directory).ok();
        let pin = pin.as_ref().and_then(|lock| lock.find_model(&model.name, &model.revision));
        // It was read from where its pin says.
        let commit = pin.map_or(model.revision, |pin| pin.commit.clone());
        return Place::Hub { name: model.name, commit };
    }
    let Some(Value::String(path)) = node.parameters.get("path").map(|parameter| &parameter.value) else {
        return Place::Outside(node.label.clone());
    };
    let last = || {
        let last =
            path.rsplit(['/', '\\']).find(|part| !part.is_empty() && !part.contains("..")).unwrap_or(&node.label);
        Place::Outside(last.to_owned())
    };
    // Relative to the module that declares it; what was fetched from a repository is no part of the project.
    let module = match node.span.file {
        0 => Path::new("").to_path_buf(),
        _ => match Path::new(&project.source.of(node.span).name).strip_prefix(&project.directory) {
            Ok(file) if project.directory.join(file).is_file() => file.parent().unwrap_or(Path::new("")).to_path_buf(),
            _ => return last(),
        },
    };
    let mut parts: Vec<&str> = vec![];
    let whole = module.join(path);
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if parts.pop().is_some() => {}
            Component::Normal(part) => match part.to_str() {
                Some(part) => parts.push(part),
                None => return last(),
            },
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return last(),
        }
    }
    Place::Within(parts.join("/"))
}

/// From a published directory back to the project's: `../..` for `out/small`; where that can't be told, the directory
/// that the file lies in.
fn way_back(directory: &str) -> String {
    let mut depth = 0;
    for part in Path::new(directory).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return ".".to_owned(),
        }
    }
    match depth {
        0 => ".".to_owned(),
        depth => vec![".."; depth].join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_told_where_it_can_be() {
        for (directory, back) in [
            ("out/small", "../.."),
            ("./out", ".."),
            ("out/../b", ".."),
            (".", "."),
            ("/srv/out", "."),
            ("../out", "."),
        ] {
            assert_eq!(way_back(directory), back, "{directory}");
        }
    }
}
