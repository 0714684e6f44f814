//! Modules: the files a file uses, and those that they use, each read and parsed once.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::diagnostic::Diagnostic;
use super::stdlib;
use super::suggest;
use super::world::{ModuleRequest, SourceError, World};
use crate::syntax::{self, Source, Span, ast};

/// A file and all modules below it.
pub(super) struct Modules {
    /// With the modules' texts.
    pub source: Source,
    /// The file itself, then its modules, as [`Span::file`] counts.
    pub files: Vec<ast::File>,
    /// By file: the modules it uses, by the name it gives them.
    pub uses: Vec<IndexMap<String, Used>>,
    /// By file: its directory, relative to that of the file itself; `None` for the standard library, which has none.
    pub directories: Vec<Option<String>>,
    pub diagnostics: Vec<Diagnostic>,
}

/// A module where it is used.
pub(super) struct Used {
    /// `None` when it could not be read, which is reported.
    pub file: Option<usize>,
    pub span: Span,
}

impl Modules {
    /// Reads a file's modules. What can't be read is reported where it is used.
    pub(super) fn load(source: &Source, world: &dyn World) -> Self {
        let (tree, errors) = syntax::parse(source);
        let mut modules = Self {
            source: Source::new(&source.name, &source.text),
            files: vec![tree],
            uses: vec![],
            directories: vec![Some(String::new())],
            diagnostics: errors.into_iter().map(Diagnostic::from).collect(),
        };
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut file = 0;
        while file < modules.files.len() {
            let uses: Vec<ast::Use> = modules.files[file].statements.iter().filter_map(as_use).cloned().collect();
            let mut names: IndexMap<String, Used> = IndexMap::new();
            for used in uses {
                let name = match name_of(&used) {
                    Ok(name) => name,
                    Err(error) => {
                        modules.diagnostics.push(*error);
                        continue;
                    }
                };
                if let Some(first) = names.get(&name.text) {
                    modules.diagnostics.push(
                        Diagnostic::error(
                            "ftp::name::duplicate",
                            name.span,
                            format!("two modules are called `{}`", name.text),
                        )
                        .label("called so again")
                        .related(first.span, "first here")
                        .help(format!("give this one another name: `as {}_2`", name.text)),
                    );
                    continue;
                }
                let module = modules.open(file, &used, world, &mut known);
                names.insert(name.text, Used { file: module, span: used.span });
            }
            modules.uses.push(names);
            file += 1;
        }
        modules
    }

    /// The number of a module, read now if it was not before.
    fn open(
        &mut self,
        file: usize,
        used: &ast::Use,
        world: &dyn World,
        known: &mut HashMap<String, usize>,
    ) -> Option<usize> {
        let read = match &used.origin {
            ast::Origin::Standard(library, module) => self.standard(library, module)?,
            ast::Origin::File(path) => {
                let ast::ValueKind::String(text) = &path.kind else {
                    if path.kind != ast::ValueKind::Broken {
                        self.diagnostics.push(
                            Diagnostic::error(
                                "ftp::module::not_found",
                                path.span,
                                "the path of a module holds no names",
                            )
                            .label("depends on a value")
                            .help("write the path itself: `use \"team/recipes.ftp\" as team`"),
                        );
                    }
                    return None;
                };
                let directory = self.directories[file].clone()?;
                let request = ModuleRequest::File { directory, path: text.clone() };
                self.ask(&request, path.span, world)?
            }
            ast::Origin::Remote(call) => {
                let request = self.remote(call)?;
                self.ask(&request, call.span, world)?
            }
        };
        if let Some(number) = known.get(&read.key) {
            return Some(*number);
        }
        let number = self.files.len();
        let source = Source::new(read.name, read.text);
        let (tree, errors) = syntax::parse_file(&source, number);
        self.diagnostics.extend(errors.into_iter().map(Diagnostic::from));
        self.files.push(tree);
        self.source.modules.push(source);
        self.directories.push(read.directory);
        known.insert(read.key, number);
        Some(number)
    }

