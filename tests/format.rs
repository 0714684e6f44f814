//! The formatter: nothing is lost, nothing means anything else, and formatting twice is formatting once.

mod support;

use std::path::Path;

use ftp::lang;
use ftp::syntax::{self, Source};
use proptest::prelude::*;
use support::{Table, outline, registry, source};

fn format(text: &str) -> String {
    syntax::format(&source(text)).unwrap_or_else(|errors| panic!("{errors:?} in {text}"))
}

/// Everything but white space and commas, in order; comments apart, since a comma or an arrow may change sides with one.
fn content(text: &str) -> (String, Vec<String>) {
    let (mut code, mut comments) = (String::new(), vec![]);
    for line in text.lines() {
        let (mut in_string, mut escaped, mut end) = (false, false, line.len());
        for (at, c) in line.char_indices() {
            match c {
                '#' if !in_string => {
                    end = at;
                    break;
                }
                '"' if !escaped => in_string = !in_string,
                _ => {}
            }
            escaped = in_string && c == '\\' && !escaped;
        }
        code.extend(line[..end].chars().filter(|c| !c.is_whitespace() && *c != ',' && *c != '\u{feff}'));
        if end < line.len() {
            comments.push(line[end..].trim_end().to_owned());
        }
    }
    (code, comments)
}

fn meaning(text: &str) -> Result<String, Vec<(String, String)>> {
    match lang::check(&source(text), &registry(), &Table, &[]) {
        Ok(checked) => Ok(outline(&checked.program)),
        Err(all) => Err(all.all.into_iter().map(|one| (one.code.to_owned(), one.message)).collect()),
    }
}

fn holds_for(text: &str) {
    let once = format(text);
    assert_eq!(once, format(&once), "formatting again changes it; first:\n{text}");
    assert_eq!(content(text), content(&once), "something was lost:\n{text}\nbecame\n{once}");
    assert_eq!(meaning(text), meaning(&once), "the meaning changed:\n{text}\nbecame\n{once}");
    for line in once.lines() {
        assert_eq!(line, line.trim_end(), "white space at the end of a line");
    }
    assert!(!once.contains("\n\n\n") && !once.starts_with('\n') && !once.ends_with("\n\n"), "blank lines:\n{once}");
}

fn files(directory: &str) -> Vec<Source> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ftp"));
    files.sort();
    let read =
        |path: &std::path::PathBuf| Source::new(path.display().to_string(), std::fs::read_to_string(path).unwrap());
    files.iter().map(read).collect()
}

#[test]
fn every_pipeline_that_ships_is_formatted() {
    let files = files("pipelines");
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(syntax::format(&file).unwrap(), file.text, "run `ftp fmt {}`", file.name);
    }
}

#[test]
fn every_test_file_keeps_its_comments_and_its_meaning() {
    let mut formatted = 0;
    for file in files("tests/ui") {
        if syntax::parse(&file).1.is_empty() {
            holds_for(&file.text);
            formatted += 1;
        } else {
            assert!(syntax::format(&file).is_err());
        }
    }
    assert!(formatted > 40);
}

#[test]
fn the_style_is_this() {
    let text = include_str!("programs/unformatted.ftp");
    holds_for(text);
    insta::with_settings!({ snapshot_path => "programs", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("formatted", format(text));
    });
}

/// White space that may stand between two tokens where a newline may, with comments in it.
fn gap() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        4 => Just(" ".to_owned()),
        2 => Just("\n".to_owned()),
        1 => Just("\r\n\t".to_owned()),
        1 => "[a-z(\"#,>)= -]{0,12}".prop_map(|text| format!("#{text}\n")),
        1 => Just("# über, \"alles\" -> (\n\n".to_owned()),
    ];
    prop::collection::vec(bit, 0..4).prop_map(|bits| bits.concat())
}

