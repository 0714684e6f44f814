//! Of misspelt identifiers nearly all are recognised: the help names what was meant.

mod support;

use ftp::lang;
use ftp::syntax::ast::{Argument, Call, Statement, ValueKind};
use ftp::syntax::{self, Span};
use support::{Table, registry, source};

const GOOD: &str = include_str!("ui/good.ftp");

/// Numbers that look random and are the same in every run (Marsaglia 2003, xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Where names are used, not declared: methods, parameters, data, pipelines, metrics.
fn uses(text: &str) -> Vec<Span> {
    let (file, _) = syntax::parse(&source(text));
    let mut spans = vec![];
    let argument = |argument: &Argument, spans: &mut Vec<Span>| {
        spans.extend(argument.name.as_ref().map(|name| name.span));
        // `true` is a word, too, and `tru` is no misspelt name.
        if matches!(&argument.value.kind, ValueKind::Word(word) if word != "true" && word != "false") {
            spans.push(argument.value.span);
        }
    };
    let call = |call: &Call, spans: &mut Vec<Span>| {
        spans.push(call.name.span);
        call.arguments.iter().flatten().for_each(|one| argument(one, spans));
    };
    for statement in &file.statements {
        match statement {
            Statement::Let(ast) => {
                if let syntax::ast::Binding::Chain(chain) = &ast.bound {
                    chain.calls().for_each(|one| call(one, &mut spans));
                }
            }
            Statement::Pipeline(ast) => ast.chain.calls().for_each(|one| call(one, &mut spans)),
            Statement::Set(ast) => {
                spans.push(ast.method.span);
                ast.arguments.iter().for_each(|one| argument(one, &mut spans));
            }
            Statement::Param(ast) => spans.push(ast.ty.name.span),
            Statement::Expect(ast) => spans.extend([ast.measure.pipeline.span, ast.measure.metric.span]),
            Statement::Publish(ast) => spans.push(ast.pipeline.span),
            _ => {}
        }
    }
    spans.retain(|span| span.end - span.start > 2);
    spans
}

/// One letter dropped, doubled, swapped with the next, or replaced.
fn misspelt(name: &str, numbers: &mut Numbers) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = numbers.below(letters.len());
    match numbers.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => letters[at] = char::from(b'a' + numbers.below(26) as u8),
    }
    letters.into_iter().collect()
}

#[test]
fn of_five_hundred_misspelt_names_at_least_95_percent_get_the_right_suggestion() {
    let (registry, spans, mut numbers) = (registry(), uses(GOOD), Numbers(0x9e37_79b9_7f4a_7c15));
    assert!(spans.len() > 40, "{}", spans.len());
    let (mut tried, mut right, mut missed) = (0, 0, vec![]);
    while tried < 500 {
        let span = spans[numbers.below(spans.len())];
        let name = &GOOD[span.start..span.end];
        let typo = misspelt(name, &mut numbers);
        let text = format!("{}{typo}{}", &GOOD[..span.start], &GOOD[span.end..]);
        // Some swaps change nothing, and some typos are another name of the file.
        let Err(found) = lang::check(&source(&text), &registry, &Table, &[]) else { continue };
        tried += 1;
        let meant = format!("`{name}`");
        let here = |at: Option<Span>| at.is_some_and(|at| at.start == span.start);
        let suggested = found.all.iter().any(|one| {
            here(one.span)
                && one.help.as_ref().is_some_and(|help| help.contains("did you mean") && help.contains(&meant))
        });
        right += usize::from(suggested);
        if !suggested {
            missed.push(format!("{name} as {typo}: {}", found.all[0].help.as_deref().unwrap_or("no help")));
        }
        // A fix is only offered when it is the right one.
        for fix in found.all.iter().filter_map(|one| one.fix.as_ref()) {
            if fix.span.start == span.start {
                assert_eq!(fix.text, name, "{typo}");
            }
        }
    }
    assert!(right * 100 >= tried * 95, "{right} of {tried}\n{}", missed.join("\n"));
}
