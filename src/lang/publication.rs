//! `publish .. as adapter`: whether a pipeline's model is a base and a delta that a library's directories can hold.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::{Form, Node, NodeId, PublishedBase};
use super::signature::{Artifact, Kind, Library};
use super::suggest;
use super::value::Value;
use crate::syntax::{Span, ast};

/// What may stand behind `as`.
pub const ADAPTER: &str = "adapter";

/// Parameters that several deltas in one directory have in common.
const SHARED: &str = "activation";

/// Parameters of a training that change the model below the delta, when they are given.
const REBUILT: [&str; 2] = ["remove_layers", "reinit_layers"];

/// Why a pipeline can't be written apart from its base: code, message, help, and the place in the chain.
struct Obstacle {
    code: &'static str,
    message: String,
    help: String,
    related: Option<(Span, String)>,
}

impl<'a> Checker<'a> {
    /// Whether the form of a publication is one there is; reports what is none.
    pub(super) fn form(&mut self, publish: &ast::Publish) -> bool {
        let Some(form) = publish.form.as_ref().filter(|form| form.text != ADAPTER) else { return true };
        let mut error = Diagnostic::error(
            "ftp::publish::unknown_form",
            form.span,
            format!("nothing can be published as `{}`", form.text),
        )
        .label("expected `adapter`");
        suggest::fix(&mut error, &form.text, [ADAPTER]);
        error.help = Some("write `as adapter` for the delta alone, or nothing for a whole model".into());
        self.report(error);
        false
    }

    /// Finds out what the publications with `as adapter` are apart from their bases. All others are known by now: a base may
    /// be one of them.
    pub(super) fn adapters(&mut self, file: &'a ast::File) {
        for statement in &file.statements {
            let ast::Statement::Publish(publish) = statement else { continue };
            let Some(form) = publish.form.as_ref().filter(|form| form.text == ADAPTER) else { continue };
            let Some(at) = self.program.publications.iter().position(|one| one.span == publish.span) else { continue };
            let output = self.program.pipelines[self.program.publications[at].pipeline].output;
            match self.apart(output) {
                Ok((library, base)) => self.program.publications[at].form = Form::Adapter { library, base },
                Err(obstacle) => {
                    let mut error = Diagnostic::error(obstacle.code, publish.pipeline.span.to(form.span), {
                        format!("`{}` can't be published as an adapter: {}", publish.pipeline.text, obstacle.message)
                    })
                    .label("not as an adapter")
                    .help(obstacle.help);
                    if let Some((span, label)) = obstacle.related {
                        error = error.related(span, label);
                    }
                    self.report(error);
                }
            }
        }
    }

    /// The library that can hold the delta a model ends with, and the model below it.
    fn apart(&self, output: NodeId) -> Result<(Library, PublishedBase), Obstacle> {
        let node = &self.program.nodes[output];
        let members: Vec<NodeId> =
            node.inputs.iter().filter(|(slot, _)| slot.starts_with("models.")).map(|(_, member)| *member).collect();
        // Which of them is chosen is not known yet; all must be alike.
        if let ("select", [first, others @ ..]) = (node.method.as_str(), &members[..]) {
            let found = self.apart(*first)?;
            return match others.iter().map(|other| self.apart(*other)).find(|other| other.as_ref().ok() != Some(&found))
            {
                Some(Err(obstacle)) => Err(obstacle),
                Some(Ok(_)) => Err(Obstacle {
                    code: "ftp::publish::no_delta",
                    message: "the models it is selected from lie over different ones".into(),
                    help: "select among deltas over one model, or publish the whole model: leave `as adapter` out"
                        .into(),
                    related: Some((node.span, "selected here".into())),
                }),
                None => Ok(found),
            };
        }
        let attached = node.inputs.get("model").map(|model| &self.program.nodes[*model]);
        let Some(attached) = attached.filter(|one| matches!(one.output, Artifact::Parametrised | Artifact::Loaded))
        else {
            return Err(Obstacle {
                code: "ftp::publish::no_delta",
                message: format!("`{}` makes a whole model", node.label),
                help: "train a delta, `-> peft(lora) -> finetune(target)`, or publish the whole model: leave `as adapter` out"
                    .into(),
                related: Some((node.span, "trains or makes all weights".into())),
            });
        };
        let given = |name: &&str| {
            node.parameters.get(*name).is_some_and(|one| !matches!(one.value, Value::None | Value::Int(0)))
        };
        if let Some(name) = REBUILT.iter().find(|name| given(name)) {
            return Err(Obstacle {
                code: "ftp::publish::no_format",
                message: format!("`{name}` changes the model below the delta too"),
                help: "publish the whole model: leave `as adapter` out".into(),
                related: Some((node.span, "changed here".into())),
            });
        }
        let library = self.library(attached)?;
        let base = attached.inputs.get("model").copied().unwrap_or(output);
        Ok((library, self.published_base(base)?))
    }

