//! Recipes: pipelines with parameters. Each is checked where it is defined, with every parameter standing for any value of
//! its type, and read again with the values of each call.

use indexmap::IndexMap;

use super::arguments::{Arguments, Slot};
use super::callable;
use super::chain::Before;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::ir::Node;
use super::literal::Literal;
use super::names::DEPTH;
use super::scope::{Callable, Flow, Frame, Local, Meaning, Member};
use super::signature::{Artifact, Default, Formal, Interface, Kind, ParameterType};
use super::types;
use super::value::Value;
use crate::syntax::{Span, ast};

/// A program may have this many stages and sources; what would have more is a mistake.
pub(super) const MOST_NODES: usize = 50_000;

/// A recipe as declared.
pub(super) struct Recipe<'a> {
    pub ast: &'a ast::Recipe,
    pub file: usize,
    /// Called at the beginning of a chain.
    pub interface: Interface<'a>,
    /// Called behind an arrow: its first model stands left of it. `None` for a recipe that takes no model.
    pub piped: Option<Interface<'a>>,
    /// What is wrong with its types.
    errors: Vec<Diagnostic>,
    /// A parameter's type could be anything, so nothing is said of what calls give.
    unclear: bool,
}

/// How far a recipe's own check is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Definition {
    Waiting,
    Working,
    /// What it makes, and of how many stages and sources at least.
    Done(Made, usize),
}

/// What a recipe makes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Made {
    Artifact(Artifact),
    /// One thing or another, as an `if` in it has it: known in each call.
    Depends,
    /// Nothing, after an error.
    Error,
}

/// All recipes of these files, in order.
pub(super) fn declared(files: &[ast::File]) -> Vec<Recipe<'_>> {
    let statements =
        files.iter().enumerate().flat_map(|(file, tree)| tree.statements.iter().map(move |one| (file, one)));
    let recipes = statements.filter_map(|(file, statement)| match statement {
        ast::Statement::Recipe(recipe) => Some(Recipe::new(file, recipe)),
        _ => None,
    });
    recipes.collect()
}

impl<'a> Recipe<'a> {
    fn new(file: usize, recipe: &'a ast::Recipe) -> Self {
        let mut errors = vec![];
        let mut unclear = false;
        let mut parameters = vec![];
        for parameter in &recipe.parameters {
            let ty = types::of(&parameter.ty, true).map_err(|error| errors.push(*error)).ok();
            let Some(ty) = ty.or_else(|| types::guess(&parameter.ty, true)) else {
                unclear = true;
                continue;
            };
            // The default itself is evaluated with the file's names, when a call leaves the argument out.
            let default = match parameter.default {
                None => Default::Required,
                Some(ast::Value { kind: ast::ValueKind::Word(ref word), .. }) if word == "none" => {
                    Default::Value(Value::None)
                }
                Some(_) => Default::Written,
            };
            let doc = parameter.docs.as_deref().unwrap_or("");
            let positional = !is_value(&ty);
            parameters.push(Formal { positional, ..Formal::new(&parameter.name.text, ty, default, doc) });
        }
        let docs = recipe.docs.as_deref().unwrap_or("");
        let interface = Interface {
            name: &recipe.name.text,
            kind: Kind::Stage,
            version: 0,
            summary: docs.lines().next().unwrap_or(""),
            docs,
            input: &[],
            output: Artifact::Model,
            parameters,
            reports: false,
            saved_as: None,
        };
        let is_model = |formal: &Formal| formal.ty == ParameterType::Artifact(Artifact::Model);
        let piped = interface.parameters.iter().position(is_model).map(|model| {
            let mut piped = Interface { input: &[Artifact::Model], ..interface.clone() };
            piped.parameters.remove(model);
            piped
        });
        Self { ast: recipe, file, interface, piped, errors, unclear }
    }

