//! What holds for any text: no panic, no place outside the text, and nothing changes that says nothing.

mod support;

use ftp::lang::value::Value;
use ftp::lang::{self, Checked};
use ftp::syntax::{self, Span, ast};
use proptest::prelude::*;
use support::{Table, outline, registry, source};

const GOOD: &str = include_str!("ui/good.ftp");

/// Parses, checks and renders a text; all places must lie in it, on character boundaries.
fn survives(text: &str) {
    let source = source(text);
    let inside = |span: Span| {
        assert!(span.start <= span.end && span.end <= text.len(), "{span:?} is outside of {text:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{span:?} splits a character");
    };
    let (file, errors) = syntax::parse(&source);
    for error in &errors {
        inside(error.span);
        error.related.iter().for_each(|related| inside(related.0));
    }
    for statement in &file.statements {
        match statement {
            ast::Statement::Param(param) => [param.span, param.name.span, param.default.span].map(inside),
            ast::Statement::Let(binding) => [binding.span, binding.name.span, binding.span].map(inside),
            ast::Statement::Set(set) => [set.span, set.method.span, set.span].map(inside),
            ast::Statement::Pipeline(pipeline) => [pipeline.span, pipeline.name.span, pipeline.chain.span].map(inside),
            ast::Statement::Expect(expect) => [expect.span, expect.measure.metric.span, expect.bound.span].map(inside),
            ast::Statement::Publish(publish) => [publish.span, publish.pipeline.span, publish.span].map(inside),
            ast::Statement::Recipe(recipe) => [recipe.span, recipe.name.span, recipe.chain.span].map(inside),
            ast::Statement::Use(used) => [used.span; 3].map(inside),
            ast::Statement::Broken(broken) => [broken.span; 3].map(inside),
        };
    }
    let broken = file.statements.iter().filter(|statement| matches!(statement, ast::Statement::Broken(_))).count();
    assert!(errors.len() >= broken, "a broken statement without an error in {text:?}");
    match lang::check(&source, &registry(), &Table, &[]) {
        Ok(_) => assert!(errors.is_empty(), "an error was lost in {text:?}"),
        Err(diagnostics) => {
            assert!(diagnostics.errors() > 0);
            for diagnostic in &diagnostics.all {
                diagnostic.span.into_iter().for_each(inside);
                diagnostic.related.iter().for_each(|(span, _)| inside(*span));
                diagnostic.render(&source, false);
                diagnostic.to_json(&source);
            }
        }
    }
}

