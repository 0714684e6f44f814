//! The check of a whole file, declaration by declaration.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::defaults::Defaults;
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::ir::{Node, ParamDeclaration, Pipeline, Program};
use super::scope::{Declaration, Entry, Flow, Meaning, Scope, State};
use super::signature::{Artifact, Kind, Registry};
use super::world::World;
use crate::syntax::{self, Source, Span, ast};

/// Names that stand for themselves.
const RESERVED: &[&str] = &["true", "false", "none", "param", "let", "set", "pipeline", "expect", "publish", "to"];

/// Whether a name is a word of the language, which can't be declared.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Declarations that refer to ones below them, and so on, may go this deep.
const DEPTH: usize = 100;

/// A file without errors.
#[derive(Debug, Clone)]
pub struct Checked {
    pub program: Program,
    pub warnings: Vec<Diagnostic>,
}

/// Parses a file, resolves its names, and checks everything that can be known before something runs. `overrides` are
/// values for the file's `param`s, as `--set name=value` gives them.
///
/// # Errors
/// All errors found, in the order of the file; those without a place come first. Warnings are left out then: what seems
/// unused may be used by what is broken.
pub fn check(
    source: &Source,
    registry: &Registry,
    world: &dyn World,
    overrides: &[(String, String)],
) -> Result<Checked, Diagnostics> {
    let (file, errors) = syntax::parse(source);
    let mut checker = Checker::new(registry, world);
    checker.diagnostics.extend(errors.into_iter().map(Diagnostic::from));
    checker.declare(&file);
    checker.params(&file, overrides);
    checker.defaults(&file);
    checker.declarations(&file);
    checker.goals(&file);
    checker.together();
    checker.remaining_defaults();
    checker.unused();
    checker.finish(file.docs.clone())
}

