//! Where in a statement a place is, for a text that is still being written.
//!
//! The tree has nothing to say about half a statement, so this reads the words from the beginning of the statement up to
//! the place, and counts brackets.

use crate::syntax::Span;

/// What may be written at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Context<'a> {
    /// The beginning of a statement.
    Statement,
    /// What a `let` is bound to: a value, a source or a chain.
    Bound,
    /// The beginning of a pipeline's chain.
    Beginning,
    /// Behind an arrow.
    Stage,
    /// An argument of a call, with or without a name.
    Argument(Call<'a>),
    /// The value of an argument with a name.
    Value(Call<'a>, &'a str),
    /// Any plain value: a `param`'s, a bound, an item of a list.
    Plain,
    /// Behind `set`.
    Method,
    /// The type of a `param`.
    Type,
    /// Behind `expect` or `publish`.
    Pipeline,
    /// Behind the dot of `expect`.
    Metric(&'a str),
    /// Behind the pipeline of `publish`.
    To,
    /// Nothing that is known before it is written: a name, a number, text, a comment.
    Nothing,
}

/// The call whose parentheses a place is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub method: &'a str,
    /// The names of the arguments before this one.
    pub given: Vec<&'a str>,
    /// How many arguments without names come before this one.
    pub position: usize,
    /// The first argument, when it is a bare word: for `peft`, its delta method.
    pub first: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// A number or a string.
    Literal,
    Arrow,
    Sign(char),
}

/// The context of a byte offset, and the span of the word that is being written there.
pub(super) fn at(text: &str, offset: usize) -> (Context<'_>, Span) {
    let before = &text[..offset];
    let prefix = before.trim_end_matches(is_word);
    // The rest of the word behind the cursor is replaced too.
    let rest = text[offset..].find(|c: char| !is_word(c)).unwrap_or(text.len() - offset);
    let word = Span::new(prefix.len(), offset + rest);
    let start = statement_start(prefix);
    let Some(tokens) = tokens(&prefix[start..]) else { return (Context::Nothing, word) };
    let line = &prefix[prefix.rfind('\n').map_or(0, |at| at + 1)..];
    let begins_line = line.trim().is_empty();
    (context(&tokens, begins_line), word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the last line begins that begins with a keyword.
fn statement_start(text: &str) -> usize {
    let keywords = ["param", "let", "set", "pipeline", "expect", "publish"];
    let begins = |line: &str| {
        let line = line.trim_start();
        keywords.iter().any(|keyword| line.strip_prefix(keyword).is_some_and(|rest| !rest.starts_with(is_word)))
    };
    let mut end = text.len();
    loop {
        let start = text[..end].rfind('\n').map_or(0, |at| at + 1);
        if begins(&text[start..end]) || start == 0 {
            return start;
        }
        end = start - 1;
    }
}

/// The tokens of a text; `None` when it ends inside a string or a comment.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n')?,
            '"' => {
                tokens.push(Token::Literal);
                string(rest)?
            }
            c if c.is_ascii_digit() => {
                tokens.push(Token::Literal);
                rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len())
            }
            c if is_word(c) => {
                let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..length]));
                length
            }
            '-' if rest.starts_with("->") => {
                tokens.push(Token::Arrow);
                2
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Sign(c));
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// The length of a string; one that has no end on its line ends with the line, unless the text does.
fn string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return Some(at),
            '"' if !escaped => return Some(at + 1),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

fn context<'a>(tokens: &[Token<'a>], begins_line: bool) -> Context<'a> {
    let open = open_brackets(tokens);
    let last = tokens.last().copied();
    if let Some((opened, bracket)) = open.last() {
        return match bracket {
            '(' => in_call(&tokens[..*opened], &tokens[opened + 1..]),
            _ => Context::Plain,
        };
    }
    let goes_on = matches!(last, Some(Token::Arrow | Token::Sign('=' | ':' | '.' | '>' | '<')));
    if begins_line && !goes_on {
        return Context::Statement;
    }
    if last == Some(Token::Arrow) {
        return Context::Stage;
    }
    match tokens {
        [] => Context::Statement,
        [Token::Word("let"), Token::Word(_), Token::Sign('=')] => Context::Bound,
        [Token::Word("pipeline"), Token::Word(_), Token::Sign('=')] => Context::Beginning,
        [Token::Word("set")] => Context::Method,
        [Token::Word("param"), Token::Word(_), Token::Sign(':')] => Context::Type,
        [Token::Word("param"), .., Token::Sign('=')] => Context::Plain,
        [Token::Word("expect" | "publish")] => Context::Pipeline,
        [Token::Word("expect"), Token::Word(pipeline), Token::Sign('.')] => Context::Metric(pipeline),
        [Token::Word("expect"), .., Token::Sign('=' | '<' | '>')] => Context::Plain,
        [Token::Word("publish"), Token::Word(_)] => Context::To,
        _ => Context::Nothing,
    }
}

