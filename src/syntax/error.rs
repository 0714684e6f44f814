//! What is wrong with a text that is no statement: where, what was expected, and how it is written.

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};

use super::ast::{Broken, Name};
use super::grammar::{Grammar, Rule};
use super::span::Span;

/// A place where the text does not follow the grammar.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntaxError {
    /// e.g. `ftp::syntax::unexpected`.
    pub code: &'static str,
    /// What was expected and what was found.
    pub message: String,
    pub span: Span,
    /// What the mark under `span` says.
    pub label: String,
    /// One action.
    pub help: Option<String>,
    /// A second place that explains the first, e.g. the parenthesis that is not closed.
    pub related: Option<Box<(Span, String)>>,
}

impl SyntaxError {
    /// The same error in another file.
    pub(super) fn move_to(&mut self, file: usize) {
        self.span.file = file;
        if let Some(related) = &mut self.related {
            related.0.file = file;
        }
    }
}

/// A kind of statement: its keyword, its rule alone, and what it looks like.
struct Form {
    keyword: &'static str,
    rule: Rule,
    example: &'static str,
}

const FORMS: &[Form] = &[
    Form { keyword: "param", rule: Rule::only_param, example: "param epochs: int = 3" },
    Form { keyword: "let", rule: Rule::only_let, example: "let domain = text(\"data/*.txt\")" },
    Form { keyword: "set", rule: Rule::only_set, example: "set finetune(epochs = 3)" },
    Form { keyword: "pipeline", rule: Rule::only_pipeline, example: "pipeline small = base -> finetune(target)" },
    Form { keyword: "expect", rule: Rule::only_expect, example: "expect small.accuracy >= 0.80" },
    Form { keyword: "publish", rule: Rule::only_publish, example: "publish small to \"out/small\"" },
    Form {
        keyword: "recipe",
        rule: Rule::only_recipe,
        example: "recipe tuned(base: model, target: labelled, rate: float = 5e-5) = base -> finetune(target, learning_rate = rate)",
    },
    Form { keyword: "use", rule: Rule::only_use, example: "use \"team/recipes.ftp\" as team" },
];

/// Looks at a statement that begins with a keyword but does not parse, at `span` of `text`.
pub(super) fn broken(span: Span, text: &str) -> (Broken, SyntaxError) {
    let statement = &text[span.start..span.end];
    let keyword = first_word(statement);
    let form = FORMS.iter().find(|form| form.keyword == keyword).unwrap_or(&FORMS[0]);
    let name = name_after(span.start + keyword.len(), span.end, text);
    let error = match Grammar::parse(form.rule, statement) {
        Err(error) => explain(&error, form, span, text),
        Ok(_) => at(span, format!("this `{keyword}` is not complete"), "not a whole statement", example(form)),
    };
    (Broken { keyword: Some(keyword.to_owned()), name, span }, error)
}

/// A line that begins like no statement.
pub(super) fn unknown_statement(span: Span, text: &str) -> (Broken, SyntaxError) {
    let statement = &text[span.start..span.end];
    let word = first_word(statement);
    let keywords: [&str; FORMS.len()] = std::array::from_fn(|at| FORMS[at].keyword);
    let lower = word.to_lowercase();
    let limit = (word.len() / 3).max(1);
    let near = keywords.iter().find(|keyword| !word.is_empty() && strsim::osa_distance(keyword, &lower) <= limit);
    let assigns = !word.is_empty() && statement[word.len()..].trim_start().starts_with('=');
    let help = match near {
        _ if assigns => format!("declare a name with `let`: `let {}`", first_line(statement)),
        Some(near) => format!("did you mean `{near}`?"),
        None if !word.is_empty() && statement.contains("->") => {
            format!("name the chain: `pipeline main = {}`", first_line(statement))
        }
        None if statement.starts_with("//") => "a comment begins with `#`".into(),
        None => format!("a statement begins with {}", list(&keywords.map(|keyword| format!("`{keyword}`")))),
    };
    let first = Span::new(span.start, span.start + word.len());
    let name =
        if assigns { Some(Name { text: word.to_owned(), span: first }) } else { name_after(first.end, span.end, text) };
    let broken = Broken { keyword: None, name, span };
    let place = if word.is_empty() { first_character(span, text) } else { first };
    let message = format!("{} does not begin a statement", found(span.start, span.end, text));
    let error = at(place, message, "expected a statement", Some(help));
    (broken, SyntaxError { code: "ftp::syntax::unknown_statement", ..error })
}

/// The name that follows a keyword, if one does.
fn name_after(offset: usize, end: usize, text: &str) -> Option<Name> {
    let after = &text[offset..end];
    let start = offset + after.len() - after.trim_start_matches([' ', '\t']).len();
    let name = first_word(&text[start..end]);
    (!name.is_empty()).then(|| Name { text: name.to_owned(), span: Span::new(start, start + name.len()) })
}

