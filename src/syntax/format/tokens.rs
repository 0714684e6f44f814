//! Pairs of the grammar -> tokens in the order of the text, comments among them.

use pest::iterators::Pair;

use super::super::grammar::Rule;

/// A word, a number, a string, a bracket, an operator or a comment.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub text: String,
    /// From `#` to the end of the line.
    pub comment: bool,
    /// Newlines between the token before and this one.
    pub newlines: usize,
    pub end: usize,
}

/// The tokens below a pair. What the grammar has no rule for stands between two pairs and is a token, too, so that
/// nothing of the text is ever lost.
pub(super) fn of(pair: Pair<Rule>, text: &str) -> Vec<Token> {
    let mut tokens = vec![];
    let start = pair.as_span().start();
    let mut collector = Collector { text, end: start, tokens: &mut tokens };
    let end = start + pair.as_str().trim_end().len();
    collector.pair(pair);
    collector.between(end);
    tokens
}

pub(super) fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

struct Collector<'a> {
    text: &'a str,
    /// Up to where the text is in `tokens`.
    end: usize,
    tokens: &'a mut Vec<Token>,
}

impl Collector<'_> {
    fn pair(&mut self, pair: Pair<Rule>) {
        let rule = pair.as_rule();
        let leaf = matches!(rule, Rule::string | Rule::nested) || pair.clone().into_inner().next().is_none();
        if !leaf {
            pair.into_inner().for_each(|inner| self.pair(inner));
            return;
        }
        let start = pair.as_span().start();
        let text = pair.as_str().trim_end();
        if text.is_empty() {
            return;
        }
        self.between(start);
        self.push(start, text, matches!(rule, Rule::comment | Rule::doc));
    }

    /// Whatever stands before `start` and is no pair.
    fn between(&mut self, start: usize) {
        if start <= self.end {
            return;
        }
        let gap = &self.text[self.end..start];
        let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
        let word = gap.trim_matches(blank);
        if !word.is_empty() {
            let at = self.end + gap.len() - gap.trim_start_matches(blank).len();
            self.push(at, word, false);
        }
    }

    fn push(&mut self, start: usize, text: &str, comment: bool) {
        let newlines = newlines(&self.text[self.end..start]);
        self.end = start + text.len();
        self.tokens.push(Token { text: text.to_owned(), comment, newlines, end: self.end });
    }
}
