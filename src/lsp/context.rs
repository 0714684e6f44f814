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
    /// Any value: a `param`'s, a bound, an item of a list.
    Plain,
    /// Behind `set`.
    Method,
    /// The type of a `param`, or of a recipe's parameter.
    Type { recipe: bool },
    /// Behind `if` and `not`.
    Condition,
    /// Behind `use`.
    Module,
    /// Behind `use std.`.
    Standard,
    /// Behind the dot of a module's name.
    Member(&'a str),
    /// Behind `expect` or `publish`.
    Pipeline,
    /// Behind the dot of `expect`.
    Metric(&'a str),
    /// Behind the directory of `publish`.
    As,
    /// Behind `as` of `publish`.
    Form,
    /// Behind the pipeline of `publish`.
    To,
    /// Nothing that is known before it is written: a name, a number, text, a comment.
    Nothing,
}

/// The call whose parentheses a place is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Its name or path.
    pub method: &'a str,
    /// It stands behind an arrow.
    pub piped: bool,
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

/// A name that only means something in the statement: a recipe's parameter, a variable; with its type, where it has one.
pub(super) type Local<'a> = (&'a str, Option<&'a str>);

/// The context of a byte offset, the span of the word that is being written there, and the local names known there.
pub(super) fn at(text: &str, offset: usize) -> (Context<'_>, Span, Vec<Local<'_>>) {
    let before = &text[..offset];
    let prefix = before.trim_end_matches(is_word);
    // The rest of the word behind the cursor is replaced too.
    let rest = text[offset..].find(|c: char| !is_word(c)).unwrap_or(text.len() - offset);
    let word = Span::new(prefix.len(), offset + rest);
    let start = statement_start(prefix);
    let Some(tokens) = tokens(&prefix[start..]) else { return (Context::Nothing, word, vec![]) };
    let line = &prefix[prefix.rfind('\n').map_or(0, |at| at + 1)..];
    let begins_line = line.trim().is_empty();
    (context(&tokens, begins_line), word, locals(&tokens))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the last line begins that begins with a keyword.
fn statement_start(text: &str) -> usize {
    let keywords = ["param", "let", "set", "pipeline", "expect", "publish", "recipe", "use"];
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
                let length = path(rest);
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

/// The length of a name, or of two with a dot between them.
fn path(text: &str) -> usize {
    let name = |text: &str| text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let first = name(text);
    match text[first..].strip_prefix('.').map(name) {
        Some(second) if second > 0 => first + 1 + second,
        _ => first,
    }
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
    use Token::{Arrow, Sign, Word};
    match tokens {
        [Word("use")] => return Context::Module,
        [Word("use"), Word("std"), Sign('.')] => return Context::Standard,
        [Word("expect"), .., Word(pipeline), Sign('.')] => return Context::Metric(pipeline),
        [.., Word(module), Sign('.')] => return Context::Member(module),
        // `1..`
        [.., Sign('.')] => return Context::Plain,
        [.., Arrow] => return Context::Stage,
        _ => {}
    }
    let open = open_brackets(tokens);
    if let Some((opened, bracket)) = open.last() {
        let (before, inside) = (&tokens[..*opened], &tokens[opened + 1..]);
        return match (bracket, before) {
            _ if matches!(inside, [.., Word("if" | "not")]) => Context::Condition,
            ('(', [Word("recipe"), Word(_)]) => in_parameters(inside),
            ('(', [Word("use"), ..]) => Context::Nothing,
            ('(', [.., Word("each")]) => in_each(inside),
            // Stages in parentheses, behind `each(..)`, `then` and `else`.
            ('(', [.., Sign(')') | Word("then" | "else")]) if inside.is_empty() => Context::Stage,
            ('(', [.., Word(_)]) => in_call(before, inside),
            ('(', _) => Context::Nothing,
            _ => Context::Plain,
        };
    }
    let last = tokens.last();
    let goes_on = matches!(last, Some(Sign('=' | ':' | '>' | '<' | ')') | Word("then" | "else")));
    if begins_line && (!goes_on || last == Some(&Sign(')'))) {
        return Context::Statement;
    }
    match tokens {
        [] => Context::Statement,
        [Word("let"), Word(_), Sign('=')] => Context::Bound,
        [Word("pipeline"), Word(_), Sign('=')] | [Word("recipe"), .., Sign('=')] => Context::Beginning,
        [Word("set")] => Context::Method,
        [Word("param"), Word(_), Sign(':')] => Context::Type { recipe: false },
        [Word("param"), .., Sign('=')] | [Word("expect"), .., Sign('=' | '<' | '>')] => Context::Plain,
        [Word("expect" | "publish")] | [Word("expect"), .., Sign('-')] => Context::Pipeline,
        [Word("publish"), Word(_)] => Context::To,
        [Word("publish"), Word(_), Word("to"), _] => Context::As,
        [Word("publish"), .., Word("as")] => Context::Form,
        [.., Word("if" | "not")] => Context::Condition,
        [.., Word("then" | "else")] => Context::Stage,
        // Behind `each(..)` stands what is done for each.
        [.., Sign(')')] if behind_each(tokens) => Context::Stage,
        _ => Context::Nothing,
    }
}

/// Whether the parenthesis that was closed last is that of an `each`.
fn behind_each(tokens: &[Token]) -> bool {
    let open = open_brackets(&tokens[..tokens.len() - 1]);
    let opened = open.last().and_then(|(opened, _)| opened.checked_sub(1));
    opened.is_some_and(|before| tokens[before] == Token::Word("each"))
}

/// A place among a recipe's parameters.
fn in_parameters<'a>(inside: &[Token<'a>]) -> Context<'a> {
    match inside {
        [.., Token::Sign(':')] => Context::Type { recipe: true },
        [.., Token::Sign('=')] => Context::Plain,
        _ => Context::Nothing,
    }
}