/// A text in place of a value.
pub(super) fn not_a_value(span: Span) -> SyntaxError {
    at(
        span,
        "this is not a value".into(),
        "expected a value",
        Some("write a number, a string, a list or a name".into()),
    )
}

/// An error of pest itself.
pub(super) fn unparsed(error: &Error<Rule>) -> SyntaxError {
    not_a_value(location(error))
}

/// Turns pest's furthest failure in a statement into words.
fn explain(error: &Error<Rule>, form: &Form, statement: Span, text: &str) -> SyntaxError {
    let offset = skip_blank(statement.start + location(error).start, statement.end, text);
    let expected = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => expectations(positives),
        ErrorVariant::CustomError { .. } => vec![],
    };
    let rest = &text[offset..statement.end];
    let here = token(offset, statement.end, text);
    if rest.starts_with('"') {
        let line = Span::new(offset, offset + first_line(rest).len());
        if !closes(first_line(rest)) {
            let error = at(
                line,
                "this string has no end".into(),
                "begins here and goes to the end of the line",
                Some("close it with `\"`; for a quote inside a string write `\\\"`".into()),
            );
            return SyntaxError { code: "ftp::syntax::open_string", ..error };
        }
    }
    let before = &text[statement.start..offset];
    let expected = in_place(expected, before, form);
    let message = format!("expected {expected}, found {}", found(offset, statement.end, text));
    let help = hint(rest, before).or_else(|| example(form));
    let mut error = at(here, message, &format!("expected {expected}"), help);
    if let Some(open) = unclosed(before).filter(|_| rest.is_empty() || rest.starts_with('\n')) {
        let open = statement.start + open;
        error.code = "ftp::syntax::open_bracket";
        error.related = Some(Box::new((Span::new(open, open + 1), "this is still open".into())));
        error.help = Some(format!("close it with `{}`", if text[open..].starts_with('[') { ']' } else { ')' }));
    }
    error
}

/// What was expected, said for the place it was expected at.
fn in_place(mut expected: Vec<String>, before: &str, form: &Form) -> String {
    let before = before.trim_end();
    let is = |phrase: &str| expected.iter().any(|expected| expected == phrase);
    if is("`->`") {
        expected.push("the end of the line".into());
    } else if expected.is_empty() {
        return "the end of the line".into();
    } else if is("a name") && before.ends_with("->") {
        return "a stage".into();
    } else if is("a name") && before.ends_with('=') {
        return "a model or a stage".into();
    } else if is("a value") && before.ends_with('=') && form.keyword == "let" {
        return "a value, a source or a chain".into();
    }
    list(&expected)
}

/// What people write who come from other languages.
fn hint(rest: &str, before: &str) -> Option<String> {
    let in_arguments = unclosed(before).is_some();
    let word = last_word(before);
    Some(match rest.chars().next()? {
        c if in_arguments && !word.is_empty() && (c.is_alphanumeric() || matches!(c, '_' | '"' | '-')) => {
            let is_name = !word.starts_with(|c: char| c.is_numeric());
            let is_value = !(c.is_alphabetic() || c == '_');
            if is_name && is_value {
                "an argument is written with `=`: `epochs = 3`"
            } else {
                "separate arguments by `,`"
            }
            .into()
        }
        '/' | '.' | '\\' | '*' if in_arguments => {
            "a path is a string, between double quotes: `\"data/train.txt\"`".into()
        }
        '\'' => "strings stand between double quotes: \"data/train.txt\"".into(),
        ';' => "a statement ends with its line; remove the `;`".into(),
        ':' if in_arguments => "an argument is written with `=`: `epochs = 3`".into(),
        '|' => "stages are joined by `->`".into(),
        '=' if rest.starts_with("==") => "a number is rarely met exactly: write `>=` or `<=`".into(),
        '=' if rest.starts_with("=>") => "stages are joined by `->`, bounds are written `>=`".into(),
        '{' => "there are no blocks; arguments stand in parentheses: `finetune(target, epochs = 3)`".into(),
        _ => return None,
    })
}

/// The word that stands right before.
fn last_word(before: &str) -> &str {
    let before = before.trim_end();
    &before[before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len()..]
}

fn example(form: &Form) -> Option<String> {
    Some(format!("write it like this: `{}`", form.example))
}

fn at(span: Span, message: String, label: &str, help: Option<String>) -> SyntaxError {
    SyntaxError { code: "ftp::syntax::unexpected", message, span, label: label.to_owned(), help, related: None }
}

