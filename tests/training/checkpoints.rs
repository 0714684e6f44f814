//! Checkpoints that can't be written.

use std::cell::RefCell;

use ftp::event::Event;
use ftp::train::checkpoint::Place;
use ftp::train::{Rows, Settings, Surroundings, fit};

use super::tiny::{bytes, classification, classifier, marked, quiet, settings};

#[test]
fn a_training_goes_on_without_checkpoints_where_none_can_be_written_and_says_so_once() {
    let (encodings, targets) = marked(24, 5);
    let rows = Rows::labelled(&encodings, &targets);
    let settings = Settings { checkpoint_steps: Some(1), ..settings() };
    let directory = tempfile::tempdir().unwrap();
    // A file where a directory would have to be.
    std::fs::write(directory.path().join("checkpoints"), "").unwrap();
    let place = Place {
        file: directory.path().join("checkpoints/key"),
        draft: directory.path().join("draft"),
        key: "key".into(),
    };
    let notices = RefCell::new(Vec::new());
    let sink = |event| {
        if let Event::Notice { notice, .. } = event {
            notices.borrow_mut().push(notice.code);
        }
    };
    let around = Surroundings { stage: "test", sink: &sink, checkpoint: Some(&place), relay: None, turns: None };
    let mut model = classifier(0.1);
    let fitted = fit(&mut model, &classification(), rows, None, &settings, around).unwrap();
    assert_eq!(fitted.steps, 9);
    let codes = notices.into_inner();
    assert_eq!(codes.iter().filter(|code| *code == "ftp::train::no_checkpoint").count(), 1, "{codes:?}");
    let mut other = classifier(0.1);
    quiet(&mut other, &classification(), rows, &settings).unwrap();
    assert!(bytes(&model) == bytes(&other));
}
