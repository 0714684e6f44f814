//! Which column is what, and what the task is.

use ftp::data::set::Target::{Class, Score};
use ftp::lang::world::Task;

use crate::{Case, TRAIN, rows};

fn labels(case: &Case) -> Vec<String> {
    match case.facts().task {
        Some(Task::Classification { labels }) => labels,
        other => panic!("{other:?}"),
    }
}

fn csv(method: &str, content: &str) -> Case {
    Case::new(method, "train.csv").file("train.csv", content)
}

#[test]
fn labels_are_sorted_unless_listed() {
    let case = Case::new("labelled", "train.jsonl").file("train.jsonl", TRAIN);
    assert_eq!(labels(&case), ["bad", "good"]);
    assert_eq!(rows(&case.set(), "train"), [("fine", None, Class(1)), ("awful", None, Class(0))]);
    case.notices(&[]);
    let case = case.labels(&["good", "bad"]);
    assert_eq!(labels(&case), ["good", "bad"]);
    assert_eq!(rows(&case.set(), "train"), [("fine", None, Class(0)), ("awful", None, Class(1))]);
}

#[test]
fn listed_labels_train_lacks_are_told_and_a_list_names_each_once() {
    let case = Case::new("labelled", "train.jsonl").file("train.jsonl", TRAIN).labels(&["good", "bad", "mixed"]);
    let message = "no row of train has the label \"mixed\": a model can't learn it";
    case.notices(&[("ftp::data::unused_label", message)]);
    case.labels(&["good", "good"]).fails("ftp::data::labels", "`labels` names \"good\" twice");
}

#[test]
fn integers_are_classes_in_numeric_order_and_said_to_be() {
    let case = csv("labelled", "text,label\na,10\nb,2\nc,0\n");
    assert_eq!(labels(&case), ["0", "2", "10"]);
    let message =
        "the 3 different integers of `label` were taken as classes; say `task = regression` if they are scores";
    case.notices(&[("ftp::data::task_guessed", message)]);
    let case = case.with("task", "regression");
    assert_eq!(case.facts().task, Some(Task::Regression));
    assert_eq!(rows(&case.set(), "train")[0], ("a", None, Score(10.0)));
}

#[test]
fn a_score_column_of_fractions_is_regression_and_anything_less_clear_is_asked() {
    let case = csv("labelled", "text,score\na,1.5\nb,2\n");
    assert_eq!(case.facts().task, Some(Task::Regression));
    case.notices(&[]);
    let question = "`score` holds numbers: it could be scores or class ids";
    csv("labelled", "text,score\na,1\nb,2\n").fails("ftp::data::which_task", question);
    let question = "`label` holds numbers: it could be scores or class ids";
    csv("labelled", "text,label\na,1.5\nb,2\n").fails("ftp::data::which_task", question);
    let case = csv("labelled", "text,label\na,1.5\nb,2\n").with("task", "classification");
    case.fails("ftp::data::which_task", "`label` holds numbers like 1.5, which can't be classes");
}

#[test]
fn label_and_score_together_are_asked_about() {
    let row = "{\"text_a\": \"a b\", \"text_b\": \"c d\", \"score\": 2.5, \"label\": \"2.500\"}\n";
    let case = Case::new("pairs", "train.jsonl").file("train.jsonl", row);
    case.fails("ftp::data::which_column", "`label`, `score` could each be the label");
    let help = "say which: `label = \"score\"`; the columns are `text_a`, `text_b`, `score`, `label`";
    assert_eq!(case.error().help.as_deref(), Some(help));
    let case = case.with("label", "score");
    assert_eq!(rows(&case.set(), "train"), [("a b", Some("c d"), Score(2.5))]);
}

#[test]
fn other_names_are_guessed_only_when_nothing_else_fits() {
    let case = csv("labelled", "id,review,sentiment\n1,liked it,pos\n2,hated it,neg\n").with("label", "sentiment");
    case.notices(&[(
        "ftp::data::column_guessed",
        "the column `review` was taken as `text`; say `text = \"review\"` to be sure",
    )]);
    let case = csv("labelled", "sentence,emotion\nliked it,joy\nhated it,anger\n");
    case.notices(&[
        (
            "ftp::data::column_guessed",
            "the column `sentence` was taken as `text`; say `text = \"sentence\"` to be sure",
        ),
        (
            "ftp::data::column_guessed",
            "the column `emotion` was taken as `label`; say `label = \"emotion\"` to be sure",
        ),
    ]);
    let case = csv("labelled", "title,body,label\nx y,z w,a\n");
    case.fails("ftp::data::which_column", "`title`, `body` could each be the text");
    let case = csv("labelled", "premise,hypothesis,label\nx y,z w,a\n");
    assert!(case.error().help.unwrap().ends_with("for pairs of texts declare them with `pairs(..)`"));
    let case = csv("labelled", "text,source,genre\nx y,z w,a\n");
    case.fails("ftp::data::which_column", "no column is called `label` or `score`");
}