/// Rules as a reader knows them, without repeats, in a fixed order.
fn expectations(rules: &[Rule]) -> Vec<String> {
    let value = [
        Rule::string,
        Rule::quantity,
        Rule::number,
        Rule::list,
        Rule::nested,
        Rule::word,
        Rule::argument,
        Rule::either,
        Rule::stack,
        Rule::secret,
        Rule::option,
        Rule::range,
    ];
    let phrases: &[(&[Rule], &str)] = &[
        (&value, "a value"),
        (&[Rule::name], "a name"),
        (&[Rule::delta], "a delta method"),
        (&[Rule::chain, Rule::call, Rule::path, Rule::steps], "a stage"),
        (&[Rule::parameters], "`(` and parameters"),
        (&[Rule::parameter], "a parameter"),
        (&[Rule::r#type], "a type"),
        (&[Rule::variable], "a name and `in`"),
        (&[Rule::condition], "a condition"),
        (&[Rule::limits], "two numbers with `..` between them"),
        (&[Rule::measure, Rule::metric, Rule::folded], "a metric such as `small.accuracy`"),
        (&[Rule::kw_in], "`in`"),
        (&[Rule::kw_then], "`then`"),
        (&[Rule::dots], "`..`"),
        (&[Rule::standard, Rule::origin], "a module such as `std.adaptive` or `\"recipes.ftp\"`"),
        (&[Rule::kw_as], "`as` and a name"),
        (&[Rule::open, Rule::arguments, Rule::options], "`(`"),
        (&[Rule::colon], "`:` and a type"),
        (&[Rule::equals], "`=`"),
        (&[Rule::dot], "`.` and a metric"),
        (&[Rule::relation], "`>=`, `<=`, `>` or `<`"),
        (&[Rule::kw_to], "`to`"),
        (&[Rule::comma], "`,`"),
        (&[Rule::close], "`)`"),
        (&[Rule::close_list], "`]`"),
        (&[Rule::arrow], "`->`"),
    ];
    let has = |wanted: &[Rule]| wanted.iter().any(|rule| rules.contains(rule));
    let mut found: Vec<&str> = phrases.iter().filter(|(wanted, _)| has(wanted)).map(|(_, phrase)| *phrase).collect();
    // A value may be a name, and an argument begins with one.
    if found.contains(&"a value") {
        found.retain(|phrase| *phrase != "a name" && *phrase != "a stage");
    }
    found.retain(|phrase| *phrase != "a name" || !has(&[Rule::chain, Rule::call, Rule::path]));
    // Between two arguments, `=` could only follow a name that is one already.
    if found.contains(&"`,`") {
        found.retain(|phrase| *phrase != "`=`");
    }
    found.into_iter().map(str::to_owned).collect()
}

fn location(error: &Error<Rule>) -> Span {
    match error.location {
        InputLocation::Pos(at) => Span::new(at, at),
        InputLocation::Span((start, end)) => Span::new(start, end),
    }
}

/// The token at an offset, in words.
fn found(offset: usize, end: usize, text: &str) -> String {
    let rest = &text[offset..end];
    if rest.is_empty() || rest.starts_with(['\n', '#']) {
        return "the end of the line".into();
    }
    let token = token(offset, end, text);
    format!("`{}`", &text[token.start..token.end])
}

/// The place of the token at an offset: a word or number, a string, or one character.
fn token(offset: usize, end: usize, text: &str) -> Span {
    let rest = &text[offset..end];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let length = match rest.chars().next() {
        None | Some('\n') => 0,
        Some('"') => rest[1..].find(['"', '\n']).map_or(rest.len(), |at| at + 2),
        Some(c) if is_word(c) => rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len()),
        Some('-' | '=') if rest[1..].starts_with(['>', '=']) => 2,
        Some(c) => c.len_utf8(),
    };
    Span::new(offset, offset + length)
}

fn first_character(span: Span, text: &str) -> Span {
    let length = text[span.start..span.end].chars().next().map_or(0, char::len_utf8);
    Span::new(span.start, span.start + length)
}

/// Skips blanks of a line, so that the mark stands under the offending token; not past the end of a line.
fn skip_blank(offset: usize, end: usize, text: &str) -> usize {
    let rest = &text[offset.min(end)..end];
    let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
    let at = offset.min(end) + skipped;
    // At the end of a statement, mark the place right behind its last word.
    if at == end || text[at..].starts_with('\n') { text[..at].trim_end().len() } else { at }
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("").trim_end()
}

/// Whether a string that begins `line` ends on it.
fn closes(line: &str) -> bool {
    let mut escaped = false;
    line.chars().skip(1).any(|c| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })
}

/// The last bracket that is not closed before the end of `text`.
fn unclosed(text: &str) -> Option<usize> {
    let (mut open, mut in_string, mut in_comment, mut escaped) = (vec![], false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '\n' => (in_string, in_comment) = (false, false),
            _ if in_comment => {}
            '"' if !escaped => in_string = !in_string,
            _ if in_string => {}
            '#' => in_comment = true,
            '(' | '[' => open.push(at),
            ')' | ']' => {
                open.pop();
            }
            _ => {}
        }
        escaped = c == '\\' && in_string && !escaped;
    }
    open.pop()
}

/// "a, b or c".
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