    fn standard(&mut self, library: &ast::Name, module: &ast::Name) -> Option<Read> {
        let span = library.span.to(module.span);
        if library.text != "std" {
            let mut error = Diagnostic::error(
                "ftp::module::not_found",
                library.span,
                format!("there is no library `{}`", library.text),
            )
            .label("not a library");
            suggest::fix(&mut error, &library.text, ["std"]);
            error.help = suggest::nearest(&library.text, ["std"])
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| Some(format!("write `std.{}`, or a file: `use \"{}.ftp\"`", module.text, module.text)));
            self.diagnostics.push(error);
            return None;
        }
        let Some(text) = stdlib::module(&module.text) else {
            let known: Vec<&str> = stdlib::MODULES.iter().map(|(name, _)| *name).collect();
            let mut error = Diagnostic::error(
                "ftp::module::not_found",
                span,
                format!("the standard library has no module `{}`", module.text),
            )
            .label("no such module");
            error.help = suggest::help(&module.text, &known, "its modules are");
            if let Some(near) = suggest::clear(&module.text, known.iter().copied()) {
                error.fix = Some(super::Fix { span: module.span, text: near.to_owned() });
            }
            self.diagnostics.push(error);
            return None;
        };
        let name = format!("std.{}", module.text);
        Some(Read { key: name.clone(), name, text: text.to_owned(), directory: None })
    }

    fn remote(&mut self, call: &ast::Call) -> Option<ModuleRequest> {
        git(call).map_err(|error| self.diagnostics.push(*error)).ok()
    }

    fn ask(&mut self, request: &ModuleRequest, at: Span, world: &dyn World) -> Option<Read> {
        match world.module(request) {
            Ok(found) => {
                Some(Read { key: found.key, name: found.name, text: found.text, directory: Some(found.directory) })
            }
            Err(SourceError { code, message, label, help, .. }) => {
                let mut error = Diagnostic::error(code, at, message).label(label);
                error.help = help;
                self.diagnostics.push(error);
                None
            }
        }
    }
}

/// What a `use` of a file asks the world for; `None` for the standard library's, and for what is not said in full.
pub fn request(used: &ast::Use) -> Option<ModuleRequest> {
    match &used.origin {
        ast::Origin::Standard(..) => None,
        ast::Origin::File(ast::Value { kind: ast::ValueKind::String(path), .. }) => {
            Some(ModuleRequest::File { directory: String::new(), path: path.clone() })
        }
        ast::Origin::File(_) => None,
        ast::Origin::Remote(call) => git(call).ok(),
    }
}

/// `git("https://host/team/recipes", tag = "v1", path = "recipes.ftp")`.
fn git(call: &ast::Call) -> Result<ModuleRequest, Box<Diagnostic>> {
    let mut given: IndexMap<&str, (String, Span)> = IndexMap::new();
    for argument in call.arguments.iter().flatten() {
        let name = argument.name.as_ref().map_or("url", |name| name.text.as_str());
        if let ast::ValueKind::String(text) = &argument.value.kind {
            given.insert(name, (text.clone(), argument.span));
        }
    }
    let known = ["url", "tag", "commit", "path"];
    let odd = given.iter().find(|(name, _)| !known.contains(*name)).map(|(_, (_, span))| *span);
    let pinned = given.contains_key("tag") != given.contains_key("commit");
    let complete = call.name.text == "git" && pinned && odd.is_none();
    let (Some(url), true) = (given.get("url"), complete && given.len() == call.arguments.iter().flatten().count())
    else {
        return Err(Box::new(
            Diagnostic::error("ftp::module::not_pinned", odd.unwrap_or(call.span), "a module from elsewhere is not said in full")
                .label("which one, exactly?")
                .help("write `use git(\"https://host/team/recipes\", tag = \"v1.0\", path = \"recipes.ftp\") as team`, or `commit = \"..\"` in place of the tag"),
        ));
    };
    let text = |name: &str| given.get(name).map(|(text, _)| text.clone());
    Ok(ModuleRequest::Git {
        url: url.0.clone(),
        tag: text("tag"),
        commit: text("commit"),
        path: text("path").unwrap_or_else(|| "recipes.ftp".to_owned()),
    })
}

/// The name a module has in the file that uses it: given behind `as`, or that of the module.
pub(super) fn name_of(used: &ast::Use) -> Result<ast::Name, Box<Diagnostic>> {
    if let Some(name) = &used.name {
        return Ok(name.clone());
    }
    let (stem, span) = match &used.origin {
        ast::Origin::Standard(_, module) => return Ok(module.clone()),
        ast::Origin::File(ast::Value { kind: ast::ValueKind::String(path), span }) => {
            let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
            (file.strip_suffix(".ftp").unwrap_or(file).to_owned(), *span)
        }
        ast::Origin::File(value) => (String::new(), value.span),
        ast::Origin::Remote(call) => (String::new(), call.span),
    };
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if !stem.is_empty() && stem.chars().all(plain) && !stem.starts_with(|c: char| c.is_numeric()) {
        return Ok(ast::Name { text: stem, span });
    }
    Err(Box::new(
        Diagnostic::error("ftp::module::no_name", span, "this module needs a name")
            .label("has none that could be written")
            .help("give it one: `use .. as team`"),
    ))
}

/// A module's text.
struct Read {
    /// Equal for the same module, however it was named.
    key: String,
    name: String,
    text: String,
    directory: Option<String>,
}

fn as_use(statement: &ast::Statement) -> Option<&ast::Use> {
    match statement {
        ast::Statement::Use(used) => Some(used),
        _ => None,
    }
}
