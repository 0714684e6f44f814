//! Event files that TensorBoard shows: TFRecords of `tensorflow.Event` messages with scalars. A stage has a directory, and in it
//! every result of it one of its own, by its key: curves of several runs never run into each other.
//!
//! The format: each record is its length (8 bytes, little-endian), the masked CRC-32C of these, the record, and the masked
//! CRC-32C of it. Records are Protocol Buffers; of `Event` the fields `wall_time` (1), `step` (2), `file_version` (3) and `summary`
//! (5) are written, of `Summary` its `value`s (1) with `tag` (1) and `simple_value` (2).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::Event;

/// Writes what stages say into a directory.
#[derive(Default)]
pub struct TensorBoard {
    root: PathBuf,
    files: RefCell<HashMap<String, File>>,
    /// The result that each stage comes to.
    keys: RefCell<HashMap<String, String>>,
    /// The last step that each stage reported: evaluations say only the epoch.
    steps: RefCell<HashMap<String, u64>>,
}

impl TensorBoard {
    /// # Errors
    /// When the directory can't be made.
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self { root: root.to_path_buf(), ..Self::default() })
    }

    /// What is said of a stage from here on is of the result with this key. Whether there are curves of that already, as
    /// there are of a training that was interrupted or shown before.
    pub fn begin(&self, stage: &str, key: &str) -> bool {
        self.files.borrow_mut().remove(stage);
        self.steps.borrow_mut().remove(stage);
        self.keys.borrow_mut().insert(stage.to_owned(), key.to_owned());
        self.directory(stage).exists()
    }

    fn directory(&self, stage: &str) -> PathBuf {
        let directory = self.root.join(directory_name(stage));
        let keys = self.keys.borrow();
        keys.get(stage).map_or_else(|| directory.clone(), |key| directory.join(key.get(..8).unwrap_or(key)))
    }

    /// Writes down what is a number.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn note(&self, event: &Event) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.note_at(event, now)
    }

    /// The same of something that was said at another time, in seconds since 1970.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn note_at(&self, event: &Event, time: f64) -> io::Result<()> {
        match event {
            Event::Progress { stage, step, loss, learning_rate, tokens_per_second, epoch, .. } => {
                self.steps.borrow_mut().insert(stage.clone(), *step);
                let values = [
                    ("train/loss".to_owned(), *loss),
                    ("train/learning_rate".to_owned(), *learning_rate),
                    ("train/tokens_per_second".to_owned(), *tokens_per_second),
                    ("train/epoch".to_owned(), *epoch),
                ];
                self.write(stage, time, *step, &values)
            }
            Event::Evaluated { stage, split, loss, metrics, .. } => {
                let step = self.steps.borrow().get(stage).copied().unwrap_or(0);
                let metrics = metrics.iter().map(|(name, value)| (format!("{split}/{name}"), *value));
                let values: Vec<_> = std::iter::once((format!("{split}/loss"), *loss)).chain(metrics).collect();
                self.write(stage, time, step, &values)
            }
            Event::StageStarted { stage, key, .. } => {
                self.begin(stage, key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn write(&self, stage: &str, time: f64, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let mut files = self.files.borrow_mut();
        let file = match files.get_mut(stage) {
            Some(file) => file,
            None => {
                let directory = self.directory(stage);
                fs::create_dir_all(&directory)?;
                // Read in the order of their names, which is that of time; a second try within the second is the later one.
                let name =
                    |number: u32| format!("events.out.tfevents.{:010}.{}.{number}", time as u64, std::process::id());
                let mut tries = (0..).map(|number| File::create_new(directory.join(name(number))));
                let free = |file: &io::Result<File>| {
                    !file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
                };
                let mut file = tries.find(free).unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
                file.write_all(&record(&version(time)))?;
                files.entry(stage.to_owned()).or_insert(file)
            }
        };
        file.write_all(&record(&scalars(time, step, values)))
    }
}

/// A stage's label as a directory of its own.
fn directory_name(stage: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || "-_.=()[], ".contains(letter) { letter } else { '_' };
    let name: String = stage.chars().map(plain).collect();
    match name.trim_matches('.') {
        "" => "_".to_owned(),
        name => name.to_owned(),
    }
}

fn version(time: f64) -> Vec<u8> {
    let mut event = field_double(1, time);
    event.extend(field_bytes(3, b"brain.Event:2"));
    event
}

fn scalars(time: f64, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = vec![];
    for (tag, value) in values.iter().filter(|(_, value)| value.is_finite()) {
        let mut one = field_bytes(1, tag.as_bytes());
        one.push(2 << 3 | 5);
        one.extend((*value as f32).to_le_bytes());
        summary.extend(field_bytes(1, &one));
    }
    let mut event = field_double(1, time);
    event.push(2 << 3);
    event.extend(varint(step));
    event.extend(field_bytes(5, &summary));
    event
}

fn field_double(number: u8, value: f64) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 1];
    bytes.extend(value.to_le_bytes());
    bytes
}

fn field_bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(crc32c(&length)).to_le_bytes());
    bytes.extend(content);
    bytes.extend(masked(crc32c(content)).to_le_bytes());
    bytes
}