/// The check in progress.
pub(super) struct Checker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) world: &'a dyn World,
    pub(super) scope: Scope<'a>,
    /// What `set` statements say, by method.
    pub(super) defaults: IndexMap<&'a str, Defaults<'a>>,
    pub(super) program: Program,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Pipelines with an error, which `expect` and `publish` may still name.
    pub(super) failed_pipelines: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Checker<'a> {
    fn new(registry: &'a Registry, world: &'a dyn World) -> Self {
        let program = Program {
            docs: None,
            params: vec![],
            nodes: vec![],
            pipelines: vec![],
            expectations: vec![],
            publications: vec![],
        };
        Self {
            registry,
            world,
            scope: Scope::new(),
            defaults: IndexMap::new(),
            program,
            diagnostics: vec![],
            failed_pipelines: HashSet::new(),
            depth: 0,
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Enters every declared name.
    fn declare(&mut self, file: &'a ast::File) {
        for statement in &file.statements {
            let (name, declaration) = match statement {
                ast::Statement::Param(param) => (&param.name, Declaration::Param),
                ast::Statement::Let(binding) => (&binding.name, Declaration::Let(binding)),
                ast::Statement::Pipeline(pipeline) => (&pipeline.name, Declaration::Pipeline(pipeline)),
                ast::Statement::Broken(ast::Broken { name: Some(name), keyword, .. }) => {
                    match keyword.as_deref() {
                        Some("set") => self.defaults.entry(&name.text).or_default().broken = true,
                        Some("expect" | "publish") => {}
                        _ => {
                            self.scope.entry(&name.text).or_insert_with(|| Entry::new(name, Declaration::Broken));
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            self.enter(name, declaration);
        }
    }

    fn enter(&mut self, name: &'a ast::Name, declaration: Declaration<'a>) {
        let text = name.text.as_str();
        if is_reserved(text) {
            self.report(
                Diagnostic::error(
                    "ftp::name::reserved",
                    name.span,
                    format!("`{text}` can't be declared: it is a word of the language"),
                )
                .label("reserved")
                .help("choose another name"),
            );
        } else if self.registry.get(text).is_some_and(|signature| signature.kind == Kind::Stage) {
            self.report(
                Diagnostic::error(
                    "ftp::name::taken",
                    name.span,
                    format!("`{text}` can't be declared: it is the name of a stage"),
                )
                .label("a stage has this name")
                .help(format!("choose another name, such as `my_{text}`")),
            );
        }
        match self.scope.get_mut(text) {
            Some(first) => {
                // Which of the two is meant can't be told, so uses of the name are not judged.
                first.state = State::Done(Meaning::Error);
                let first = first.name.span;
                self.report(
                    Diagnostic::error("ftp::name::duplicate", name.span, format!("`{text}` is declared twice"))
                        .label("declared again")
                        .related(first, "first declared here")
                        .help("rename one of the two"),
                );
            }
            None => {
                self.scope.insert(text, Entry::new(name, declaration));
            }
        }
    }

    /// Evaluates every `let` and `pipeline` in the order of the file.
    fn declarations(&mut self, file: &'a ast::File) {
        for statement in &file.statements {
            match statement {
                ast::Statement::Let(binding) => {
                    self.evaluate(&binding.name.text, binding.name.span);
                }
                ast::Statement::Pipeline(pipeline) => self.pipeline(pipeline),
                _ => {}
            }
        }
    }

    /// What a name means, for the use at `at`; `None` when no such name is declared.
    pub(super) fn resolve(&mut self, name: &str, at: Span) -> Option<Meaning> {
        self.scope.get_mut(name)?.used = true;
        Some(self.evaluate(name, at))
    }

    fn evaluate(&mut self, name: &str, at: Span) -> Meaning {
        let Some(entry) = self.scope.get_mut(name) else { return Meaning::Error };
        let (declared, declaration) = (entry.name, entry.declaration);
        match &entry.state {
            State::Done(meaning) => return meaning.clone(),
            State::Working => {
                self.report(
                    Diagnostic::error("ftp::name::cycle", at, format!("`{name}` is declared by means of itself"))
                        .label("needs itself here")
                        .related(declared.span, "declared here")
                        .help("break the circle: a declaration may only build on others"),
                );
                return Meaning::Error;
            }
            State::Waiting if self.depth == DEPTH => {
                self.report(
                    Diagnostic::error(
                        "ftp::name::too_deep",
                        at,
                        format!("`{name}` leads through more than {DEPTH} declarations below it"),
                    )
                    .label("too far to follow")
                    .help("move declarations above their uses"),
                );
                return Meaning::Error;
            }
            State::Waiting if matches!(declaration, Declaration::Param) => {
                self.report(
                    Diagnostic::error("ftp::param::later", at, format!("`{name}` has no value yet here"))
                        .label("params get their values from top to bottom")
                        .related(declared.span, "declared here")
                        .help(format!("move `param {name}` up, or write the value itself")),
                );
                return Meaning::Error;
            }
            State::Waiting => {}
        }
        self.set_state(name, State::Working);
        self.depth += 1;
        let meaning = match declaration {
            Declaration::Let(binding) => self.binding(binding),
            Declaration::Pipeline(pipeline) => {
                self.chain_flow(&pipeline.chain, None).map_or(Meaning::Error, Meaning::Flow)
            }
            Declaration::Param | Declaration::Broken => Meaning::Error,
        };
        self.depth -= 1;
        self.set_state(name, State::Done(meaning.clone()));
        meaning
    }

    pub(super) fn set_state(&mut self, name: &str, state: State) {
        if let Some(entry) = self.scope.get_mut(name) {
            entry.state = state;
        }
    }

    /// What a `let` binds: a value, data, a model, or a chain.
    fn binding(&mut self, binding: &'a ast::Let) -> Meaning {
        match &binding.bound {
            ast::Binding::Value(value) => Meaning::Value(self.literal(value)),
            ast::Binding::Chain(chain) => match chain.calls.as_slice() {
                [ast::Call { name, arguments: None, .. }] if self.is_value(&name.text) => {
                    let value = ast::Value { kind: ast::ValueKind::Word(name.text.clone()), span: name.span };
                    Meaning::Value(self.literal(&value))
                }
                _ => self.chain_flow(chain, Some(&binding.name.text)).map_or(Meaning::Error, Meaning::Flow),
            },
        }
    }

    /// Whether a bare name stands for a plain value.
    fn is_value(&mut self, name: &str) -> bool {
        matches!(name, "true" | "false" | "none")
            || self.scope.get(name).is_some_and(|entry| match entry.declaration {
                Declaration::Param => true,
                Declaration::Let(binding) => matches!(binding.bound, ast::Binding::Value(_)),
                _ => false,
            })
    }

    /// A pipeline is a chain that ends in a model and has at least one stage.
    fn pipeline(&mut self, pipeline: &'a ast::Pipeline) {
        let name = pipeline.name.text.as_str();
        let meaning = self.evaluate(name, pipeline.name.span);
        let Meaning::Flow(flow) = meaning else {
            self.failed_pipelines.insert(name);
            return;
        };
        match self.pipeline_error(name, &flow) {
            Some(error) => self.report(error),
            None if flow.artifact.is_some() => {
                self.program.pipelines.push(Pipeline {
                    name: name.to_owned(),
                    docs: pipeline.docs.clone(),
                    output: flow.node,
                    stages: flow.stages,
                    span: pipeline.span,
                });
                return;
            }
            None => {}
        }
        self.failed_pipelines.insert(name);
    }

    fn pipeline_error(&self, name: &str, flow: &Flow) -> Option<Diagnostic> {
        let artifact = flow.artifact?;
        match artifact {
            Artifact::Model if flow.stages.is_empty() => Some(
                Diagnostic::error(
                    "ftp::pipeline::no_stages",
                    flow.span,
                    format!("the pipeline `{name}` has no stage to run"),
                )
                .label("only a model as it is")
                .help("add a stage: `-> finetune(target)`"),
            ),
            Artifact::Model => None,
            Artifact::Parametrised => {
                let stage = &self.program.nodes[flow.node];
                Some(
                    Diagnostic::error(
                        "ftp::order::delta_not_trained",
                        flow.span,
                        format!("the pipeline `{name}` ends with `{}`, which nothing trains", stage.label),
                    )
                    .label("attaches a delta for the next stage to train")
                    .help("add a training stage after it: `-> finetune(target)`"),
                )
            }
            Artifact::Text | Artifact::Labelled => Some(
                Diagnostic::error(
                    "ftp::pipeline::not_a_model",
                    flow.span,
                    format!("the pipeline `{name}` must end in a model, but this is {}", artifact.phrase()),
                )
                .label(artifact.phrase())
                .help("declare data with `let`, and use it in a stage: `base -> finetune(target)`"),
            ),
        }
    }

    /// Warns of names nobody uses.
    fn unused(&mut self) {
        let unused = self.scope.values().filter(|entry| {
            !entry.used && matches!(entry.declaration, Declaration::Let(_)) && !entry.name.text.starts_with('_')
        });
        let warnings = unused.map(|entry| {
            let name = &entry.name.text;
            Diagnostic::warning("ftp::name::unused", entry.name.span, format!("`{name}` is never used"))
                .label("declared here")
                .help(format!("use it, remove it, or name it `_{name}` to keep it"))
        });
        let warnings: Vec<_> = warnings.collect();
        self.diagnostics.extend(warnings);
    }

    fn finish(mut self, docs: Option<String>) -> Result<Checked, Diagnostics> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        if self.diagnostics.iter().any(is_error) {
            self.diagnostics.retain(is_error);
            return Err(Diagnostics { all: self.diagnostics });
        }
        self.program.docs = docs;
        Ok(Checked { program: self.program, warnings: self.diagnostics })
    }

    /// Adds a node; its inputs are there already.
    pub(super) fn add_node(&mut self, node: Node) -> usize {
        self.program.nodes.push(node);
        self.program.nodes.len() - 1
    }

    pub(super) fn add_param(&mut self, param: ParamDeclaration) {
        self.program.params.push(param);
    }
}