/// Calls one behind another, some of them several in parentheses, behind `each(..)` or on both sides of a choice.
fn chain(call: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> + Clone {
    call.prop_recursive(3, 24, 4, |stage| {
        let several = prop::collection::vec(stage, 1..5).prop_map(|stages| stages.join("|->|"));
        prop_oneof![
            several.clone(),
            several.clone().prop_map(|chain| format!("each(|seed in| 1..5|)|(|{chain}|)")),
            (several.clone(), several.clone()).prop_map(|(a, b)| format!("if| quick then|(|{a}|)|else|(|{b}|)")),
            several.prop_map(|chain| format!("if not| quick then|(|{chain}|)")),
        ]
    })
}

/// The type of a param.
fn ty() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["int", "int  in 1..20", "float in -0.5 ..1e3", "strings", "secret", "duration"])
}

/// A value that is no chain.
fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "3  epochs",
        "10%",
        "\"a # ${b} \\\" ->\"",
        "[|1e-5|,|2e-5|,|]",
        "if not quick|then|1|else|\"x\"",
        "if a.b  >=|3 min then|x else|[|]",
        "stack(|lora(|rank= |4|,|alpha=8|)|,|bitfit|,|)",
        "secret(|\"HF_TOKEN\"|)",
    ])
}

/// What a recipe takes, some of it documented.
fn parameters() -> impl Strategy<Value = String> {
    let parameter = prop::sample::select(vec![
        "base: model",
        "t :labelled",
        "learn: recipe( labelled,|text ) =|finetune",
        "rate:float in 0.0..1.0= |1e-5",
        "\n## How long.\nepochs: epochs = |3 epochs",
        "\n##  One line,\n## another.\n  method:delta=|lora",
    ]);
    prop::collection::vec(parameter, 0..5).prop_map(|all| match all.is_empty() {
        true => "(|)".to_owned(),
        false => format!("(|{}|)", all.join("|,|")),
    })
}

/// A token of a statement; `|` stands for a place where a gap may be.
fn statement() -> impl Strategy<Value = String> {
    let argument = prop_oneof![
        Just("t"),
        Just("epochs = |3"),
        Just("learning_rate=|1e-4"),
        Just("warmup = |10%"),
        Just("labels = |[|\"a\"|,|\"b # c\"|]"),
        Just("x(t)"),
        Just("schedule = |cosine_with_a_name_so_long_that_hardly_anything_else_fits_on_its_line"),
    ];
    let arguments = prop::collection::vec(argument, 0..6).prop_map(|all| match all.is_empty() {
        true => "(|)".to_owned(),
        false => format!("(|{}|)", all.join("|,|")),
    });
    let call = ("[a-z]{1,8}", prop::option::of(arguments)).prop_map(|(name, arguments)| {
        // A keyword would begin another statement.
        format!("s{name}{}", arguments.unwrap_or_default())
    });
    let chain = chain(call.clone());
    let member = prop::collection::vec(call.clone(), 1..4).prop_map(|calls| calls.join("|->|"));
    let models = prop::collection::vec(member, 1..4).prop_map(|members| format!("[|{}|]", members.join("|,|")));
    prop_oneof![
        3 => ("[a-z]{1,20}", chain.clone()).prop_map(|(name, chain)| format!("let v{name} = |{chain}")),
        3 => ("[a-z]{1,20}", chain.clone()).prop_map(|(name, chain)| format!("pipeline v{name}=|{chain}")),
        2 => ("[a-z]{1,20}", parameters(), chain)
            .prop_map(|(name, parameters, chain)| format!("recipe v{name}{parameters} =|{chain}")),
        1 => ("[a-z]{1,20}", models).prop_map(|(name, models)| format!("pipeline v{name} = |{models}|->|sensemble")),
        1 => ("[a-z]{1,20}", value()).prop_map(|(name, value)| format!("let v{name}=|{value}")),
        1 => ("[a-z]{1,20}", ty(), value()).prop_map(|(name, ty, value)| format!("param v{name} :| {ty} =|{value}")),
        1 => Just("use  std.adaptive".to_owned()),
        1 => Just("use \"team/more.ftp\"  as  more".to_owned()),
        1 => Just("use git(|\"https://host/team\"|,|tag= |\"v1\"|,|)  as other".to_owned()),
        1 => Just("expect mean( tries.accuracy )-|small.accuracy >=|-0.5".to_owned()),
        1 => ("[a-z]{1,20}", "[1-9]{1,3}").prop_map(|(name, value)| format!("param v{name}:|int =|{value}")),
        1 => call.prop_filter("`set` needs arguments", |call| call.contains('(')).prop_map(|call| format!("set {call}")),
        1 => Just("expect small . accuracy >= |80 %".to_owned()),
        1 => Just("publish small  to \"out/small\"".to_owned()),
        1 => Just("let rate= |-1_000.5e-3".to_owned()),
        1 => Just("## documents  ".to_owned()),
        1 => Just("  # remarks".to_owned()),
    ]
}

