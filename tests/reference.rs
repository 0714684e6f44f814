//! The reference, `docs/language.md`, says what the grammar, the signatures and the checker say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ftp::lang::signature::Kind;
use ftp::lang::{self, explain, stdlib, type_names};
use ftp::methods;
use ftp::syntax::Source;
use pest_meta::ast::{Expr, Rule};
use pest_meta::parser;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reference() -> String {
    read("docs/language.md")
}

/// The words between back quotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What stands between two texts of the reference.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("`{before}` is gone"));
    rest.split_once(after).unwrap_or_else(|| panic!("`{after}` is gone")).0
}

#[test]
fn the_reference_lists_every_code() {
    let reference = reference();
    let (_, table) = reference.split_once("| area | codes |").expect("the table of codes");
    let mut listed = BTreeSet::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let mut words = line.split('`').skip(1).step_by(2);
        let area = words.next().unwrap();
        listed.extend(words.map(|code| format!("ftp::{area}::{code}")));
    }
    let known = explain::pages().iter().map(|page| page.code.to_owned());
    let known: BTreeSet<_> = known.filter(|code| !code.starts_with("ftp::data::")).collect();
    assert_eq!(listed, known);
}

#[test]
fn the_words_that_the_reference_reserves_are_reserved() {
    let reference = reference();
    for word in between(&reference, "and the words `", "`").split_whitespace() {
        let source = Source::new("x.ftp", format!("let {word} = 1\n"));
        let found = lang::check(&source, methods::registry(), &support::Table, &[]).unwrap_err();
        let codes: Vec<_> = found.all.iter().map(|one| one.code).collect();
        assert!(codes.contains(&"ftp::name::reserved"), "{word}: {codes:?}");
    }
}

#[test]
fn the_reference_names_the_types_deltas_and_modules_there_are() {
    let reference = reference();
    let params = between(&reference, "`--NAME VALUE`. Types: ", "; `int in 1..20`");
    assert_eq!(quoted(params), type_names(false).into_iter().collect());
    let recipes = between(&reference, "A parameter's type is one of a `param`'s, or ", " (a recipe or a stage");
    let of_recipes: BTreeSet<&str> = quoted(recipes).into_iter().map(|name| name.trim_end_matches("(..)")).collect();
    let of_params = type_names(false);
    assert_eq!(of_recipes, type_names(true).into_iter().filter(|name| !of_params.contains(name)).collect());

    let deltas = between(&reference, "attaches a delta method (", ") for the next training stage");
    let known: Vec<&str> = methods::registry().of_kind(Kind::Delta).map(|delta| delta.name).collect();
    assert_eq!(quoted(deltas), known.iter().copied().collect());
    let modules = between(&reference, "is a module of the standard library: ", ", in `stdlib/`");
    let known: Vec<String> = stdlib::MODULES.iter().map(|(name, _)| format!("std.{name}")).collect();
    assert_eq!(quoted(modules), known.iter().map(String::as_str).collect());
}

/// Rules of `ftp.pest` that are not shown: they skip, or read what is wrong so that a message can say so.
const HIDDEN: &[&str] =
    &["WHITESPACE", "SOI", "EOI", "end", "line_end", "nested", "continues", "broken", "unknown", "keyword", "text"];

/// Where the productions for errors begin.
const ERRORS: &str = "// Error productions.";

/// The grammar as the reference shows it: `[..]` may be left out, `{..}` may stand any number of times.
struct Grammar {
    rules: Vec<Rule>,
}

impl Grammar {
    fn read() -> Self {
        let text = read("grammar/ftp.pest");
        assert!(text.contains(ERRORS));
        let pairs = parser::parse(parser::Rule::grammar_rules, &text).expect("the program is built with it");
        let rules = parser::consume_rules(pairs).expect("the program is built with it");
        Self { rules }
    }

    /// Names of the rules to show.
    fn shown(&self) -> Vec<&Rule> {
        let text = read("grammar/ftp.pest");
        let (before, _) = text.split_once(ERRORS).expect("looked at above");
        let declared = |name: &str| before.lines().any(|line| line.split(['=', ' ']).next() == Some(name));
        let shown = |rule: &&Rule| {
            declared(&rule.name) && !HIDDEN.contains(&rule.name.as_str()) && self.token(&rule.name).is_none()
        };
        self.rules.iter().filter(shown).collect()
    }

