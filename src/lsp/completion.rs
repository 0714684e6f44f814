//! What may be written at the cursor.

use lsp_types::{
    CompletionItem, CompletionItemKind as Icon, CompletionTextEdit, Documentation, InsertTextFormat, TextEdit,
};

use super::context::{self, Call, Context};
use super::document::Document;
use super::hover::{kind_phrase, markdown, parameter_page};
use super::setup::Client;
use crate::lang::index::{Symbol, SymbolKind};
use crate::lang::metric;
use crate::lang::signature::{Artifact, Default, Kind, Parameter, ParameterType, Registry, Signature};
use crate::lang::value::Value;
use crate::lang::world::Task;
use crate::methods;
use crate::report::manual;
use crate::syntax::Span;

/// The statements, with an example to fill in.
const STATEMENTS: &[(&str, &str, &str)] = &[
    ("param", "param ${1:name}: ${2:int} = ${3:3}", "a value that `--set` can change"),
    ("let", "let ${1:name} = $0", "a name for a value, for data, for a model, or for a chain"),
    ("set", "set ${1:finetune}($0)", "defaults for every use of a method in this file"),
    ("pipeline", "pipeline ${1:name} = $0", "a chain to run"),
    ("expect", "expect ${1:pipeline}.${2:accuracy} >= ${3:0.80}", "fails the run when it does not hold"),
    ("publish", "publish ${1:pipeline} to \"${2:out/model}\"", "writes the model as a Hugging Face directory"),
];

pub(super) fn complete(document: &Document, offset: usize, client: Client) -> Vec<CompletionItem> {
    let (context, word) = context::at(document.text(), offset);
    let items = Items { document, registry: methods::registry(), client, word, all: vec![] };
    items.of(context)
}

/// The completions of one place, in the order to show them.
struct Items<'a> {
    document: &'a Document,
    registry: &'static Registry,
    client: Client,
    /// What a completion takes the place of.
    word: Span,
    all: Vec<CompletionItem>,
}