/// The brackets that are not closed, with their places.
fn open_brackets(tokens: &[Token]) -> Vec<(usize, char)> {
    let mut open = vec![];
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign(bracket @ ('(' | '[')) => open.push((at, *bracket)),
            Token::Sign(')' | ']') => {
                open.pop();
            }
            _ => {}
        }
    }
    open
}

/// A place inside the parentheses behind `before`, after `inside`.
fn in_call<'a>(before: &[Token<'a>], inside: &[Token<'a>]) -> Context<'a> {
    let Some(Token::Word(method)) = before.last() else { return Context::Plain };
    let mut call = Call { method, ..Call::default() };
    let mut depth = 0;
    let mut named: Option<&str> = None;
    let mut argument: Vec<Token> = vec![];
    for token in inside {
        match token {
            Token::Sign('(' | '[') => depth += 1,
            Token::Sign(')' | ']') => depth -= 1,
            Token::Sign(',') if depth == 0 => {
                match named.take() {
                    Some(name) => call.given.push(name),
                    None => call.position += 1,
                }
                if let (None, [Token::Word(word)] | [Token::Word(_), Token::Sign('='), Token::Word(word)]) =
                    (call.first, argument.as_slice())
                {
                    call.first = Some(word);
                }
                argument.clear();
                continue;
            }
            Token::Sign('=') if depth == 0 => {
                if let [Token::Word(name)] = argument.as_slice() {
                    named = Some(name);
                }
            }
            _ => {}
        }
        argument.push(*token);
    }
    match (named, argument.len()) {
        (Some(name), 2) => Context::Value(call, name),
        (None, 0) => Context::Argument(call),
        // Behind a value, there is a comma or the end.
        _ => Context::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The context of the `|` in a text.
    fn of(text: &str) -> Context<'_> {
        let offset = text.find('|').expect("a mark");
        // The mark itself is no word, and what stands behind it does not count.
        at(text, offset).0
    }

    #[test]
    fn a_line_begins_with_a_statement_unless_the_one_above_goes_on() {
        for text in ["|", "pip|", "let a = b\n|", "let a = b -> c(d)\n\n  le|", "# x\n|"] {
            assert_eq!(of(text), Context::Statement, "{text}");
        }
        assert_eq!(of("pipeline a = b ->\n  |"), Context::Stage);
        assert_eq!(of("pipeline a =\n  |"), Context::Beginning);
    }

    #[test]
    fn strings_and_comments_are_left_alone() {
        for text in ["let a = text(\"da|\")", "# finetune(|", "let a = b # -> |", "## a -> |"] {
            assert_eq!(of(text), Context::Nothing, "{text}");
        }
        assert!(matches!(of("let a = text(\"a\\\"(\", |"), Context::Argument(_)));
    }

    #[test]
    fn a_call_knows_what_is_given_already() {
        let Context::Argument(call) = of("pipeline p = b -> peft(lora, rank = 8, al|") else { panic!() };
        assert_eq!((call.method, call.given, call.position), ("peft", vec!["rank"], 1));
        assert_eq!(call.first, Some("lora"));
        let Context::Value(call, name) = of("set finetune(\n  epochs = 3, # c (\n  schedule = |\n)") else { panic!() };
        assert_eq!((call.method, name, call.given), ("finetune", "schedule", vec!["epochs"]));
        assert_eq!(of("set finetune(epochs = 3 |"), Context::Nothing);
        assert_eq!(of("let x = labelled(\"x\", labels = [|"), Context::Plain);
    }

    #[test]
    fn goals_name_pipelines_and_metrics() {
        assert_eq!(of("expect |"), Context::Pipeline);
        assert_eq!(of("expect small.|"), Context::Metric("small"));
        assert_eq!(of("expect small.acc|"), Context::Metric("small"));
        assert_eq!(of("expect small.accuracy >= |"), Context::Plain);
        assert_eq!(of("publish small |"), Context::To);
        assert_eq!(of("param a: |"), Context::Type);
        assert_eq!(of("set |"), Context::Method);
    }
}