    /// The text of a rule that is one, such as `arrow`.
    fn token(&self, name: &str) -> Option<&str> {
        let rule = self.rules.iter().find(|rule| rule.name == name)?;
        let mut expr = &rule.expr;
        while let Expr::Seq(first, rest) = expr {
            if !matches!(**rest, Expr::NegPred(_)) {
                return None;
            }
            expr = first;
        }
        match expr {
            Expr::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An expression, or nothing where it takes no text.
    fn expression(&self, expr: &Expr) -> Option<String> {
        let text = match expr {
            Expr::Str(text) if text == "\n" => "newline".to_owned(),
            Expr::Str(text) => format!("{text:?}"),
            Expr::Insens(text) => format!("{:?} | {:?}", text.to_lowercase(), text.to_uppercase()),
            Expr::Ident(name) => match (self.token(name), name.as_str()) {
                (_, "text") => "text".to_owned(),
                (_, name) if HIDDEN.contains(&name) && name != "continues" => return None,
                (Some("\n"), _) => "newline".to_owned(),
                (Some(text), _) => format!("{text:?}"),
                (None, "continues") => "letter | number | \"_\"".to_owned(),
                (None, "LETTER") => "letter".to_owned(),
                (None, "ASCII_DIGIT") => "digit".to_owned(),
                (None, "ANY") => "any".to_owned(),
                (None, name) => name.to_owned(),
            },
            Expr::PosPred(_) | Expr::NegPred(_) => return None,
            Expr::Seq(first, rest) => match (self.expression(first), self.expression(rest)) {
                (Some(_), Some(_)) => format!("{} {}", self.part(first)?, self.part(rest)?),
                (one, other) => return one.or(other),
            },
            Expr::Choice(first, rest) => match (self.expression(first), self.expression(rest)) {
                (Some(first), Some(rest)) => format!("{first} | {rest}"),
                (one, other) => return one.or(other),
            },
            Expr::Opt(inner) => format!("[ {} ]", self.expression(inner)?),
            Expr::Rep(inner) => format!("{{ {} }}", self.expression(inner)?),
            Expr::RepOnce(inner) => format!("{} {{ {} }}", self.part(inner)?, self.expression(inner)?),
            other => panic!("{other:?} is new; say how the reference shows it"),
        };
        Some(text)
    }

    /// An expression as a part of a sequence.
    fn part(&self, expr: &Expr) -> Option<String> {
        let text = self.expression(expr)?;
        let alone = match expr {
            Expr::Choice(first, rest) => self.expression(first).is_none() || self.expression(rest).is_none(),
            Expr::Ident(name) => name != "continues",
            Expr::Insens(_) => false,
            _ => true,
        };
        Some(if alone { text } else { format!("( {text} )") })
    }
}

/// `name = a | b`, over several lines where it is long.
fn production(name: &str, width: usize, text: &str) -> String {
    let line = format!("{name:width$} = {text}");
    if line.len() <= 116 {
        return line;
    }
    let (mut parts, mut depth, mut from) = (vec![], 0i32, 0);
    let mut in_string = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '|' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    format!("{name:width$} = {}", parts.join(&format!("\n{:width$} | ", "")))
}

/// What the reference shows is written by this test; when it fails, it prints what to write.
#[test]
fn the_grammar_in_the_reference_is_the_one_that_is_parsed() {
    let grammar = Grammar::read();
    let shown = grammar.shown();
    let width = shown.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let rules = shown.iter().filter_map(|rule| Some(production(&rule.name, width, &grammar.expression(&rule.expr)?)));
    let written = rules.collect::<Vec<_>>().join("\n");
    let reference = reference();
    let there = between(reference.split_once("## Grammar").expect("the grammar").1, "```text\n", "\n```");
    assert!(there == written, "docs/language.md must show the grammar so:\n{written}");
}

mod support;