impl Items<'_> {
    fn of(mut self, context: Context) -> Vec<CompletionItem> {
        match context {
            Context::Statement => self.statements(),
            Context::Bound => {
                self.methods(|method| method.kind == Kind::Source);
                self.begin_chain();
                self.symbols(|symbol| symbol.kind.is_value());
            }
            Context::Beginning => self.begin_chain(),
            Context::Stage => self.methods(|method| method.kind == Kind::Stage && !method.input.is_empty()),
            Context::Argument(call) => self.argument(&call),
            Context::Value(call, name) => {
                if let Some(parameter) = self.parameters(&call).into_iter().find(|parameter| parameter.name == name) {
                    self.values(parameter);
                }
            }
            Context::Plain => self.symbols(|symbol| symbol.kind.is_value()),
            Context::Method => self.methods(|_| true),
            Context::Type => {
                for ty in crate::lang::param_types() {
                    self.add(ty, Icon::TYPE_PARAMETER, "a type", None, None);
                }
            }
            Context::Pipeline => self.symbols(|symbol| symbol.kind == SymbolKind::Pipeline),
            Context::Metric(pipeline) => self.metrics(pipeline),
            Context::To => self.add("to", Icon::KEYWORD, "the directory to write to", None, None),
            Context::Nothing => {}
        }
        self.all
    }

    /// Adds a completion; `snippet` is what is inserted where the client fills in places.
    fn add(&mut self, label: &str, icon: Icon, detail: &str, docs: Option<String>, snippet: Option<String>) {
        let snippet = snippet.filter(|_| self.client.snippets);
        self.all.push(CompletionItem {
            label: label.to_owned(),
            kind: Some(icon),
            detail: Some(detail.to_owned()),
            documentation: docs.map(|docs| Documentation::MarkupContent(markdown(docs))),
            sort_text: Some(format!("{:03}", self.all.len())),
            insert_text_format: snippet.as_ref().map(|_| InsertTextFormat::SNIPPET),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit {
                range: self.document.range(self.word),
                new_text: snippet.unwrap_or_else(|| label.to_owned()),
            })),
            ..CompletionItem::default()
        });
    }

    fn statements(&mut self) {
        for (keyword, snippet, detail) in STATEMENTS {
            self.add(keyword, Icon::KEYWORD, detail, None, Some((*snippet).to_owned()));
        }
    }

    fn methods(&mut self, wanted: impl Fn(&Signature) -> bool) {
        for method in self.registry.iter().filter(|method| wanted(method)) {
            // A stage may do without parentheses, a source has its path, and a delta is only named.
            let requires = method.parameters.iter().any(|parameter| parameter.default == Default::Required);
            // Where parentheses follow already, they stay.
            let follows = self.document.text()[self.word.end..].starts_with('(');
            let snippet = (requires && !follows).then(|| match method.kind {
                Kind::Source => format!("{}(\"$0\")", method.name),
                _ => format!("{}($0)", method.name),
            });
            self.add(method.name, Icon::FUNCTION, method.summary, Some(manual::page(method)), snippet);
        }
    }

    fn symbols(&mut self, wanted: impl Fn(&Symbol) -> bool) {
        let document = self.document;
        // A declaration can't be made with itself.
        let here = |symbol: &Symbol| symbol.span.start <= self.word.start && self.word.end <= symbol.span.end;
        let symbols: Vec<&Symbol> =
            document.index.symbols.iter().filter(|symbol| wanted(symbol) && !here(symbol)).collect();
        for symbol in symbols {
            let icon = if symbol.kind.is_value() { Icon::CONSTANT } else { Icon::VARIABLE };
            self.add(&symbol.name.text, icon, &kind_phrase(symbol), symbol.docs.clone(), None);
        }
    }

    /// What a chain may begin with.
    fn begin_chain(&mut self) {
        let model = |artifact| matches!(artifact, Some(Artifact::Model | Artifact::Parametrised));
        self.symbols(|symbol| model(symbol.artifact));
        self.methods(|method| method.kind == Kind::Stage && method.input.is_empty());
        self.methods(|method| method.kind == Kind::Source && method.output == Artifact::Model);
    }

    /// The parameters a call may name: its method's and, of `peft`, those of the delta method given.
    fn parameters(&self, call: &Call) -> Vec<&'static Parameter> {
        let Some(method) = self.registry.get(call.method) else { return vec![] };
        let takes_delta = method.parameters.iter().any(|parameter| parameter.ty == ParameterType::Delta);
        let delta = call.first.filter(|_| takes_delta).and_then(|name| self.registry.get(name));
        method.parameters.iter().chain(delta.into_iter().flat_map(|delta| &delta.parameters)).collect()
    }

    /// Behind `(` or `,`: the value of the next parameter that needs no name, then names of parameters.
    fn argument(&mut self, call: &Call) {
        let parameters = self.parameters(call);
        let positional = parameters.iter().filter(|parameter| parameter.positional).nth(call.position);
        // Arguments without names come first.
        if let Some(parameter) = positional.filter(|one| call.given.is_empty() && !call.given.contains(&one.name)) {
            self.values(parameter);
        }
        let given = parameters.iter().filter(|parameter| parameter.positional).take(call.position);
        let given: Vec<&str> = given.map(|parameter| parameter.name).chain(call.given.iter().copied()).collect();
        for parameter in parameters.into_iter().filter(|parameter| !given.contains(&parameter.name)) {
            let detail = manual::type_text(&parameter.ty).replace('`', "");
            let text = format!("{} = ", parameter.name);
            self.add(parameter.name, Icon::PROPERTY, &detail, Some(parameter_page(parameter)), None);
            if let Some(CompletionItem { text_edit: Some(CompletionTextEdit::Edit(edit)), .. }) = self.all.last_mut() {
                edit.new_text = text;
            }
        }
    }

    /// What may be given to a parameter.
    fn values(&mut self, parameter: &Parameter) {
        match &parameter.ty {
            ParameterType::Artifact(artifact) => self.symbols(|symbol| symbol.artifact == Some(*artifact)),
            ParameterType::Delta => self.methods(|method| method.kind == Kind::Delta),
            ParameterType::Choice(choices) => {
                for choice in *choices {
                    self.add(choice, Icon::ENUM_MEMBER, &format!("a choice of {}", parameter.name), None, None);
                }
            }
            ty => {
                if *ty == ParameterType::Bool {
                    self.add("true", Icon::CONSTANT, "", None, None);
                    self.add("false", Icon::CONSTANT, "", None, None);
                }
                self.symbols(|symbol| symbol.value_type.as_ref().is_some_and(|value| fits(ty, value)));
            }
        }
        if parameter.default == Default::Value(Value::None) {
            self.add("none", Icon::CONSTANT, "no value", None, None);
        }
    }

    /// The metrics of a pipeline's task, where the last program without errors says which, else all.
    fn metrics(&mut self, pipeline: &str) {
        let task = self.document.program.as_ref().and_then(|program| {
            let pipeline = program.pipelines.iter().find(|one| one.name == pipeline)?;
            let inputs = program.nodes.get(pipeline.output)?.inputs.values();
            inputs.filter_map(|input| program.nodes.get(*input)?.source.as_ref()?.task.as_ref()).next()
        });
        let metrics: Vec<&str> = match task {
            Some(task) => metric::of(task).to_vec(),
            None => metric::of(&Task::Classification { labels: vec![] })
                .iter()
                .chain(metric::of(&Task::Regression))
                .copied()
                .collect(),
        };
        for name in metrics {
            let better = if metric::rises(name) { "more is better" } else { "less is better" };
            self.add(name, Icon::FIELD, better, None, None);
        }
    }
}

/// Whether a value of this type, by the name `param` has for it, may be given to a parameter.
fn fits(ty: &ParameterType, value: &str) -> bool {
    let fitting: &[&str] = match ty {
        ParameterType::Bool => &["bool"],
        ParameterType::Int { .. } => &["int"],
        ParameterType::Float { .. } => &["int", "float", "ratio"],
        ParameterType::Ratio => &["float", "ratio"],
        ParameterType::String => &["string"],
        ParameterType::Strings => &["list"],
        ParameterType::Epochs => &["int", "float", "epochs"],
        ParameterType::Steps => &["int", "steps"],
        ParameterType::StepsOrRatio => &["float", "ratio", "steps"],
        ParameterType::Duration => &["duration"],
        ParameterType::Choice(_) | ParameterType::Artifact(_) | ParameterType::Delta => &[],
    };
    fitting.contains(&value)
}
