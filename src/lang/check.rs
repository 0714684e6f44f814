//! The check of a whole file, declaration by declaration.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::defaults::Defaults;
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::ir::{Form, Node, NodeId, ParamDeclaration, Pipeline, Program, PublishedBase};
use super::module::Modules;
use super::recipe::{self, Definition, Recipe};
use super::scope::{Declaration, Entry, Flow, Frame, Meaning, Scope, State};
use super::signature::{Artifact, Kind, Registry};
use super::world::World;
use crate::syntax::{Source, Span, ast};

/// Names that stand for themselves.
const RESERVED: &[&str] = &[
    "true", "false", "none", "param", "let", "set", "pipeline", "expect", "publish", "to", "recipe", "use", "each",
    "if", "then", "else", "not",
];

/// Whether a name is a word of the language, which can't be declared.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// A file without errors.
#[derive(Debug, Clone)]
pub struct Checked {
    pub program: Program,
    pub warnings: Vec<Diagnostic>,
    /// The text with those of the modules it uses, for the spans in the program.
    pub source: Source,
}

/// Parses a file and the modules it uses, resolves names, and checks everything that can be known before something runs.
/// `overrides` are values for the file's `param`s, as `--set name=value` gives them.
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
    let mut modules = Modules::load(source, world);
    let diagnostics = std::mem::take(&mut modules.diagnostics);
    let recipes = recipe::declared(&modules.files);
    let mut checker = Checker::new(registry, world, &modules, &recipes);
    checker.diagnostics = diagnostics;
    for (file, tree) in modules.files.iter().enumerate() {
        checker.frame.file = file;
        checker.declare(tree);
    }
    for (file, tree) in modules.files.iter().enumerate() {
        checker.frame.file = file;
        checker.params(tree, if file == 0 { overrides } else { &[] });
        checker.defaults(tree);
    }
    checker.frame.file = 0;
    checker.definitions();
    checker.declarations(&modules.files[0]);
    checker.goals(&modules.files[0]);
    checker.together();
    for file in (0..modules.files.len()).rev() {
        checker.frame.file = file;
        checker.remaining_defaults();
    }
    checker.unused();
    checker.finish(modules.files[0].docs.clone(), &modules.source)
}

/// Asks the world for every module that a file uses, and those use.
pub fn visit_modules(source: &Source, world: &dyn World) {
    Modules::load(source, world);
}

/// The check in progress.
pub(super) struct Checker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) world: &'a dyn World,
    pub(super) recipes: &'a [Recipe<'a>],
    pub(super) definitions: Vec<Definition>,
    /// By file.
    pub(super) scopes: Vec<Scope<'a>>,
    /// By file: the modules it uses, by their names.
    pub(super) uses: Vec<HashMap<&'a str, Option<usize>>>,
    /// By file: where its paths begin; `None` where it has none.
    pub(super) directories: &'a [Option<String>],
    /// By file: what `set` statements say, by method.
    pub(super) defaults: Vec<IndexMap<&'a str, Defaults<'a>>>,
    /// What is being read.
    pub(super) frame: Frame<'a>,
    /// Above 0, what is read is checked but will not be part of the program: a recipe by itself, what an `if` leaves out.
    pub(super) imagined: usize,
    /// How many nodes the recipe that is being checked by itself will make at least.
    pub(super) size: usize,
    pub(super) program: Program,
    /// Nodes that are not part of the program.
    unreal: HashSet<NodeId>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Pipelines with an error, which `expect` and `publish` may still name.
    pub(super) failed_pipelines: HashSet<&'a str>,
    pub(super) depth: usize,
}

