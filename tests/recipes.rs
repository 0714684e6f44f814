//! Recipes, modules and fan-out mean the stages they stand for, and nothing about how a file is written is in a key.

use std::collections::BTreeSet;

use ftp::lang::ir::Program;
use ftp::lang::{self, Checked};
use ftp::plan::Plan;
use ftp::random::Key;
use ftp::syntax::{self, Source};

mod support;
use support::{Table, registry, source};

const DATA: &str = "let base = hf(\"models/minilm\")
let target = labelled(\"data/sst2.jsonl\")
let domain = text(\"data/domain.txt\")
";

fn program(text: &str) -> Program {
    match lang::check(&source(text), &registry(), &Table, &[]) {
        Ok(Checked { program, .. }) => program,
        Err(found) => {
            let reports: Vec<String> = found.all.iter().map(|one| one.render(&found.source, false)).collect();
            panic!("{}\n{text}", reports.join("\n"))
        }
    }
}

/// The keys of all stages, were each stage's output named by its key.
fn keys(text: &str) -> BTreeSet<String> {
    let program = program(text);
    let plan = Plan::new(&program, "cpu");
    let mut keys: Vec<String> = vec![];
    for stage in 0..plan.stages.len() {
        let key = plan.key(&program, stage, &|before| keys[before].clone()).key;
        keys.push(key);
    }
    keys.into_iter().collect()
}

fn same(one: &str, other: &str) {
    let (one, other) = (format!("{DATA}{one}"), format!("{DATA}{other}"));
    let image = |text: &str| {
        let program = program(text);
        let plan = Plan::new(&program, "cpu");
        let images =
            (0..plan.stages.len()).map(|stage| plan.key(&program, stage, &|before| format!("#{before}")).pre_image);
        images.map(|image| format!("{:?}", image.leaves)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(keys(&one), keys(&other), "{}\n\n{}", image(&one), image(&other));
}

#[test]
fn a_recipe_is_its_stages_written_out() {
    same(
        "recipe tuned(base: model, domain: text, target: labelled, epochs: epochs = 3) =
           base -> adapt(domain, epochs = epochs) -> finetune(target, epochs = epochs)
         pipeline a = base -> tuned(domain, target)
         pipeline b = tuned(base, domain, target, epochs = 5)",
        "pipeline a = base -> adapt(domain, epochs = 3) -> finetune(target, epochs = 3)
         pipeline b = base -> adapt(domain, epochs = 5) -> finetune(target, epochs = 5)",
    );
}

#[test]
fn a_recipe_takes_recipes_stages_and_delta_methods() {
    same(
        "recipe light(base: model, target: labelled, method: delta = bitfit) = base -> peft(method) -> finetune(target)
         recipe twice(base: model, target: labelled, learn: recipe(labelled)) = base -> learn(target) -> learn(target)
         pipeline a = base -> twice(target, learn = light)
         pipeline b = base -> twice(target, finetune)
         pipeline c = base -> light(target, method = lora)",
        "pipeline a = base -> peft(bitfit) -> finetune(target) -> peft(bitfit) -> finetune(target)
         pipeline b = base -> finetune(target) -> finetune(target)
         pipeline c = base -> peft(lora) -> finetune(target)",
    );
}

#[test]
fn a_module_reads_with_its_own_names_paths_and_defaults() {
    same(
        "use \"team/recipes.ftp\" as team
         set finetune(epochs = 7)
         pipeline a = base -> team.two_steps(target)
         pipeline b = base -> team.tuned(target, seed = 3)",
        "let mnli = pairs(\"team/mnli.jsonl\")
         pipeline a = base -> intermediate(mnli) -> finetune(target, learning_rate = 5e-5)
         pipeline b = base -> finetune(target, learning_rate = 5e-5, seed = 3)",
    );
}

#[test]
fn each_makes_every_combination_and_gives_its_values_to_parameters_of_their_names() {
    same(
        "pipeline tries = base -> each(seed in 1..2, rate in [1e-4, 1e-5]) finetune(target, learning_rate = rate)",
        "pipeline a = base -> finetune(target, seed = 1, learning_rate = 1e-4)
         pipeline b = base -> finetune(target, seed = 1, learning_rate = 1e-5)
         pipeline c = base -> finetune(target, seed = 2, learning_rate = 1e-4)
         pipeline d = base -> finetune(target, seed = 2, learning_rate = 1e-5)",
    );
    same(
        "let methods = [bitfit, lora]
         pipeline tries = base -> each(method in methods) (peft(method) -> finetune(target))",
        "pipeline a = base -> peft(bitfit) -> finetune(target)
         pipeline b = base -> peft(lora) -> finetune(target)",
    );
    let named = program(&format!("{DATA}pipeline tries = base -> each(seed in 1..2) finetune(target)"));
    let names: Vec<&str> = named.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["tries[seed = 1]", "tries[seed = 2]"]);
}

#[test]
fn a_choice_is_what_its_condition_takes_and_files_of_the_other_side_need_not_be_there() {
    same(
        "param quick: bool = true
         param layers: int = 4
         pipeline a = base -> if not quick then adapt(domain) -> finetune(target, epochs = if layers > 3 then 1 else 9)
         pipeline b = if quick then base else hf(\"missing\") -> if layers == 4 then (peft(bitfit) -> finetune(target)) else finetune(target)",
        "pipeline a = base -> finetune(target, epochs = 1)
         pipeline b = base -> peft(bitfit) -> finetune(target)",
    );
}

#[test]
fn a_string_takes_in_names() {
    let one = program(&format!(
        "{DATA}param size: int = 3\nlet other = text(\"data/${{size}}/\\${{x}}.txt\")\npipeline a = base -> adapt(other)"
    ));
    let paths = one.nodes.iter().filter_map(|node| Some(&node.parameters.get("path")?.value));
    let wanted = ftp::lang::value::Value::String("data/3/${x}.txt".into());
    assert!(paths.clone().any(|path| *path == wanted), "{:?}", paths.collect::<Vec<_>>());
}

#[test]
fn what_a_program_holds_is_only_what_it_says() {
    // Checking a recipe by itself, and the side of a choice that is not taken, leave nothing behind.
    let plain = program(&format!("{DATA}pipeline a = base -> finetune(target)"));
    let more = program(&format!(
        "{DATA}recipe odd(base: model, n: int) = base -> each(seed in 1..n) finetune(target) -> select
         pipeline a = base -> if false then adapt(domain) -> finetune(target)"
    ));
    let labels =
        |program: &Program| -> BTreeSet<String> { program.nodes.iter().map(|node| node.label.clone()).collect() };
    assert_eq!(plain.nodes.len(), more.nodes.len());
    assert_eq!(labels(&plain), labels(&more));
}

#[test]
fn a_program_that_explodes_is_refused_soon() {
    let mut text = format!("{DATA}recipe r0(base: model) = base -> adapt(domain)\n");
    for n in 1..60 {
        text += &format!("recipe r{n}(base: model) = base -> r{} -> r{}\n", n - 1, n - 1);
    }
    text += "pipeline a = base -> r59";
    let found = lang::check(&source(&text), &registry(), &Table, &[]).unwrap_err();
    assert!(found.all.iter().any(|one| one.code == "ftp::recipe::too_large"), "{found}");
}

/// A file with every part of the language, its statements in any order, names of its own, white space and comments anywhere.
fn disguised(key: Key) -> String {
    let mut turn = 0;
    let mut draw = |below: usize| {
        turn += 1;
        key.below(turn, below as u32) as usize
    };
    let mut name = |plain: &str| format!("{}{}", plain, ["", "_", "_2", "s", "\u{e9}", "_of_ours"][draw(6)]);
    let names: Vec<String> = ["base", "target", "domain", "tuned", "m", "t", "d", "n", "tries", "main", "rate", "word"]
        .iter()
        .map(|plain| name(plain))
        .collect();
    let [base, target, domain, tuned, m, t, d, n, tries, main, rate, word] = &names[..] else { unreachable!() };
    let moved = ["data", "elsewhere/data", "/absolute"][draw(3)];
    let swap = |one: String, other: String, first: bool| {
        if first { format!("{one}, {other}") } else { format!("{other}, {one}") }
    };
    let both = |a: bool| swap("epochs = 2".into(), format!("learning_rate = {rate}"), a);
    let mut statements = vec![
        format!("let {base} = hf(\"{moved}/minilm\")"),
        format!("let {target} = labelled(\"{moved}/sst2.jsonl\")"),
        format!("let {domain} = text(\"{moved}/domain.txt\")"),
        format!("let {rate} = 1e-4"),
        format!("param {word}: bool = true"),
        "set adapt(epochs = 2)".to_owned(),
        format!(
            "recipe {tuned}({m}: model, {t}: labelled, {d}: text, {n}: epochs = 3) = {m} -> adapt({d}) -> finetune({t}, epochs = {n})"
        ),
        format!("pipeline {tries} = {base} -> each(seed in 1..2) finetune({target}, {}) -> select", both(draw(2) == 0)),
        format!(
            "pipeline {main} = {base} -> {tuned}({}, {n} = 4) -> if {word} then finetune({target}, {})",
            swap(format!("{t} = {target}"), format!("{d} = {domain}"), draw(2) == 0),
            both(draw(2) == 0)
        ),
        format!("expect {main}.accuracy - {tries}.accuracy >= -1"),
    ];
    for at in (1..statements.len()).rev() {
        statements.swap(at, draw(at + 1));
    }
    let mut text = String::new();
    for statement in statements {
        for _ in 0..draw(3) {
            text += ["\n", "# a comment\n", "   \n", "## docs, perhaps\n"][draw(4)];
        }
        for (at, part) in statement.split(' ').enumerate() {
            if at > 0 {
                text += [" ", "  ", "\t", " "][draw(4)];
            }
            text += part;
            // After an arrow, a statement may go on on the next line.
            if part == "->" {
                text += ["", "\n", " # why\n  "][draw(3)];
            }
        }
        text += [" ", "", "  # done"][draw(3)];
        text.push('\n');
    }
    if draw(4) == 0 {
        text = syntax::format(&Source::new("x.ftp", &text)).expect("it has no errors");
    }
    text
}

#[test]
fn ten_thousand_cosmetic_edits_change_no_key() {
    let plain = keys(&disguised(Key::new(0, "cosmetic")));
    assert_eq!(plain.len(), 6);
    for seed in 1..10_000 {
        let text = disguised(Key::new(seed, "cosmetic"));
        assert_eq!(keys(&text), plain, "seed {seed}:\n{text}");
    }
    println!("10,000 ways to write one program: 0 other keys of {} stages", plain.len());
}