/// As TFRecords have it: a checksum of data that contains checksums should not be one of its parts.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), RFC 3720, appendix B.4: polynomial 0x1EDC6F41, reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut checksum = u32::MAX;
    for byte in bytes {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = if checksum & 1 == 1 { checksum >> 1 ^ 0x82f6_3b78 } else { checksum >> 1 };
        }
    }
    !checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(&(0..32).rev().collect::<Vec<u8>>()), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Reads a file as the format's description has it: the fields of each record.
    fn read(mut bytes: &[u8]) -> Vec<Vec<(u8, Vec<u8>)>> {
        let mut records = vec![];
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
            let sum = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
            let unmasked = |sum: u32| sum.wrapping_sub(0xa282_ead8).rotate_left(15);
            assert_eq!(unmasked(sum(8)), crc32c(&bytes[..8]));
            let content = &bytes[12..12 + length];
            assert_eq!(unmasked(sum(12 + length)), crc32c(content));
            records.push(fields(content));
            bytes = &bytes[16 + length..];
        }
        records
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        fn number(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for place in 0.. {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << (7 * place);
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut found = vec![];
        while !bytes.is_empty() {
            let key = number(&mut bytes);
            let take = match key & 7 {
                0 => {
                    found.push(((key >> 3) as u8, number(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => number(&mut bytes) as usize,
                other => panic!("no such wire type: {other}"),
            };
            found.push(((key >> 3) as u8, bytes[..take].to_vec()));
            bytes = &bytes[take..];
        }
        found
    }

    #[test]
    fn every_result_and_every_try_has_a_file_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let board = TensorBoard::new(directory.path()).expect("made");
        let evaluated = |loss| {
            let (stage, split, metrics) = ("finetune".to_owned(), "dev".to_owned(), vec![]);
            board
                .note_at(&Event::Evaluated { stage, split, epoch: 1.0, loss, metrics, confusion: None }, 1.0)
                .expect("written");
        };
        for (key, there) in [("0123456789", false), ("0123456789", true), ("abcdef0123", false)] {
            assert_eq!(board.begin("finetune", key), there, "{key}");
            evaluated(0.5);
        }
        let files = |key: &str| {
            let entries = fs::read_dir(directory.path().join("finetune").join(key)).expect("a directory a result");
            entries.map(|entry| fs::read(entry.expect("readable").path()).expect("readable").len()).collect::<Vec<_>>()
        };
        let (two, one) = (files("01234567"), files("abcdef01"));
        assert_eq!((two.len(), one.len()), (2, 1));
        assert!(two.iter().all(|size| *size == one[0]), "{two:?} {one:?}");
    }

    #[test]
    fn what_is_written_reads_as_the_format_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let board = TensorBoard::new(directory.path()).expect("made");
        let stage = "finetune(target) in ../a".to_owned();
        board
            .note_at(
                &Event::Progress {
                    stage: stage.clone(),
                    epoch: 0.5,
                    epochs: 3.0,
                    step: 300,
                    steps: 900,
                    loss: 0.25,
                    learning_rate: 1e-3,
                    tokens_per_second: f64::NAN,
                    eta_seconds: 1.0,
                },
                1.5,
            )
            .expect("written");
        let metrics = vec![("accuracy".to_owned(), 0.75)];
        board
            .note_at(
                &Event::Evaluated { stage, split: "dev".into(), epoch: 1.0, loss: 0.5, metrics, confusion: None },
                2.5,
            )
            .expect("written");
        let inside = directory.path().join("finetune(target) in .._a");
        let file = fs::read_dir(inside).expect("one directory a stage").next().expect("a file").expect("readable");
        let records = read(&fs::read(file.path()).expect("readable"));
        assert_eq!(records.len(), 3);
        assert_eq!(records[0][1], (3, b"brain.Event:2".to_vec()));
        let scalars = |record: &[(u8, Vec<u8>)]| -> Vec<(String, f32)> {
            let summary = &record.iter().find(|(field, _)| *field == 5).expect("a summary").1;
            let values = fields(summary).into_iter().map(|(_, value)| {
                let value = fields(&value);
                let tag = String::from_utf8(value[0].1.clone()).expect("text");
                (tag, f32::from_le_bytes(value[1].1.as_slice().try_into().expect("four")))
            });
            values.collect()
        };
        assert_eq!(records[1][0], (1, 1.5f64.to_le_bytes().to_vec()));
        assert_eq!(records[1][1], (2, 300u64.to_le_bytes().to_vec()));
        // A number that is none is left out.
        assert_eq!(
            scalars(&records[1]),
            [
                ("train/loss".to_owned(), 0.25),
                ("train/learning_rate".to_owned(), 1e-3),
                ("train/epoch".to_owned(), 0.5)
            ]
        );
        assert_eq!(records[2][1], (2, 300u64.to_le_bytes().to_vec()), "an evaluation stands at the step before it");
        assert_eq!(scalars(&records[2]), [("dev/loss".to_owned(), 0.5), ("dev/accuracy".to_owned(), 0.75)]);
    }
}