/// A place among the variables of an `each`.
fn in_each<'a>(inside: &[Token<'a>]) -> Context<'a> {
    match inside {
        [.., Token::Word("in")] => Context::Plain,
        _ => Context::Nothing,
    }
}

/// Parameters of a recipe and variables of `each`es up to here.
fn locals<'a>(tokens: &[Token<'a>]) -> Vec<Local<'a>> {
    use Token::{Sign, Word};
    let mut locals = vec![];
    let is_recipe = tokens.first() == Some(&Word("recipe"));
    for (at, window) in tokens.windows(3).enumerate() {
        match window {
            [Word(name), Sign(':'), Word(ty)] if is_recipe => locals.push((*name, Some(*ty))),
            [Sign('(' | ','), Word(name), Word("in")] if in_each_at(&tokens[..=at]) => locals.push((*name, None)),
            _ => {}
        }
    }
    locals
}

/// Whether the bracket or comma at the end of these stands in the parentheses of an `each`.
fn in_each_at(tokens: &[Token]) -> bool {
    let open = open_brackets(tokens);
    let before = open.last().and_then(|(opened, _)| opened.checked_sub(1));
    before.is_some_and(|before| tokens[before] == Token::Word("each"))
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
    let Some(Token::Word(method)) = before.last() else { return Context::Nothing };
    let piped = before.len() > 1 && before[before.len() - 2] == Token::Arrow;
    let mut call = Call { method, piped, ..Call::default() };
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
        assert_eq!(of("param a: |"), Context::Type { recipe: false });
        assert_eq!(of("expect a.accuracy - |"), Context::Pipeline);
        assert_eq!(of("expect a.accuracy - b.|"), Context::Metric("b"));
        assert_eq!(of("expect mean(a.|"), Context::Metric("a"));
        assert_eq!(of("set |"), Context::Method);
    }

    #[test]
    fn recipes_modules_and_choices_have_their_places() {
        assert_eq!(of("use |"), Context::Module);
        assert_eq!(of("use std.a|"), Context::Standard);
        assert_eq!(of("pipeline p = b -> team.|"), Context::Member("team"));
        assert_eq!(of("pipeline p = b -> finetune(team.|)"), Context::Member("team"));
        assert_eq!(of("recipe r(a: |"), Context::Type { recipe: true });
        assert_eq!(of("recipe r(a: model, |"), Context::Nothing);
        assert_eq!(of("recipe r(a: model) = |"), Context::Beginning);
        assert_eq!(of("pipeline p = b -> if |"), Context::Condition);
        assert_eq!(of("pipeline p = b -> if quick then |"), Context::Stage);
        assert_eq!(of("pipeline p = b -> each(seed in |"), Context::Plain);
        assert_eq!(of("pipeline p = b -> each(seed in 1..3) |"), Context::Stage);
        assert_eq!(of("pipeline p = b -> each(seed in 1..3) (|"), Context::Stage);
        assert_eq!(of("pipeline p = b -> each(seed in 1..3) (a -> |"), Context::Stage);
        let Context::Argument(call) = of("pipeline p = b -> team.robust(a, |") else { panic!() };
        assert_eq!((call.method, call.piped, call.position), ("team.robust", true, 1));
        let text = "recipe r(a: model, n: int = 1) = a -> each(seed in 1..3, m in [x]) finetune(|";
        assert_eq!(at(text, text.len() - 1).2, [("a", Some("model")), ("n", Some("int")), ("seed", None), ("m", None)]);
    }
}
