//! Names: where they lead, and what they mean there.

use super::arguments::Slot;
use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::scope::{Declaration, Entry, Frame, Meaning, Scope, State};
use super::suggest;
use crate::syntax::{Span, ast};

/// Declarations that refer to ones below them, and so on, may go this deep.
pub(super) const DEPTH: usize = 100;

/// Where a name leads.
enum Found<'n> {
    /// To a recipe's parameter or an `each`'s variable.
    Local,
    /// To a declaration of this file or, behind a dot, of one it uses.
    Declared { file: usize, name: &'n str },
    /// To a module that this file does not use.
    NoModule(&'n str),
    /// To a module that could not be read.
    Unread,
}

impl<'a> Checker<'a> {
    /// The file that is being read.
    pub(super) fn file(&self) -> usize {
        self.frame.file
    }

    /// What that file declares.
    pub(super) fn scope(&self) -> &Scope<'a> {
        &self.scopes[self.frame.file]
    }

    pub(super) fn scope_mut(&mut self) -> &mut Scope<'a> {
        &mut self.scopes[self.frame.file]
    }

    fn find<'n>(&self, name: &'n str) -> Found<'n> {
        if self.frame.locals.contains_key(name) {
            return Found::Local;
        }
        match name.split_once('.') {
            None => Found::Declared { file: self.frame.file, name },
            Some((module, name)) => match self.uses[self.frame.file].get(module) {
                Some(Some(file)) => Found::Declared { file: *file, name },
                Some(None) => Found::Unread,
                None => Found::NoModule(module),
            },
        }
    }

    /// What the file says about a name that is no local one.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry<'a>> {
        match self.find(name) {
            Found::Declared { file, name } => self.scopes[file].get(name),
            _ => None,
        }
    }

    /// Whether a name means something here; also when it is written like one of a module.
    pub(super) fn is_named(&self, name: &str) -> bool {
        match self.find(name) {
            Found::Local | Found::NoModule(_) | Found::Unread => true,
            Found::Declared { file, name: inner } => self.scopes[file].contains_key(inner) || inner != name,
        }
    }

    /// Where a name is declared.
    pub(super) fn declared_at(&self, name: &str) -> Option<Span> {
        match self.frame.locals.get(name) {
            Some(local) => Some(local.declared),
            None => self.entry(name).map(|entry| entry.name.span),
        }
    }

    pub(super) fn mark_used(&mut self, name: &str) {
        if let Found::Declared { file, name } = self.find(name)
            && let Some(entry) = self.scopes[file].get_mut(name)
        {
            entry.used = true;
        } else if let Some(local) = self.frame.locals.get_mut(name) {
            local.uses += 1;
        }
    }

    /// What a name means, for the use at `at`; `None` when no such name is declared. A name that looks for a module in
    /// vain is reported here.
    pub(super) fn resolve(&mut self, name: &str, at: Span) -> Option<Meaning> {
        match self.find(name) {
            Found::Local => {
                let local = self.frame.locals.get_mut(name)?;
                local.uses += 1;
                Some(local.meaning.clone())
            }
            Found::Declared { file, name: inner } => {
                if let Some(entry) = self.scopes[file].get_mut(inner) {
                    entry.used = true;
                    return Some(self.evaluate(file, inner, at));
                }
                (inner != name).then(|| self.not_in_module(name, file, inner, at))
            }
            Found::Unread => Some(Meaning::Error),
            Found::NoModule(module) => {
                let uses = &self.uses[self.frame.file];
                let known: Vec<&str> = uses.keys().copied().collect();
                // The misspelt name of a module is reported where it is used; so is that it can't be read.
                let unread = uses.iter().filter(|(_, file)| file.is_none()).map(|(name, _)| *name);
                if suggest::nearest(module, unread).is_some() {
                    return Some(Meaning::Error);
                }
                let mut error =
                    Diagnostic::error("ftp::name::unknown_module", at, format!("this file uses no module `{module}`"))
                        .label("not a module");
                error.help = suggest::help(module, &known, "the modules are")
                    .or_else(|| Some(format!("name it first: `use \"{module}.ftp\" as {module}`")));
                self.report(error);
                Some(Meaning::Error)
            }
        }
    }

    fn not_in_module(&mut self, name: &str, file: usize, inner: &str, at: Span) -> Meaning {
        let module = name.split('.').next().unwrap_or(name);
        let known: Vec<&str> = self.scopes[file].keys().copied().collect();
        let mut error =
            Diagnostic::error("ftp::name::not_in_module", at, format!("the module `{module}` has no `{inner}`"))
                .label("not declared there");
        error.help = suggest::help(inner, &known, "it declares").or_else(|| Some("it declares nothing".into()));
        if let Some(near) = suggest::clear(inner, known.iter().copied()) {
            let start = at.end - inner.len();
            error.fix = Some(super::Fix { span: Span { start, ..at }, text: near.to_owned() });
        }
        self.report(error);
        Meaning::Error
    }

    /// What a declaration of a file means. It is read where it stands: with that file's names and no local ones.
    pub(super) fn evaluate(&mut self, file: usize, name: &str, at: Span) -> Meaning {
        let Some(entry) = self.scopes[file].get_mut(name) else { return Meaning::Error };
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
                self.too_deep(name, at);
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
        self.set_state(file, name, State::Working);
        let outside = std::mem::replace(&mut self.frame, Frame { file, ..Frame::default() });
        let imagined = std::mem::replace(&mut self.imagined, 0);
        self.depth += 1;
        let meaning = match declaration {
            Declaration::Let(binding) => self.binding(binding),
            Declaration::Pipeline(pipeline) => {
                self.chain_flow(&pipeline.chain, None).map_or(Meaning::Error, Meaning::Flow)
            }
            Declaration::Param | Declaration::Recipe(_) | Declaration::Broken => Meaning::Error,
        };
        self.depth -= 1;
        self.imagined = imagined;
        self.frame = outside;
        self.set_state(file, name, State::Done(meaning.clone()));
        meaning
    }

    pub(super) fn too_deep(&mut self, name: &str, at: Span) {
        self.report(
            Diagnostic::error(
                "ftp::name::too_deep",
                at,
                format!("`{name}` leads through more than {DEPTH} declarations below it"),
            )
            .label("too far to follow")
            .help("move declarations above their uses"),
        );
    }

    pub(super) fn set_state(&mut self, file: usize, name: &str, state: State) {
        if let Some(entry) = self.scopes[file].get_mut(name) {
            entry.state = state;
        }
    }

    /// What a `let` binds: a value, data, a model, or a chain.
    fn binding(&mut self, binding: &'a ast::Let) -> Meaning {
        match &binding.bound {
            ast::Binding::Value(value) => self.meaning(value),
            ast::Binding::Chain(chain) => match chain.links.as_slice() {
                [ast::Link::Call(ast::Call { name, arguments: None, .. })] if self.is_value(&name.text) => {
                    let value = ast::Value { kind: ast::ValueKind::Word(name.text.clone()), span: name.span };
                    self.meaning(&value)
                }
                _ => self.chain_flow(chain, Some(&binding.name.text)).map_or(Meaning::Error, Meaning::Flow),
            },
        }
    }

    /// Whether a bare name stands for something that can't begin a chain, or for several such things.
    fn is_value(&mut self, name: &str) -> bool {
        let of_let = |binding: &ast::Let| match &binding.bound {
            ast::Binding::Value(value) => !matches!(value.kind, ast::ValueKind::If(_)),
            ast::Binding::Chain(_) => false,
        };
        matches!(name, "true" | "false" | "none")
            || self.entry(name).is_some_and(|entry| match entry.declaration {
                Declaration::Param => true,
                Declaration::Let(binding) => of_let(binding),
                _ => false,
            })
    }

    /// What a written value is, when it need not be a plain one: an item of a list, what a `let` binds.
    pub(super) fn meaning(&mut self, value: &ast::Value) -> Meaning {
        match &value.kind {
            ast::ValueKind::Word(name) => self.word_meaning(name, value.span),
            ast::ValueKind::List(items) => {
                let items: Vec<(Meaning, Span)> = items.iter().map(|item| (self.meaning(item), item.span)).collect();
                if items.iter().any(|(item, _)| item.is_error()) {
                    return Meaning::Error;
                }
                let plain = items.iter().map(|(item, span)| match item {
                    Meaning::Value(literal) => Some((literal.clone(), *span)),
                    _ => None,
                });
                if let Some(plain) = plain.collect::<Option<Vec<_>>>() {
                    return Meaning::Value(super::literal::Literal::List(plain));
                }
                let named = items.into_iter().zip(value_items(value)).map(|((item, _), written)| (written, item));
                Meaning::List(named.collect())
            }
            ast::ValueKind::If(either) => match self.condition(&either.condition) {
                Some(true) => self.unless_imagined(true, &either.then, &either.otherwise),
                Some(false) => self.unless_imagined(false, &either.then, &either.otherwise),
                None => {
                    let meaning = self.meaning(&either.then);
                    self.meaning(&either.otherwise);
                    meaning
                }
            },
            ast::ValueKind::Stack(deltas) => match self.stack("stack", deltas) {
                Slot::Stack(deltas) => Meaning::Stack(deltas),
                Slot::Delta(any) => Meaning::Delta(any),
                _ => Meaning::Error,
            },
            _ => Meaning::Value(self.literal(value)),
        }
    }

    /// One of two values; the other is only looked at for errors.
    fn unless_imagined(&mut self, first: bool, then: &ast::Value, otherwise: &ast::Value) -> Meaning {
        let (taken, left) = if first { (then, otherwise) } else { (otherwise, then) };
        self.imagined += 1;
        self.meaning(left);
        self.imagined -= 1;
        self.meaning(taken)
    }

    fn word_meaning(&mut self, name: &str, at: Span) -> Meaning {
        let own = !matches!(name, "true" | "false" | "none") && !self.is_named(name);
        if own && let Some(meaning) = self.method_meaning(name) {
            return meaning;
        }
        match self.is_named(name).then(|| self.resolve(name, at)).flatten() {
            Some(meaning) => meaning,
            None => Meaning::Value(self.word(name, at)),
        }
    }
}

/// The items of a list as written, to name them by.
fn value_items(list: &ast::Value) -> Vec<String> {
    let ast::ValueKind::List(items) = &list.kind else { return vec![] };
    let written = |item: &ast::Value| match &item.kind {
        ast::ValueKind::Word(name) => name.clone(),
        _ => String::new(),
    };
    items.iter().map(written).collect()
}
