//! What may be written at the cursor.

use lsp_types::{
    CompletionItem, CompletionItemKind as Icon, CompletionTextEdit, Documentation, InsertTextFormat, TextEdit,
};

use super::context::{self, Call, Context, Local};
use super::document::Document;
use super::hover::{kind_phrase, markdown};
use super::setup::Client;
use super::slots::{self, Slot};
use crate::lang;
use crate::lang::index::{Symbol, SymbolKind};
use crate::lang::metric;
use crate::lang::signature::{Artifact, Default, Kind, ParameterType, Registry, Signature};
use crate::lang::stdlib;
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
    ("recipe", "recipe ${1:name}(${2:base: model}) = $0", "a pipeline with parameters"),
    ("use", "use $0", "makes what another file declares known here"),
    ("publish", "publish ${1:pipeline} to \"${2:out/model}\"", "writes the model as a Hugging Face directory"),
];

pub(super) fn complete(document: &Document, offset: usize, client: Client) -> Vec<CompletionItem> {
    let (context, word, locals) = context::at(document.text(), offset);
    let items = Items { document, registry: methods::registry(), client, word, locals, all: vec![] };
    items.of(context)
}

/// The completions of one place, in the order to show them.
struct Items<'a> {
    document: &'a Document,
    registry: &'static Registry,
    client: Client,
    /// What a completion takes the place of.
    word: Span,
    locals: Vec<Local<'a>>,
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
            Context::Stage => self.stages(),
            // The deltas of a stack, which is no method.
            Context::Argument(Call { method: "stack", .. }) => self.methods(|method| method.kind == Kind::Delta),
            Context::Argument(call) => self.argument(&call),
            Context::Value(call, name) => {
                if let Some(slot) = slots::of_call(self.document, &call).into_iter().find(|slot| slot.name == name) {
                    self.values(&slot);
                }
            }
            Context::Plain => {
                self.locals(|_| true);
                self.symbols(|symbol| symbol.kind.is_value());
            }
            Context::Condition => {
                self.add("not", Icon::KEYWORD, "turns it round", None, None);
                self.locals(|_| true);
                self.symbols(|symbol| symbol.kind.is_value());
            }
            Context::Method => self.methods(|_| true),
            Context::Type { recipe } => {
                for ty in lang::type_names(recipe) {
                    self.add(ty, Icon::TYPE_PARAMETER, "a type", None, None);
                }
            }
            Context::Module => {
                self.add("std", Icon::MODULE, "the standard library", None, Some("std.$0".into()));
                let git = "git(\"${1:https://host/team/recipes}\", tag = \"${2:v1.0}\") as ${3:team}";
                self.add("git", Icon::MODULE, "a file of a git repository", None, Some(git.into()));
            }
            Context::Standard => {
                for (name, text) in stdlib::MODULES {
                    let summary = text.lines().next().unwrap_or("").trim_start_matches(['#', ' ']);
                    self.add(name, Icon::MODULE, summary, None, None);
                }
            }
            Context::Member(module) => self.members(module),
            Context::Pipeline => self.symbols(|symbol| symbol.kind == SymbolKind::Pipeline),
            Context::Metric(pipeline) => self.metrics(pipeline),
            Context::To => self.add("to", Icon::KEYWORD, "the directory to write to", None, None),
            Context::As => self.add("as", Icon::KEYWORD, "what to write", None, Some("as adapter".into())),
            Context::Form => {
                self.add("adapter", Icon::ENUM_MEMBER, "the delta alone, for `peft` or `adapters`", None, None)
            }
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
            let snippet = (requires && !self.is_called()).then(|| match method.kind {
                Kind::Source => format!("{}(\"$0\")", method.name),
                _ => format!("{}($0)", method.name),
            });
            self.add(method.name, Icon::FUNCTION, method.summary, Some(manual::page(method)), snippet);
        }
    }

    /// Names that the whole file knows.
    fn symbols(&mut self, wanted: impl Fn(&Symbol) -> bool) {
        let document = self.document;
        // A declaration can't be made with itself.
        let here = |symbol: &Symbol| symbol.span.start <= self.word.start && self.word.end <= symbol.span.end;
        let global = document.index.symbols.iter().filter(|symbol| symbol.kind.is_global());
        let symbols: Vec<&Symbol> = global.filter(|symbol| wanted(symbol) && !here(symbol)).collect();
        for symbol in symbols {
            self.symbol(symbol);
        }
    }

    fn symbol(&mut self, symbol: &Symbol) {
        let icon = match symbol.kind {
            SymbolKind::Recipe => Icon::FUNCTION,
            SymbolKind::Module => Icon::MODULE,
            kind if kind.is_value() => Icon::CONSTANT,
            _ => Icon::VARIABLE,
        };
        let snippet =
            (symbol.kind == SymbolKind::Recipe && !self.is_called()).then(|| format!("{}($0)", symbol.name.text));
        self.add(&symbol.name.text, icon, &kind_phrase(symbol), symbol.docs.clone(), snippet);
    }

    /// Names that only the statement knows, by their types; of some only their use says which.
    fn locals(&mut self, wanted: impl Fn(Option<&str>) -> bool) {
        for (name, ty) in self.locals.clone() {
            if wanted(ty) {
                self.add(name, Icon::VARIABLE, ty.unwrap_or("a variable"), None, None);
            }
        }
    }

    /// Whether parentheses follow already, which stay then.
    fn is_called(&self) -> bool {
        self.document.text()[self.word.end..].starts_with('(')
    }

    /// What a chain may begin with.
    fn begin_chain(&mut self) {
        let model = |artifact| matches!(artifact, Some(Artifact::Model | Artifact::Parametrised | Artifact::Models));
        self.locals(|ty| ty.is_none_or(|ty| ty == "model"));
        self.symbols(|symbol| symbol.kind != SymbolKind::Recipe && model(symbol.artifact));
        self.methods(|method| method.kind == Kind::Stage && method.input.is_empty());
        self.methods(|method| method.kind == Kind::Source && method.output == Artifact::Model);
        self.symbols(|symbol| matches!(symbol.kind, SymbolKind::Recipe | SymbolKind::Module));
        self.add("if", Icon::KEYWORD, "a choice", None, Some("if ${1:condition} then $2 else $0".into()));
    }

    /// What may stand behind an arrow.
    fn stages(&mut self) {
        self.methods(|method| method.kind == Kind::Stage && !method.input.is_empty());
        self.locals(|ty| ty == Some("recipe"));
        self.symbols(|symbol| matches!(symbol.kind, SymbolKind::Recipe | SymbolKind::Module));
        let each = "each(${1:seed} in ${2:1..5}) $0";
        self.add("each", Icon::KEYWORD, "a model for every value", None, Some(each.into()));
        self.add("if", Icon::KEYWORD, "a choice", None, Some("if ${1:condition} then $0".into()));
    }

    fn members(&mut self, module: &str) {
        let document = self.document;
        let Some(module) = document.index.module(module).and_then(|module| module.index.as_deref()) else { return };
        let usable = |symbol: &&Symbol| symbol.kind.is_global() && symbol.kind != SymbolKind::Module;
        for symbol in module.symbols.iter().filter(usable) {
            self.symbol(symbol);
        }
    }

    /// Behind `(` or `,`: the value of the next parameter that needs no name, then names of parameters.
    fn argument(&mut self, call: &Call) {
        let document = self.document;
        let slots = slots::of_call(document, call);
        let mut positional = slots.iter().filter(|slot| slot.positional);
        let given: Vec<&str> =
            positional.by_ref().take(call.position).map(|slot| slot.name).chain(call.given.iter().copied()).collect();
        // Arguments without names come first.
        if let Some(slot) = positional.next().filter(|_| call.given.is_empty()) {
            self.values(slot);
        }
        for slot in slots.iter().filter(|slot| !given.contains(&slot.name)) {
            let detail = manual::type_text(slot.ty).replace('`', "");
            self.add(slot.name, Icon::PROPERTY, &detail, Some(slot.docs.clone()), None);
            if let Some(CompletionItem { text_edit: Some(CompletionTextEdit::Edit(edit)), .. }) = self.all.last_mut() {
                edit.range = document.range(self.word);
                edit.new_text = format!("{} = ", slot.name);
            }
        }
    }

    /// What may be given to a parameter.
    fn values(&mut self, slot: &Slot) {
        match slot.ty {
            ParameterType::Artifact(artifact) => {
                let ty = match artifact {
                    Artifact::Text => "text",
                    Artifact::Labelled => "labelled",
                    _ => "model",
                };
                self.locals(|local| slots::may_be(ty, local));
                self.symbols(|symbol| symbol.artifact == Some(*artifact) && symbol.kind != SymbolKind::Recipe);
            }
            ParameterType::Delta | ParameterType::DeltaName => {
                self.locals(|local| slots::may_be("delta", local));
                self.methods(|method| method.kind == Kind::Delta);
                if *slot.ty == ParameterType::Delta {
                    self.symbols(|symbol| symbol.artifact == Some(Artifact::Delta));
                }
                self.symbols(|symbol| symbol.value_type.as_deref() == Some("delta"));
                self.add("stack", Icon::KEYWORD, "several together", None, Some("stack($0)".into()));
            }
            ParameterType::Recipe(_) => {
                self.locals(|local| slots::may_be("recipe", local));
                self.symbols(|symbol| symbol.kind == SymbolKind::Recipe);
                self.methods(|method| method.kind == Kind::Stage && !method.input.is_empty());
            }
            ParameterType::Choice(choices) => {
                for choice in *choices {
                    self.add(choice, Icon::ENUM_MEMBER, &format!("a choice of {}", slot.name), None, None);
                }
            }
            ty => {
                if *ty == ParameterType::Bool {
                    self.add("true", Icon::CONSTANT, "", None, None);
                    self.add("false", Icon::CONSTANT, "", None, None);
                }
                if *ty == ParameterType::Secret {
                    let named = "secret(\"${1:HF_TOKEN}\")";
                    self.add("secret", Icon::KEYWORD, "the variable that holds it", None, Some(named.into()));
                }
                self.locals(|local| local.is_none_or(|local| slots::fits(ty, local)));
                self.symbols(|symbol| symbol.value_type.as_ref().is_some_and(|value| slots::fits(ty, value)));
            }
        }
        if slot.optional {
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
