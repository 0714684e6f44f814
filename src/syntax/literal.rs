//! Strings, numbers and names as values.

use pest::iterators::Pair;

use super::ast::{Name, Part, ValueKind};
use super::error::SyntaxError;
use super::grammar::Rule;
use super::parser::Builder;
use super::span::Span;

/// Whether this is what environment variables are called: capital letters, digits and `_`. Most secrets are not.
pub fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Builder {
    /// Reads a pair of the rules `string`, `quantity`, `number`, `word` or `nested`. An error is kept, the value is then
    /// [`ValueKind::Broken`].
    pub(super) fn plain(&mut self, pair: Pair<Rule>) -> ValueKind {
        let result = match pair.as_rule() {
            Rule::string => self.string(&pair),
            Rule::quantity => {
                let mut parts = pair.into_inner();
                let number = parts.next().expect("a quantity begins with its number");
                let unit = parts.next().map(|unit| self.name(&unit));
                number_of(&number, unit)
            }
            Rule::number => number_of(&pair, None),
            Rule::nested => {
                let called = pair.into_inner().next().expect("a call begins with its name");
                Ok(ValueKind::Call(self.name(&called)))
            }
            Rule::secret => self.secret(pair),
            _ => Ok(ValueKind::Word(pair.as_str().trim_end().to_owned())),
        };
        result.unwrap_or_else(|error| {
            self.errors.push(error);
            ValueKind::Broken
        })
    }

    /// The name of the variable that holds a secret. What is no name may be the secret itself, and is not repeated.
    fn secret(&mut self, pair: Pair<Rule>) -> Result<ValueKind, SyntaxError> {
        let written = pair.into_inner().find(|part| part.as_rule() == Rule::string).expect("a secret has a string");
        match self.string(&written)? {
            ValueKind::String(name) if is_variable(&name) => Ok(ValueKind::Secret(name)),
            _ => Err(SyntaxError {
                code: "ftp::syntax::secret",
                message: "`secret(..)` takes the name of an environment variable".into(),
                span: self.span(&written),
                label: "not the name of one".into(),
                help: Some(
                    "write its capital letters, digits and `_`, such as `secret(\"HF_TOKEN\")`; the secret itself has no place in a file"
                        .into(),
                ),
                related: None,
            }),
        }
    }

    /// A string without its quotes, escapes replaced, and the names in it apart.
    fn string(&self, pair: &Pair<Rule>) -> Result<ValueKind, SyntaxError> {
        let inner = pair.as_str().trim_end();
        let inner = &inner[1..inner.len() - 1];
        let start = pair.as_span().start() + 1;
        let mut parts = vec![];
        let mut text = String::with_capacity(inner.len());
        let mut rest = inner;
        while let Some(at) = rest.find(['\\', '$']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let offset = start + inner.len() - rest.len();
            let length = if rest.starts_with('\\') {
                let (character, length) = escape(rest, offset)?;
                text.push(character);
                length
            } else if rest.starts_with("${") {
                let (name, length) = hole(rest, offset)?;
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Name(Name { span: name.span.in_file(self.span(pair).file), ..name }));
                length
            } else {
                text.push('$');
                1
            };
            rest = &rest[length..];
        }
        text.push_str(rest);
        if parts.is_empty() {
            return Ok(ValueKind::String(text));
        }
        parts.push(Part::Text(text));
        Ok(ValueKind::Template(parts))
    }
}

/// `3`, `5e-5`, `1_000`, and the unit behind it.
fn number_of(number: &Pair<Rule>, unit: Option<Name>) -> Result<ValueKind, SyntaxError> {
    let written = number.as_str().trim_end();
    let start = number.as_span().start();
    let digits = written.replace('_', "");
    let too_large = || SyntaxError {
        code: "ftp::syntax::number_too_large",
        message: format!("the number {written} is too large"),
        span: Span::new(start, start + written.len()),
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

/// The name in `${name}` at the beginning of `text`, and the length of the whole in bytes.
fn hole(text: &str, offset: usize) -> Result<(Name, usize), SyntaxError> {
    let end = text.find('}').unwrap_or(text.len());
    let name = text[2..end].trim();
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    if end == text.len() || name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_numeric()) {
        let length = if end == text.len() { 2 } else { end + 1 };
        return Err(SyntaxError {
            code: "ftp::syntax::bad_interpolation",
            message: "a name stands between `${` and `}`".into(),
            span: Span::new(offset, offset + length),
            label: "not a name".into(),
            help: Some(
                "write the name of a param or a let, such as `${task}`; for a dollar sign itself write `\\$`".into(),
            ),
            related: None,
        });
    }
    let start = offset + 2 + text[2..end].find(name).unwrap_or(0);
    Ok((Name { text: name.to_owned(), span: Span::new(start, start + name.len()) }, end + 1))
}

/// The character an escape at the beginning of `text` stands for, and the escape's length in bytes.
fn escape(text: &str, offset: usize) -> Result<(char, usize), SyntaxError> {
    let kind = text.chars().nth(1).unwrap_or(' ');
    let character = match kind {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '"' | '\\' | '\'' | '$' => kind,
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
        code: "ftp::syntax::bad_escape",
        message: format!("`{escape}` is not an escape"),
        span: Span::new(offset, offset + escape.len()),
        label: "in this string".into(),
        help: Some(
            "write `\\\\` for a backslash; there are also `\\\"`, `\\n`, `\\t`, `\\r`, `\\0`, `\\$` and `\\u{e9}`"
                .into(),
        ),
        related: None,
    }
}