    fn model(&self) -> Option<&Formal<'a>> {
        self.interface.parameters.iter().find(|formal| formal.ty == ParameterType::Artifact(Artifact::Model))
    }

    /// Whether these arguments, at the beginning of a chain, are all it needs but the model.
    fn forgets_its_model(&self, given: &[ast::Argument]) -> bool {
        let Some(model) = self.model() else { return false };
        let named = |formal: &&Formal| {
            given.iter().any(|argument| argument.name.as_ref().is_some_and(|name| name.text == formal.name))
        };
        let required = |formal: &&Formal| formal.positional && formal.default == Default::Required;
        let open = self.interface.parameters.iter().filter(required).filter(|formal| !named(formal)).count();
        let placed = given.iter().filter(|argument| argument.name.is_none()).count();
        model.default == Default::Required && !named(&model) && placed < open
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&'a ast::Parameter> {
        self.ast.parameters.iter().find(|parameter| parameter.name.text == name)
    }

    /// Whether it takes a model left of an arrow and just these without a name, and needs nothing else.
    pub(super) fn takes(&self, wanted: &[Artifact]) -> bool {
        self.piped.as_ref().is_some_and(|piped| callable::takes(piped, wanted))
    }
}

/// Whether a type is that of a plain value rather than of a thing with a name.
fn is_value(ty: &ParameterType) -> bool {
    !matches!(
        ty,
        ParameterType::Artifact(_) | ParameterType::DeltaName | ParameterType::Recipe(_) | ParameterType::Delta
    )
}

impl<'a> Checker<'a> {
    /// Checks every recipe by itself.
    pub(super) fn definitions(&mut self) {
        for number in 0..self.recipes.len() {
            self.define(number);
        }
    }

    /// Checks a recipe with any arguments its types allow; what it makes.
    pub(super) fn define(&mut self, number: usize) -> Made {
        let recipe = &self.recipes[number];
        match self.definitions[number] {
            Definition::Done(output, _) => return output,
            Definition::Working => {
                let name = &recipe.ast.name;
                self.report(
                    Diagnostic::error(
                        "ftp::name::cycle",
                        name.span,
                        format!("the recipe `{}` calls itself", name.text),
                    )
                    .label("calls itself, or one that calls it")
                    .help("break the circle: every run must come to an end"),
                );
                return Made::Error;
            }
            Definition::Waiting => {}
        }
        self.definitions[number] = Definition::Working;
        let before = self.diagnostics.len();
        let outside = std::mem::replace(&mut self.frame, Frame { file: recipe.file, ..Frame::default() });
        self.imagined += 1;
        let size = std::mem::replace(&mut self.size, 0);
        for error in &recipe.errors {
            self.report(error.clone());
        }
        let mut locals = IndexMap::new();
        for parameter in &recipe.ast.parameters {
            let name = parameter.name.text.as_str();
            self.declarable(&parameter.name);
            if let Some(first) = locals.get(name).map(|local: &Local| local.declared) {
                self.twice(&parameter.name, first);
                continue;
            }
            let formal = recipe.interface.parameter(name);
            let meaning = match formal {
                Some(formal) => self.any(&formal.ty, parameter.span),
                None => Meaning::Error,
            };
            if let (Some(formal), Some(default)) = (formal, &parameter.default)
                && formal.default == Default::Written
            {
                self.slot(&recipe.interface, formal, default);
            }
            locals.insert(name, Local { meaning, declared: parameter.name.span, varies: false, uses: 0 });
        }
        self.frame.locals = locals;
        let flow = self.chain_flow(&recipe.ast.chain, None);
        let failed = self.diagnostics[before..].iter().any(|one| one.severity == super::Severity::Error);
        let unused: Vec<_> =
            self.frame.locals.iter().filter(|(name, local)| local.uses == 0 && !name.starts_with('_')).collect();
        let unused: Vec<(String, Span)> =
            unused.into_iter().map(|(name, local)| ((*name).to_owned(), local.declared)).collect();
        if !failed {
            for (name, declared) in unused {
                self.report(
                    Diagnostic::warning("ftp::name::unused", declared, format!("the parameter `{name}` is never used"))
                        .label("declared here")
                        .help(format!("use it, remove it, or name it `_{name}` to keep it")),
                );
            }
        }
        self.imagined -= 1;
        let size = std::mem::replace(&mut self.size, size);
        self.frame = outside;
        let made = match flow {
            Some(_) if failed => Made::Error,
            Some(Flow { artifact: Some(output), .. }) if self.recipe_output(recipe, output) => Made::Artifact(output),
            Some(Flow { artifact: None, .. }) => Made::Depends,
            _ => Made::Error,
        };
        self.definitions[number] = Definition::Done(made, size);
        made
    }