#[test]
fn known_couples_make_a_pair() {
    for (first, second) in [("premise", "hypothesis"), ("sentence1", "sentence2"), ("question", "passage")] {
        let case = csv("pairs", &format!("genre,{second},{first},label\ng h,b b,a a,yes\ng i,d d,c c,no\n"));
        assert_eq!(rows(&case.set(), "train")[0], ("a a", Some("b b"), Class(1)));
        case.notices(&[]);
    }
    let case = csv("pairs", "question,answer,passage,label\na b,b c,c d,yes\n");
    let question = "the pair could be `question` and `answer`, or `question` and `passage`";
    case.fails("ftp::data::which_column", question);
    let case = csv("pairs", "left,right,label\na b,b c,yes\nd e,e f,no\n").with("text", "right");
    assert_eq!(rows(&case.set(), "train")[0], ("b c", Some("a b"), Class(1)));
    let message = "the column `left` was taken as `text_pair`; say `text_pair = \"left\"` to be sure";
    case.notices(&[("ftp::data::column_guessed", message)]);
}

#[test]
fn a_pair_needs_two_texts() {
    let case = Case::new("pairs", "train.jsonl").file("train.jsonl", TRAIN);
    case.fails("ftp::data::which_column", "only `text` holds texts, and a pair needs two");
    assert_eq!(case.error().help.as_deref(), Some("for single texts declare them with `labelled(..)`"));
}

#[test]
fn numbers_among_words_are_labels_as_they_are_written() {
    let case = csv("labelled", "text,label\na,1.5\nb,2\nc,007\nd,none\n");
    assert_eq!(labels(&case), ["007", "1.5", "2", "none"]);
    let case = csv("labelled", "text,label\na,1.5\nb,2.5\n").labels(&["2.5", "1.5"]);
    assert_eq!(rows(&case.set(), "train"), [("a", None, Class(1)), ("b", None, Class(0))]);
    case.notices(&[]);
}

#[test]
fn a_column_that_is_not_there_is_named_with_the_one_meant() {
    let case = csv("labelled", "text,label\na b,x\n").with("label", "lable");
    case.fails("ftp::data::missing_column", "no column is called \"lable\"");
    assert_eq!(case.error().parameter, Some("label"));
    assert_eq!(case.error().help.as_deref(), Some("did you mean `label = \"label\"`? The columns are `text`, `label`"));
    let case = Case::new("labelled", "{train,test}.jsonl")
        .file("train.jsonl", TRAIN)
        .file("test.jsonl", "{\"text\": \"a\"}\n");
    case.fails("ftp::data::missing_column", "test.jsonl has no column `label`");
    let case = Case::new("text", "a.txt").file("a.txt", "x\n").with("column", "text");
    case.fails("ftp::data::missing_column", "a .txt file has no columns");
}

#[test]
fn a_corpus_takes_the_text_column_of_a_table() {
    let case = Case::new("text", "a.tsv").file("a.tsv", "id\ttext\tsource\n1\tone two\tx y\n");
    assert_eq!(case.documents(), ["one two"]);
    case.notices(&[]);
    let case = Case::new("text", "a.jsonl").file("a.jsonl", "{\"id\": 1, \"abstract\": \"one two\"}\n");
    assert_eq!(case.documents(), ["one two"]);
    case.notices(&[(
        "ftp::data::column_guessed",
        "the column `abstract` was taken as `column`; say `column = \"abstract\"` to be sure",
    )]);
    let case = Case::new("text", "a.tsv").file("a.tsv", "title\tabstract\nx y\tone two\n").with("column", "abstract");
    assert_eq!(case.documents(), ["one two"]);
}

#[test]
fn one_label_alone_and_a_label_for_every_row_are_mistakes() {
    csv("labelled", "text,label\na,x\nb,x\n").fails("ftp::data::one_label", "every row of train has the label \"x\"");
    let all: String = (0..1001).map(|row| format!("t,name{row}\n")).collect();
    let case = csv("labelled", &format!("text,label\n{all}")).with("text", "text");
    case.fails("ftp::data::too_many_labels", "`label` has 1,001 different values: that is no list of labels");
}

#[test]
fn the_shipped_data_is_understood_without_a_word() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/data");
    let describe = |method: &str, path: &str| {
        use ftp::lang::world::World;
        let request = Case::new(method, path).request;
        ftp::data::FileWorld::new(root).describe(&request).unwrap()
    };
    let target = describe("labelled", "target/{train,dev,test}.jsonl");
    assert_eq!(target.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [6917, 872, 1821]);
    assert!(matches!(target.task, Some(Task::Classification { ref labels }) if labels == &["negative", "positive"]));
    let mnli = describe("pairs", "mnli/{train,dev}.jsonl");
    assert_eq!(mnli.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [5997, 1166]);
    let general = describe("text", "general/train.txt");
    let domain = describe("text", "domain/*.txt");
    assert_eq!((general.files[0].rows, domain.files[0].rows), (950, 500));
    assert!([target, mnli, general, domain].iter().all(|facts| facts.notices.is_empty()));
}
