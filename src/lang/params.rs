//! `param` declarations and their values from the command line.

use super::check::Checker;
use super::diagnostic::Diagnostic;
use super::fit;
use super::ir::ParamDeclaration;
use super::literal::Literal;
use super::scope::{Declaration, Meaning, State};
use super::signature::ParameterType;
use super::suggest;
use super::types;
use super::value::Value;
use crate::syntax::{self, ast, is_variable};

impl<'a> Checker<'a> {
    /// Gives every `param` its value: of the last `--set` that names it, else its default.
    pub(super) fn params(&mut self, file: &'a ast::File, overrides: &[(String, String)]) {
        for (name, value) in overrides {
            self.known_param(name, value);
        }
        for statement in &file.statements {
            if let ast::Statement::Param(param) = statement {
                let given = overrides.iter().rev().find(|(name, _)| *name == param.name.text);
                self.param(param, given.map(|(_, value)| value.as_str()));
            }
        }
    }

    fn param(&mut self, param: &'a ast::Param, given: Option<&str>) {
        let name = param.name.text.as_str();
        let default = self.literal(&param.default);
        let ty = match types::of(&param.ty, false) {
            Ok(ty) => ty,
            Err(error) => {
                self.report(*error);
                return self.set_param(name, Meaning::Error);
            }
        };
        let mut value = match fit::fit(&default, &ty, false) {
            Ok(value) => Some(value),
            Err(misfit) => {
                let mut error = Diagnostic::error(
                    misfit.code,
                    misfit.span.unwrap_or(param.default.span),
                    format!("the param `{name}` {}", misfit.message),
                )
                .label(misfit.label)
                .related(param.ty.span, "because of this type");
                error.help = misfit.help;
                self.report(error);
                None
            }
        };
        if let Some(text) = given {
            value = self.given_value(name, text, &ty);
        }
        let failed = default == Literal::Error && given.is_none();
        let Some(value) = value.filter(|_| !failed) else { return self.set_param(name, Meaning::Error) };
        self.set_param(name, Meaning::Value(Literal::from(&value)));
        // A module's params have their defaults and are its own.
        if self.file() > 0 {
            return;
        }
        self.add_param(ParamDeclaration {
            name: name.to_owned(),
            docs: param.docs.clone(),
            ty: param.ty.name.text.clone(),
            value,
            overridden: given.is_some(),
        });
    }

    /// Sets a param's meaning, unless its name is declared twice.
    fn set_param(&mut self, name: &str, meaning: Meaning) {
        if self.scope().get(name).is_some_and(|entry| matches!(entry.state, State::Waiting)) {
            let file = self.file();
            self.set_state(file, name, State::Done(meaning));
        }
    }

    /// A value from the command line. For a string, the bare text will do.
    fn given_value(&mut self, name: &str, text: &str, ty: &ParameterType) -> Option<Value> {
        let secret = *ty == ParameterType::Secret;
        // A secret that was written by mistake is not repeated.
        let shown = format!("`--set {name}={}`", if secret { ".." } else { text });
        if secret && is_variable(text) {
            return Some(Value::Secret(text.to_owned()));
        }
        let quoted = text.trim_start().starts_with('"');
        if *ty == ParameterType::String && !quoted {
            return Some(Value::String(text.to_owned()));
        }
        let literal = match syntax::parse_value(text) {
            Ok(ast::Value { kind: ast::ValueKind::Word(word), .. }) => match word.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => Literal::String(word),
            },
            Ok(value) => {
                // Its place is in the argument, not in the file.
                let before = self.diagnostics.len();
                let literal = self.literal(&value);
                for diagnostic in &mut self.diagnostics[before..] {
                    diagnostic.span = None;
                    diagnostic.related.clear();
                    diagnostic.message = format!("{shown}: {}", diagnostic.message);
                }
                literal
            }
            Err(_) => {
                self.report(
                    Diagnostic::elsewhere(
                        "ftp::param::bad_override",
                        format!("{shown}: the value is not {}", fit::phrase(ty)),
                    )
                    .help(format!("write {}", fit::phrase(ty))),
                );
                return None;
            }
        };
        match fit::fit(&literal, ty, false) {
            Ok(value) => Some(value).filter(|_| literal != Literal::Error),
            Err(misfit) => {
                let message = format!("{shown}: the param `{name}` {}", misfit.message);
                let mut error = Diagnostic::elsewhere("ftp::param::bad_override", message);
                error.help = misfit.help.or_else(|| Some(format!("write {}", fit::phrase(ty))));
                self.report(error);
                None
            }
        }
    }

    /// Reports a `--set` of something that is no param.
    fn known_param(&mut self, name: &str, value: &str) {
        if let Some(entry) = self.scope().get(name)
            && matches!(entry.declaration, Declaration::Param | Declaration::Broken)
        {
            return;
        }
        let params = self.scope().values().filter(|entry| matches!(entry.declaration, Declaration::Param));
        let params: Vec<&str> = params.map(|entry| entry.name.text.as_str()).collect();
        let help = suggest::help(name, &params, "the params are");
        let mut error = Diagnostic::elsewhere(
            "ftp::param::unknown_override",
            format!("`--set {name}={value}`: the file has no param `{name}`"),
        );
        error.help = help.or_else(|| {
            Some(format!("declare it in the file, such as `param {name}: string = \"{}\"`", value.escape_default()))
        });
        self.report(error);
    }
}