    /// A recipe makes a model, or several.
    fn recipe_output(&mut self, recipe: &Recipe, output: Artifact) -> bool {
        let data = matches!(output, Artifact::Text | Artifact::Labelled | Artifact::Delta);
        if data {
            let chain = recipe.ast.chain.span;
            self.report(
                Diagnostic::error(
                    "ftp::pipeline::not_a_model",
                    chain,
                    format!(
                        "the recipe `{}` must end in a model, but this is {}",
                        recipe.ast.name.text,
                        output.phrase()
                    ),
                )
                .label(output.phrase())
                .help("begin with a model and end with a stage: `base -> finetune(target)`"),
            );
        }
        !data
    }

    /// Any value of a type.
    fn any(&mut self, ty: &ParameterType, at: Span) -> Meaning {
        match ty {
            ParameterType::Artifact(artifact) => {
                let node = self.imagine(*artifact, at);
                Meaning::Flow(Flow::new(*artifact, node, vec![], at))
            }
            ParameterType::DeltaName => Meaning::Delta(None),
            ParameterType::Recipe(takes) => Meaning::Recipe(Callable::Any(takes.clone())),
            ty => Meaning::Value(Literal::Of(ty.clone())),
        }
    }

    /// A node that stands for one that is not known yet; it is never run.
    pub(super) fn imagine(&mut self, output: Artifact, span: Span) -> usize {
        self.imagined += 1;
        let node = self.add_node(Node {
            kind: Kind::Stage,
            method: String::new(),
            version: 0,
            label: String::new(),
            parameters: IndexMap::new(),
            inputs: IndexMap::new(),
            deltas: vec![],
            contest: None,
            output,
            source: None,
            span,
        });
        self.imagined -= 1;
        node
    }

    /// A call of something that has a name of its own rather than a method's.
    pub(super) fn called(&mut self, callable: Callable, call: &'a ast::Call, before: Before) -> Option<Flow> {
        match callable {
            Callable::Stage(name) => {
                let signature = self.registry.get(&name)?;
                self.stage(signature, call, before)
            }
            Callable::Recipe(number) => self.recipe(number, call, before),
            Callable::Any(takes) => self.any_call(&takes, call, before),
        }
    }

    fn recipe(&mut self, number: usize, call: &'a ast::Call, before: Before) -> Option<Flow> {
        let recipe = &self.recipes[number];
        let made = self.define(number);
        let interface = match (&recipe.piped, before) {
            (Some(piped), Some(_)) => piped,
            _ => &recipe.interface,
        };
        if recipe.unclear {
            self.arguments_of_unknown(call);
            return None;
        }
        let given = call.arguments.as_deref().unwrap_or(&[]);
        if let (Some(piped), None) = (&recipe.piped, before)
            && recipe.forgets_its_model(given)
        {
            self.order(piped, call, None);
            return None;
        }
        self.order(interface, call, before);
        let arguments = self.arguments(interface, given, call.name.span, true);
        if arguments.failed || made == Made::Error {
            return None;
        }
        let size = match self.definitions[number] {
            Definition::Done(_, size) => size,
            _ => 0,
        };
        if self.imagined > 0 {
            self.size = self.size.saturating_add(size);
            let output = if let Made::Artifact(output) = made { Some(output) } else { None };
            let node = self.imagine(output.unwrap_or(Artifact::Model), call.span);
            let mut flow = Flow { artifact: output, ..Flow::new(Artifact::Model, node, vec![node], call.span) };
            if output == Some(Artifact::Models) {
                flow.members = vec![Member { name: String::new(), node, stages: vec![node] }];
            }
            return Some(flow);
        }
        if self.depth == DEPTH {
            self.too_deep(&call.name.text, call.name.span);
            return None;
        }
        if self.program.nodes.len().saturating_add(size) > MOST_NODES {
            self.too_large(call.span);
            return None;
        }
        let locals = self.bindings(recipe, arguments, before.flatten(), call);
        let outside = std::mem::replace(&mut self.frame, Frame { file: recipe.file, locals });
        let known = self.diagnostics.len();
        self.depth += 1;
        let flow = self.chain_flow(&recipe.ast.chain, None);
        self.depth -= 1;
        self.frame = outside;
        let found = self.diagnostics.split_off(known);
        self.diagnostics.extend(found.into_iter().map(|one| in_call(one, recipe, call)));
        flow.map(|flow| Flow { span: call.span, ..flow })
    }