/// Bits of the language and of what is not the language.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("let ".to_owned()),
        Just("set ".to_owned()),
        Just("param ".to_owned()),
        Just("pipeline ".to_owned()),
        Just("\nexpect ".to_owned()),
        Just("\npublish ".to_owned()),
        Just(" to ".to_owned()),
        Just(" -> ".to_owned()),
        Just(" = ".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("##".to_owned()),
        Just("finetune".to_owned()),
        Just("pretrain".to_owned()),
        Just("peft(bitfit)".to_owned()),
        Just("10 %".to_owned()),
        Just("secret(\"".to_owned()),
        Just("A\")".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{e9}\u{1f600}".to_owned()),
        "[a-c]{1,2}",
        "[0-9_.e-]{1,6}",
        "\\PC{1,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_is_parsed_and_reported_on(text in "(\\PC|[\\n\\t\\r]){0,200}") {
        survives(&text);
    }

    #[test]
    fn any_sequence_of_fragments_is_parsed_and_reported_on(fragments in prop::collection::vec(fragment(), 0..40)) {
        survives(&fragments.concat());
    }

    #[test]
    fn any_change_to_a_good_file_is_parsed_and_reported_on(
        at in 0..GOOD.len(),
        removed in 0..30usize,
        inserted in prop::collection::vec(fragment(), 0..3),
    ) {
        let start = (0..=at).rev().find(|at| GOOD.is_char_boundary(*at)).unwrap();
        let end = (start + removed..).find(|at| GOOD.is_char_boundary((*at).min(GOOD.len()))).unwrap().min(GOOD.len());
        survives(&format!("{}{}{}", &GOOD[..start], inserted.concat(), &GOOD[end..]));
    }

    #[test]
    fn comments_blank_lines_and_the_order_of_named_arguments_change_nothing(
        order in Just(["epochs = 4", "learning_rate = 1e-4", "schedule = cosine", "warmup = 20 %"]).prop_shuffle(),
        gap in prop::sample::select(vec!["", " ", "\t", "\n", "\r\n", " # why\n", "\n\n  # why, \"and\" (how\n\n  "]),
        between in prop::sample::select(vec!["\n", "\n\n", "  # why\n", "\n# let x = 1\n\n", "\r\n"]),
    ) {
        let file = |order: [&str; 4], gap: &str, between: &str| format!(
            "let base ={gap} hf({gap}\"m\"{gap}){between}let t = labelled(\"t\"){between}\
             set finetune({gap}{}{gap},{gap}{}){between}\
             pipeline p = {gap}base{gap} -> {gap}peft(lora){gap} -> {gap}finetune(t,{gap}{},{gap}{},{gap}){between}\
             expect p.accuracy >= 0.5{between}publish p to \"out\"{between}",
            order[0], order[1], order[2], order[3],
        );
        let checked = |text: String| lang::check(&source(&text), &registry(), &Table, &[]).map(|checked| outline(&checked.program));
        let plain = checked(file(order, " ", "\n"));
        prop_assert!(plain.is_ok());
        prop_assert_eq!(&plain, &checked(file(order, gap, between)));
        // Defaults and arguments give the same values, whichever are which.
        prop_assert_eq!(plain, checked(file(["epochs = 4", "learning_rate = 1e-4", "schedule = cosine", "warmup = 20 %"], gap, between)));
    }

    #[test]
    fn a_value_set_on_the_command_line_is_the_value_written_in_the_file(value in param_value()) {
        let (ty, value) = value;
        let written = value.to_string();
        let default = match ty {
            "string" => "\"x\"",
            "bool" => "true",
            "duration" => "1 s",
            "float" | "ratio" => "0.5",
            _ => "1",
        };
        let set = [("x".to_owned(), written.clone())];
        let given = param(&format!("param x: {ty} = {default}\n"), &set);
        let in_file = param(&format!("param x: {ty} = {written}\n"), &[]);
        prop_assert_eq!(&given, &in_file);
        prop_assert_eq!(given, value);
    }

    #[test]
    fn a_bare_word_or_path_will_do_for_a_string(text in "[a-z./][a-zA-Z0-9/._{},* -]{0,20}") {
        let given = param("param x: string = \"\"\n", &[("x".to_owned(), text.clone())]);
        prop_assert_eq!(given, Value::String(text));
    }
}

/// Values of every type of `param`.
fn param_value() -> impl Strategy<Value = (&'static str, Value)> {
    let positive = || (1u32..1_000_000).prop_map(|thousandths| f64::from(thousandths) / 1000.0);
    prop_oneof![
        any::<i64>().prop_map(|value| ("int", Value::Int(value))),
        prop::num::f64::NORMAL.prop_map(|value| ("float", Value::Float(value))),
        any::<String>().prop_map(|value| ("string", Value::String(value))),
        any::<bool>().prop_map(|value| ("bool", Value::Bool(value))),
        (0u32..=1000).prop_map(|value| ("ratio", Value::Float(f64::from(value) / 1000.0))),
        positive().prop_map(|value| ("duration", Value::Seconds(value))),
        positive().prop_map(|value| ("epochs", Value::Epochs(value))),
        (1u64..1 << 40).prop_map(|value| ("steps", Value::Steps(value))),
    ]
}

/// The value of the param `x` of a file.
fn param(text: &str, overrides: &[(String, String)]) -> Value {
    match lang::check(&source(text), &registry(), &Table, overrides) {
        Ok(Checked { program, .. }) => program.params[0].value.clone(),
        Err(diagnostics) => panic!("{text}{overrides:?}: {diagnostics}"),
    }
}

#[test]
fn a_file_of_one_hundred_thousand_open_brackets_does_not_exhaust_the_stack() {
    let opened = "[".repeat(100_000);
    survives(&format!("let x = {opened}"));
    survives(&"(".repeat(100_000));
}

#[test]
fn lets_that_refer_to_ones_below_them_may_go_deep_but_not_without_end() {
    let chain = |length: usize| {
        let lets = (0..length).map(|at| format!("let a{at} = a{} -> adapt(d)\n", at + 1));
        format!("let d = text(\"d\")\n{}let a{length} = hf(\"m\")\n", lets.collect::<String>())
    };
    let errors =
        |text: &str| lang::check(&source(text), &registry(), &Table, &[]).map_or_else(|found| found.all, |_| vec![]);
    assert!(errors(&chain(80)).is_empty());
    assert_eq!(errors(&chain(5_000))[0].code, "ftp::name::too_deep");
}
