//! Of misspelt identifiers nearly all are recognised: the help names what was meant. Several at once are several errors, and
//! no error leads to another.

mod support;

use ftp::lang::{self, Diagnostic};
use ftp::syntax::ast::{Argument, Binding, Call, Chain, Condition, Link, Measure, Origin, Statement, Type, Value};
use ftp::syntax::ast::{ValueKind, Values};
use ftp::syntax::{self, Span};
use support::{Table, registry, source};

const GOOD: &str = include_str!("ui/good.ftp");

/// The rest of the language.
const MORE: &str = "\
use std.adaptive
use \"team/recipes.ftp\" as team

param quick: bool = true
param share: float in 0.0..0.5 = 0.2
param token: secret = secret(\"TOKEN\")

let base    = hf(\"models/minilm\")
let domain  = text(\"data/domain.txt\")
let target  = labelled(\"data/sst2.jsonl\")
let other   = labelled(\"data/cola.jsonl\", label = \"class\")
let rates   = [1e-5, 5e-5]
let methods = [bitfit, lora]
let both    = stack(lora(rank = 4), bitfit)

## Twice.
recipe twice(
  start: model,
  first: labelled,
  second: labelled,
  learn: recipe(labelled) = finetune,
  delta: delta = lora,
  passes: epochs = 3,
) = start -> peft(delta) -> finetune(first, epochs = passes) -> learn(second)

recipe chosen(begin: model, goal: labelled, careful: bool = false) =
  begin -> if careful then intermediate(goal, steps = 500 steps) -> finetune(goal)

let tuned = base -> team.tuned(target, rate = 1e-4)

pipeline main  = base -> twice(target, other, learn = chosen, passes = 2 epochs)
pipeline grid  = base -> each(seed in 1..3, rate in rates) finetune(target, learning_rate = rate) -> select(best = accuracy)
pipeline light = base -> each(method in methods) (peft(method) -> finetune(target)) -> race(keep = 1) -> ensemble
pipeline stacked = base -> peft(both) -> finetune(target, warmup = share) -> chosen(other, careful = quick)
pipeline pair  = [tuned, base -> adaptive.domain_adaptive(domain, target)] -> average(target)
pipeline quick_one = if not quick then tuned else base -> finetune(other, time_limit = 30 min)
pipeline tries = base -> each(seed in 1..3) finetune(target)

expect main.accuracy - light.accuracy >= -0.5
expect mean(tries.macro_f1) >= 0.1
publish quick_one to \"out/one\"
";

/// Numbers that look random and are the same in every run (Marsaglia 2003, xorshift).
struct Numbers(u64);

impl Numbers {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Where names are used, not declared: methods, recipes, modules, parameters, data, pipelines, metrics, types, units.
#[derive(Default)]
struct Uses {
    spans: Vec<Span>,
}

impl Uses {
    fn of(text: &str) -> Vec<Span> {
        let (file, errors) = syntax::parse(&source(text));
        assert!(errors.is_empty(), "{errors:?}");
        let mut uses = Self::default();
        for statement in &file.statements {
            uses.statement(statement);
        }
        uses.spans.retain(|span| span.end - span.start > 2);
        uses.spans
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Let(ast) => match &ast.bound {
                Binding::Chain(chain) => self.chain(chain),
                Binding::Value(value) => self.value(value),
            },
            Statement::Pipeline(ast) => self.chain(&ast.chain),
            Statement::Set(ast) => {
                self.spans.push(ast.method.span);
                self.arguments(&ast.arguments);
            }
            Statement::Param(ast) => {
                self.ty(&ast.ty);
                self.value(&ast.default);
            }
            Statement::Recipe(ast) => {
                for parameter in &ast.parameters {
                    self.ty(&parameter.ty);
                    parameter.default.iter().for_each(|value| self.value(value));
                }
                self.chain(&ast.chain);
            }
            Statement::Expect(ast) => {
                self.measure(&ast.measure);
                ast.minus.iter().for_each(|measure| self.measure(measure));
                self.value(&ast.bound);
            }
            Statement::Publish(ast) => self.spans.push(ast.pipeline.span),
            Statement::Use(ast) => {
                if let Origin::Standard(library, module) = &ast.origin {
                    self.spans.extend([library.span, module.span]);
                }
            }
            Statement::Broken(_) => unreachable!("the texts are right"),
        }
    }

    fn ty(&mut self, ty: &Type) {
        self.spans.push(ty.name.span);
        self.spans.extend(ty.takes.iter().flatten().map(|name| name.span));
    }

    fn measure(&mut self, measure: &Measure) {
        self.spans.extend(measure.fold.iter().map(|name| name.span));
        self.spans.extend([measure.pipeline.span, measure.metric.span]);
    }

    fn chain(&mut self, chain: &Chain) {
        for link in &chain.links {
            match link {
                Link::Each(each) => {
                    for variable in &each.variables {
                        match &variable.values {
                            Values::Range(first, last) => [first, last].into_iter().for_each(|value| self.value(value)),
                            Values::List(list) => self.value(list),
                        }
                    }
                }
                Link::If(choice) => self.condition(&choice.condition),
                Link::Call(_) | Link::Models(_) => {}
            }
        }
        chain.calls().for_each(|call| self.call(call));
    }

    fn call(&mut self, call: &Call) {
        self.path(call.name.span, &call.name.text);
        self.arguments(call.arguments.as_deref().unwrap_or_default());
    }

    fn arguments(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            self.spans.extend(argument.name.as_ref().map(|name| name.span));
            self.value(&argument.value);
        }
    }

    fn condition(&mut self, condition: &Condition) {
        self.value(&condition.left);
        condition.comparison.iter().for_each(|(_, value)| self.value(value));
    }

    /// A module and a name in it are two names.
    fn path(&mut self, span: Span, text: &str) {
        match text.find('.') {
            Some(dot) => self
                .spans
                .extend([Span { end: span.start + dot, ..span }, Span { start: span.start + dot + 1, ..span }]),
            None => self.spans.push(span),
        }
    }

    fn value(&mut self, value: &Value) {
        match &value.kind {
            // `true` is a word, too, and `tru` is no misspelt name.
            ValueKind::Word(word) if word == "true" || word == "false" => {}
            ValueKind::Word(word) => self.path(value.span, word),
            ValueKind::Int { unit: Some(unit), .. } | ValueKind::Float { unit: Some(unit), .. } => {
                self.spans.push(unit.span);
            }
            ValueKind::List(items) => items.iter().for_each(|item| self.value(item)),
            ValueKind::Stack(deltas) => deltas.iter().for_each(|delta| self.call(delta)),
            ValueKind::If(either) => {
                self.condition(&either.condition);
                self.value(&either.then);
                self.value(&either.otherwise);
            }
            _ => {}
        }
    }
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

/// A text with some of its places written otherwise. The places are in order and do not meet.
fn edited(text: &str, edits: &[(Span, String)]) -> String {
    let (mut new, mut end) = (String::new(), 0);
    for (span, name) in edits {
        new += &text[end..span.start];
        new += name;
        end = span.end;
    }
    new + &text[end..]
}

/// Everything that is found, warnings too.
fn found(text: &str) -> Vec<Diagnostic> {
    match lang::check(&source(text), &registry(), &Table, &[]) {
        Ok(checked) => checked.warnings,
        Err(found) => found.all,
    }
}

/// Whether the help of a finding at this place names what was meant.
fn suggests(found: &[Diagnostic], at: usize, meant: &str) -> bool {
    let meant = format!("`{meant}`");
    let here = |span: Option<Span>| span.is_some_and(|span| span.start <= at && at <= span.end);
    found.iter().any(|one| {
        here(one.span) && one.help.as_ref().is_some_and(|help| help.contains("did you mean") && help.contains(&meant))
    })
}

#[test]
fn of_five_hundred_misspelt_names_at_least_95_percent_get_the_right_suggestion() {
    for text in [GOOD, MORE] {
        assert!(found(text).is_empty(), "{:?}", found(text));
        let (spans, mut numbers) = (Uses::of(text), Numbers::new());
        assert!(spans.len() > 40, "{}", spans.len());
        let (mut tried, mut right, mut missed) = (0, 0, vec![]);
        while tried < 500 {
            let span = spans[numbers.below(spans.len())];
            let name = &text[span.start..span.end];
            let typo = misspelt(name, &mut numbers);
            let all = found(&edited(text, &[(span, typo.clone())]));
            // Some swaps change nothing, and some typos are another name of the file.
            if all.iter().all(|one| one.severity == lang::Severity::Warning) {
                continue;
            }
            tried += 1;
            let suggested = suggests(&all, span.start, name);
            right += usize::from(suggested);
            if !suggested {
                missed.push(format!("{name} as {typo}: {}", all[0].help.as_deref().unwrap_or("no help")));
            }
            // A fix is only offered when it is the right one.
            for fix in all.iter().filter_map(|one| one.fix.as_ref()) {
                if fix.span.start == span.start {
                    assert_eq!(fix.text, name, "{typo}");
                }
            }
        }
        println!("{right} of {tried} right");
        assert!(right * 100 >= tried * 95, "{right} of {tried}\n{}", missed.join("\n"));
    }
}

#[test]
fn three_misspelt_names_are_three_errors_and_no_more() {
    let text = GOOD;
    let (mut spans, mut numbers) = (Uses::of(text), Numbers::new());
    spans.sort();
    let (mut tried, mut fewer) = (0, vec![]);
    while tried < 300 {
        let mut chosen: Vec<Span> = (0..3).map(|_| spans[numbers.below(spans.len())]).collect();
        chosen.sort();
        chosen.dedup();
        let edits: Vec<(Span, String)> =
            chosen.iter().map(|span| (*span, misspelt(&text[span.start..span.end], &mut numbers))).collect();
        let alone = |edit: &(Span, String)| found(&edited(text, std::slice::from_ref(edit)));
        let errors = edits.iter().map(alone).collect::<Vec<_>>();
        // A typo may be another name, or none at all.
        if edits.len() < 3 || errors.iter().any(Vec::is_empty) {
            continue;
        }
        for (edit, errors) in edits.iter().zip(&errors) {
            let messages: Vec<&str> = errors.iter().map(|one| one.message.as_str()).collect();
            assert_eq!(errors.len(), 1, "{edit:?}: {messages:?}");
        }
        tried += 1;
        let all = found(&edited(text, &edits));
        let messages: Vec<&str> = all.iter().map(|one| one.message.as_str()).collect();
        assert!(all.len() <= 3, "{edits:?}: {messages:?}");
        if all.len() < 3 {
            fewer.push(format!("{edits:?}: {messages:?}"));
        }
    }
    // What is given to a method that there is not can't be judged.
    assert!(fewer.len() * 10 <= tried, "{} of {tried} have fewer\n{}", fewer.len(), fewer.join("\n"));
}
