//! Strings, numbers and names as values.

use pest::iterators::Pair;

use super::ast::{Name, ValueKind};
use super::error::SyntaxError;
use super::grammar::Rule;
use super::parser::span;
use super::span::Span;

/// Reads a pair of the rules `string`, `quantity`, `word` or `nested`. Errors go to `errors`, the value is then
/// [`ValueKind::Broken`].
pub(super) fn read(pair: Pair<Rule>, errors: &mut Vec<SyntaxError>) -> ValueKind {
    let result = match pair.as_rule() {
        Rule::string => string(&pair),
        Rule::quantity => quantity(pair),
        Rule::nested => {
            let called = pair.into_inner().next().expect("a call begins with its name");
            Ok(ValueKind::Call(Name { text: called.as_str().to_owned(), span: span(&called) }))
        }
        _ => Ok(ValueKind::Word(pair.as_str().to_owned())),
    };
    result.unwrap_or_else(|error| {
        errors.push(error);
        ValueKind::Broken
    })
}

/// `3`, `5e-5`, `10 %`, `1_000 steps`.
fn quantity(pair: Pair<Rule>) -> Result<ValueKind, SyntaxError> {
    let mut parts = pair.into_inner();
    let number = parts.next().expect("a quantity begins with its number");
    let unit = parts.next().map(|unit| Name { text: unit.as_str().to_owned(), span: span(&unit) });
    let digits = number.as_str().replace('_', "");
    let too_large = || SyntaxError {
        message: format!("the number {} is too large", number.as_str()),
        span: span(&number),
        label: "does not fit into 64 bits".into(),
        help: Some("write a smaller number".into()),
        related: None,
    };
    if digits.contains(['.', 'e', 'E']) {
        let value: f64 = digits.parse().map_err(|_| too_large())?;
        return if value.is_finite() { Ok(ValueKind::Float { value, unit }) } else { Err(too_large()) };
    }
    Ok(ValueKind::Int { value: digits.parse().map_err(|_| too_large())?, unit })
}

/// A string without its quotes, escapes replaced.
fn string(pair: &Pair<Rule>) -> Result<ValueKind, SyntaxError> {
    let inner = &pair.as_str()[1..pair.as_str().len() - 1];
    let start = pair.as_span().start() + 1;
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let offset = start + inner.len() - rest.len() + at;
        let (character, length) = escape(&rest[at..], offset)?;
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Ok(ValueKind::String(text))
}

/// The character an escape at the beginning of `text` stands for, and the escape's length in bytes.
fn escape(text: &str, offset: usize) -> Result<(char, usize), SyntaxError> {
    let kind = text.chars().nth(1).unwrap_or(' ');
    let character = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '"' | '\\' | '\'' => kind,
        'u' => {
            let end = text.find('}').map_or(2, |end| end + 1);
            let code = text.get(3..end.saturating_sub(1).max(3)).filter(|_| text.get(2..3) == Some("{"));
            let character = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
            let length = if character.is_some() { end } else { 2 };
            return character.map(|character| (character, length)).ok_or_else(|| bad_escape(&text[..length], offset));
        }
        _ => return Err(bad_escape(&text[..1 + kind.len_utf8()], offset)),
    };
    Ok((character, 2))
}

fn bad_escape(escape: &str, offset: usize) -> SyntaxError {
    SyntaxError {
        message: format!("`{escape}` is not an escape"),
        span: Span::new(offset, offset + escape.len()),
        label: "in this string".into(),
        help: Some(
            "write `\\\\` for a backslash; there are also `\\\"`, `\\n`, `\\t`, `\\r`, `\\0` and `\\u{e9}`".into(),
        ),
        related: None,
    }
}