fn program() -> impl Strategy<Value = String> {
    let line = (
        statement(),
        prop::collection::vec(gap(), 60),
        prop::sample::select(vec!["", "  # why", "##", "\r"]),
        0..4usize,
    );
    prop::collection::vec(line, 1..8).prop_map(|lines| {
        let mut text = String::new();
        for (statement, gaps, comment, newlines) in lines {
            let mut gaps = gaps.into_iter();
            for (index, part) in statement.split('|').enumerate() {
                if index > 0 {
                    text += &gaps.next().unwrap_or_default();
                }
                text += part;
            }
            text += comment;
            text += &"\n".repeat(newlines.max(1));
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn formatting_a_generated_file_keeps_comments_and_meaning_and_is_stable(text in program()) {
        prop_assume!(syntax::parse(&source(&text)).1.is_empty());
        holds_for(&text);
    }

    #[test]
    fn a_program_keeps_its_stages_and_parameters_whatever_stands_between_its_tokens(
        gaps in prop::collection::vec(gap(), 60),
    ) {
        let template = "## About.\nparam rate:| float =| 1e-4\nlet base =| hf(|\"m\"|)\nlet t = labelled(|\"t\"|,| labels =| [|\"no\"|,| \"yes\"|]|)\n\
            let domain = text(\"d\")\nset finetune(|epochs =| 4|,| learning_rate =| rate|,|)\n## The chain.\n\
            pipeline p =| base| ->| adapt(|domain|,| warmup =| 10%|)| ->| peft(|lora|,| rank =| 4|)| ->| finetune(|t|)\n\
            expect p.accuracy >=| 80%\npublish p to \"out\"\n";
        let mut gaps = gaps.into_iter();
        let mut text = String::new();
        for (index, part) in template.split('|').enumerate() {
            if index > 0 {
                text += &gaps.next().unwrap_or_default();
            }
            text += part;
        }
        let plain = meaning(&template.replace('|', " "));
        prop_assert!(plain.is_ok(), "{plain:?}");
        prop_assert_eq!(&plain, &meaning(&text));
        holds_for(&text);
        prop_assert_eq!(plain, meaning(&format(&text)));
    }

    #[test]
    fn any_text_is_formatted_stably_or_refused(text in "(\\PC|[\\n\\t\\r#(),=\"]){0,120}") {
        if let Ok(once) = syntax::format(&source(&text)) {
            prop_assert_eq!(content(&text), content(&once));
            prop_assert_eq!(&once, &format(&once));
        }
    }

    #[test]
    fn any_cut_out_of_a_real_file_is_formatted_stably_or_refused(
        file in prop::sample::select(files("pipelines").into_iter().chain(files("tests/ui")).map(|file| file.text).collect::<Vec<_>>()),
        cut in any::<(prop::sample::Index, u8)>(),
        inserted in prop::sample::select(vec!["", "(", ")", "#", "\n", ",", "->", "\"", " = ", "[", "\\", "é"]),
    ) {
        let boundary = |at: usize| (at..=file.len()).find(|at| file.is_char_boundary(*at)).unwrap_or(file.len());
        let start = boundary(cut.0.index(file.len() + 1));
        let end = boundary((start + usize::from(cut.1) % 12).min(file.len()));
        let text = format!("{}{inserted}{}", &file[..start], &file[end..]);
        // The checker must survive it, too, whatever the parser makes of it.
        let _ = meaning(&text);
        if let Ok(once) = syntax::format(&source(&text)) {
            prop_assert_eq!(content(&text), content(&once));
            prop_assert_eq!(&once, &format(&once));
            prop_assert_eq!(meaning(&text), meaning(&once));
        }
    }
}