    pub(super) fn too_large(&mut self, at: Span) {
        let again = self.diagnostics.iter().any(|one| one.code == "ftp::recipe::too_large");
        if !again {
            self.report(
                Diagnostic::error(
                    "ftp::recipe::too_large",
                    at,
                    format!("the program has more than {MOST_NODES} stages"),
                )
                .label("here at the latest")
                .help("let fewer things vary, or split the file"),
            );
        }
    }

    /// What a recipe's parameters mean in one call.
    fn bindings(
        &mut self,
        recipe: &'a Recipe<'a>,
        mut arguments: Arguments,
        before: Option<&Flow>,
        call: &ast::Call,
    ) -> IndexMap<&'a str, Local> {
        let piped = if before.is_some() { recipe.model().map(|formal| formal.name) } else { None };
        let mut locals = IndexMap::new();
        for formal in &recipe.interface.parameters {
            let name = formal.name;
            let meaning = if piped == Some(name) {
                before.cloned().map(Meaning::Flow)
            } else if let Some(parameter) = arguments.parameters.swap_remove(name) {
                Some(Meaning::Value(Literal::from(&parameter.value)))
            } else if let Some(flow) = arguments.flows.swap_remove(name) {
                Some(Meaning::Flow(Flow { span: call.span, ..flow }))
            } else {
                arguments.names.swap_remove(name).or_else(|| self.default_of(recipe, formal))
            };
            let declared = recipe.parameter(name).map_or(call.span, |parameter| parameter.name.span);
            let meaning = meaning.unwrap_or(Meaning::Error);
            locals.insert(name, Local { meaning, declared, varies: false, uses: 0 });
        }
        locals
    }

    /// What a recipe's own default means, which is read where the recipe is.
    fn default_of(&mut self, recipe: &Recipe, formal: &Formal) -> Option<Meaning> {
        let default = recipe.parameter(formal.name)?.default.as_ref()?;
        let outside = std::mem::replace(&mut self.frame, Frame { file: recipe.file, ..Frame::default() });
        let slot = self.slot(&recipe.interface, formal, default);
        self.frame = outside;
        match slot {
            Slot::Value(value) => Some(Meaning::Value(Literal::from(&value))),
            Slot::Input(flow, _) => Some(Meaning::Flow(flow)),
            Slot::Delta(method) => Some(Meaning::Delta(method)),
            Slot::Stack(deltas) => Some(Meaning::Stack(deltas)),
            Slot::Recipe(callable, _) => Some(Meaning::Recipe(callable)),
            Slot::Error => None,
        }
    }
}

/// An error that a recipe has only with the arguments of one call is that call's.
fn in_call(mut found: Diagnostic, recipe: &Recipe, call: &ast::Call) -> Diagnostic {
    let inside = recipe.ast.span;
    match found.span {
        Some(span) if inside.contains(span) => {
            found.related.insert(0, (span, std::mem::take(&mut found.label)));
            found.label = format!("in this call of `{}`", recipe.ast.name.text);
            found.span = Some(call.span);
            found.fix = None;
            found
        }
        _ => found,
    }
}