impl<'a> Checker<'a> {
    fn new(registry: &'a Registry, world: &'a dyn World, modules: &'a Modules, recipes: &'a [Recipe<'a>]) -> Self {
        let program = Program {
            docs: None,
            params: vec![],
            nodes: vec![],
            pipelines: vec![],
            expectations: vec![],
            publications: vec![],
        };
        let files = modules.files.len();
        let names = |uses: &'a IndexMap<String, super::module::Used>| {
            uses.iter().map(|(name, used)| (name.as_str(), used.file)).collect()
        };
        Self {
            registry,
            world,
            recipes,
            definitions: vec![Definition::Waiting; recipes.len()],
            scopes: (0..files).map(|_| Scope::new()).collect(),
            uses: modules.uses.iter().map(names).collect(),
            directories: &modules.directories,
            defaults: (0..files).map(|_| IndexMap::new()).collect(),
            frame: Frame::default(),
            imagined: 0,
            size: 0,
            program,
            unreal: HashSet::new(),
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
        let number = self.file();
        let mut recipes =
            (0..self.recipes.len()).filter(|at| self.recipes[*at].file == number).collect::<Vec<_>>().into_iter();
        for statement in &file.statements {
            let (name, declaration) = match statement {
                ast::Statement::Param(param) => (&param.name, Declaration::Param),
                ast::Statement::Let(binding) => (&binding.name, Declaration::Let(binding)),
                ast::Statement::Pipeline(pipeline) => (&pipeline.name, Declaration::Pipeline(pipeline)),
                ast::Statement::Recipe(recipe) => match recipes.next() {
                    Some(number) => (&recipe.name, Declaration::Recipe(number)),
                    None => continue,
                },
                ast::Statement::Broken(ast::Broken { name: Some(name), keyword, .. }) => {
                    match keyword.as_deref() {
                        Some("set") => self.defaults[number].entry(&name.text).or_default().broken = true,
                        Some("expect" | "publish" | "use") => {}
                        _ => {
                            self.scope_mut().entry(&name.text).or_insert_with(|| Entry::new(name, Declaration::Broken));
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
        self.declarable(name);
        match self.scope_mut().get_mut(text) {
            Some(first) => {
                // Which of the two is meant can't be told, so uses of the name are not judged.
                first.state = State::Done(Meaning::Error);
                let first = first.name.span;
                self.twice(name, first);
            }
            None => {
                self.scope_mut().insert(text, Entry::new(name, declaration));
            }
        }
    }

    /// Reports a name that something else has already.
    pub(super) fn twice(&mut self, name: &ast::Name, first: Span) {
        self.report(
            Diagnostic::error("ftp::name::duplicate", name.span, format!("`{}` is declared twice", name.text))
                .label("declared again")
                .related(first, "first declared here")
                .help("rename one of the two"),
        );
    }

    /// Reports a name that can't be declared.
    pub(super) fn declarable(&mut self, name: &ast::Name) {
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
    }

    /// Evaluates every `let` and `pipeline` in the order of the file.
    fn declarations(&mut self, file: &'a ast::File) {
        for statement in &file.statements {
            match statement {
                ast::Statement::Let(binding) => {
                    self.evaluate(0, &binding.name.text, binding.name.span);
                }
                ast::Statement::Pipeline(pipeline) => self.pipeline(pipeline),
                _ => {}
            }
        }
    }

    /// A pipeline is a chain that ends in a model and has at least one stage.
    fn pipeline(&mut self, pipeline: &'a ast::Pipeline) {
        let name = pipeline.name.text.as_str();
        let meaning = self.evaluate(0, name, pipeline.name.span);
        let Meaning::Flow(flow) = meaning else {
            self.failed_pipelines.insert(name);
            return;
        };
        match self.pipeline_error(name, &flow) {
            Some(error) => self.report(error),
            None if flow.artifact == Some(Artifact::Models) => {
                let members = flow.members.into_iter().map(|member| Pipeline {
                    name: format!("{name}[{}]", member.name),
                    declared: name.to_owned(),
                    docs: pipeline.docs.clone(),
                    output: member.node,
                    stages: member.stages,
                    span: pipeline.span,
                });
                self.program.pipelines.extend(members);
                return;
            }
            None if flow.artifact.is_some() => {
                self.program.pipelines.push(Pipeline {
                    name: name.to_owned(),
                    declared: name.to_owned(),
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
            Artifact::Model | Artifact::Models | Artifact::Ensemble => None,
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
            Artifact::Loaded => {
                let stage = &self.program.nodes[flow.node];
                Some(
                    Diagnostic::error(
                        "ftp::order::delta_not_trained",
                        flow.span,
                        format!("the pipeline `{name}` ends with `{}`, which only attaches a delta", stage.label),
                    )
                    .label("attached, and not used yet")
                    .help("use it as it is, `-> evaluate(target)`, or train it further, `-> finetune(target)`"),
                )
            }
            Artifact::Text | Artifact::Labelled | Artifact::Delta => Some(
                Diagnostic::error(
                    "ftp::pipeline::not_a_model",
                    flow.span,
                    format!("the pipeline `{name}` must end in a model, but this is {}", artifact.phrase()),
                )
                .label(artifact.phrase())
                .help(match artifact {
                    Artifact::Delta => "attach it to its model: `base -> peft(saved) -> evaluate(target)`",
                    _ => "declare data with `let`, and use it in a stage: `base -> finetune(target)`",
                }),
            ),
        }
    }

    /// Warns of names nobody uses.
    fn unused(&mut self) {
        let unused = self.scopes[0].values().filter(|entry| {
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

    fn finish(mut self, docs: Option<String>, source: &Source) -> Result<Checked, Diagnostics> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        if self.diagnostics.iter().any(is_error) {
            self.diagnostics.retain(is_error);
            return Err(Diagnostics::new(self.diagnostics, source.clone()));
        }
        self.program.docs = docs;
        self.leave_out_the_unreal();
        Ok(Checked { program: self.program, warnings: self.diagnostics, source: source.clone() })
    }

    /// Adds a node; its inputs are there already.
    pub(super) fn add_node(&mut self, node: Node) -> usize {
        self.program.nodes.push(node);
        let id = self.program.nodes.len() - 1;
        if self.imagined > 0 {
            self.size = self.size.saturating_add(1);
            self.unreal.insert(id);
        }
        id
    }

    /// Takes nodes that were only made to be checked out of the program. Nothing real depends on one.
    fn leave_out_the_unreal(&mut self) {
        if self.unreal.is_empty() {
            return;
        }
        let mut number = 0;
        let renumbered: Vec<NodeId> = (0..self.program.nodes.len())
            .map(|id| {
                let new = number;
                number += usize::from(!self.unreal.contains(&id));
                new
            })
            .collect();
        let mut id = 0;
        self.program.nodes.retain(|_| {
            id += 1;
            !self.unreal.contains(&(id - 1))
        });
        for node in &mut self.program.nodes {
            node.inputs.values_mut().for_each(|input| *input = renumbered[*input]);
            if let Some(contest) = &mut node.contest {
                contest.race = renumbered[contest.race];
            }
        }
        for pipeline in &mut self.program.pipelines {
            pipeline.output = renumbered[pipeline.output];
            pipeline.stages.iter_mut().for_each(|stage| *stage = renumbered[*stage]);
        }
        for publication in &mut self.program.publications {
            if let Form::Adapter { base: PublishedBase::Source(base), .. } = &mut publication.form {
                *base = renumbered[*base];
            }
        }
    }

    pub(super) fn add_param(&mut self, param: ParamDeclaration) {
        self.program.params.push(param);
    }
}
