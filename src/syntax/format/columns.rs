//! Neighbours of one kind line up.

use super::layout::Statement;

/// Names that differ by more than this many characters are left as they are: the gaps would be wider than the names.
const SPREAD: usize = 16;

/// The tokens that stand in one column in neighbouring statements of a kind: before which of them, or behind which.
fn joints(keyword: &str) -> &'static [Joint] {
    match keyword {
        "param" => &[Joint::Behind(":"), Joint::Before("=")],
        "let" | "pipeline" => &[Joint::Before("=")],
        "publish" => &[Joint::Before("to")],
        _ => &[],
    }
}

#[derive(Clone, Copy)]
enum Joint {
    Before(&'static str),
    Behind(&'static str),
}

/// Pads words of the statements, which are neighbours of one kind, so that their joints stand below each other.
pub(super) fn align(statements: &mut [&mut Statement]) {
    let Some(first) = statements.first() else { return };
    if statements.len() < 2 {
        return;
    }
    for joint in joints(first.keyword()) {
        // The word each statement is padded behind; without the joint in all of them there is no column.
        let places: Option<Vec<usize>> = statements.iter().map(|statement| place(statement, *joint)).collect();
        let Some(places) = places else { return };
        let widths: Vec<usize> =
            statements.iter().zip(&places).map(|(statement, place)| statement.width_to(*place)).collect();
        let (least, most) = (widths.iter().min().copied().unwrap_or(0), widths.iter().max().copied().unwrap_or(0));
        if most - least > SPREAD {
            return;
        }
        for ((statement, place), width) in statements.iter_mut().zip(places).zip(widths) {
            statement.pad(place, most - width);
        }
    }
}

/// The index of the word to pad behind.
fn place(statement: &Statement, joint: Joint) -> Option<usize> {
    match joint {
        Joint::Behind(word) => statement.position(word),
        Joint::Before(word) => statement.position(word)?.checked_sub(1),
    }
}