    fn library(&self, attached: &Node) -> Result<Library, Obstacle> {
        let obstacle = |message: String, help: String| Obstacle {
            code: "ftp::publish::no_format",
            message,
            help,
            related: Some((attached.span, "attached here".into())),
        };
        let whole = "publish the whole model, leave `as adapter` out, or use a delta that `peft` or `adapters` knows: `lora`, `ia3`, `adapter`, `prompt`, `prefix`";
        if attached.output == Artifact::Loaded {
            let saved = attached.inputs.values().map(|input| &self.program.nodes[*input]);
            let facts = saved.filter(|node| node.output == Artifact::Delta).find_map(|node| node.source.as_ref());
            let adapters = facts.is_some_and(|facts| facts.architecture.as_deref() == Some(Library::Adapters.name()));
            return Ok(if adapters { Library::Adapters } else { Library::Peft });
        }
        let mut libraries = vec![];
        for delta in &attached.deltas {
            let saved_as = self.registry.get(&delta.method).and_then(|method| method.saved_as);
            let Some(saved_as) = saved_as else {
                return Err(obstacle(
                    format!("no directory of `peft` or `adapters` holds `{}`", delta.method),
                    whole.into(),
                ));
            };
            let value =
                |name: &str| delta.parameters.get(name).map_or(Value::None, |parameter| parameter.value.clone());
            libraries.push(saved_as(&value).map_err(|[why, help]| obstacle(why.into(), help.into()))?);
        }
        let Some(first) = libraries.first().copied() else {
            return Err(obstacle(
                format!("no directory of `peft` or `adapters` holds `{}`", attached.label),
                whole.into(),
            ));
        };
        if libraries.len() > 1 && libraries.iter().any(|library| *library != Library::Adapters) {
            let names: Vec<&str> = attached.deltas.iter().map(|delta| delta.method.as_str()).collect();
            let message = format!("a directory of `peft` holds one delta, not {}", suggest::quoted(&names));
            return Err(obstacle(message, "train one of them, or leave `as adapter` out".into()));
        }
        let shared = |delta: &super::ir::Delta| delta.parameters.get(SHARED).map(|parameter| parameter.value.clone());
        if attached.deltas.windows(2).any(|pair| shared(&pair[0]) != shared(&pair[1])) {
            let message = format!("a directory of `adapters` has one `{SHARED}` for all it holds");
            return Err(obstacle(message, format!("give all deltas of the stack the same `{SHARED}`")));
        }
        Ok(first)
    }

    /// Where others find a model: where the user's lies, or where the file publishes it.
    fn published_base(&self, base: NodeId) -> Result<PublishedBase, Obstacle> {
        let node = &self.program.nodes[base];
        if node.kind == Kind::Source {
            return Ok(PublishedBase::Source(base));
        }
        let published = self.program.publications.iter().find(|publication| {
            publication.form == Form::Model && self.program.pipelines[publication.pipeline].output == base
        });
        match published {
            Some(publication) => Ok(PublishedBase::Directory(publication.directory.clone())),
            None => Err(Obstacle {
                code: "ftp::publish::no_base",
                message: format!("the model below its delta, the result of `{}`, is in no directory", node.label),
                help: "publish that model too: `pipeline below = ..` up to there, and `publish below to \"out/below\"`"
                    .into(),
                related: Some((node.span, "the delta lies over this".into())),
            }),
        }
    }
}
