//! "Did you mean ..?"

use super::diagnostic::{Diagnostic, Fix};

/// What was probably meant: the candidate nearest to a misspelt name, else the only one that begins with what was written.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    near(name, candidates.clone()).or_else(|| begun(name, candidates))
}

/// The only candidate that begins with a name of at least three letters.
fn begun<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut found = candidates.into_iter().filter(|candidate| name.chars().count() >= 3 && candidate.starts_with(name));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The candidate nearest to a name, if one is near enough: the same but for case, or within a third of the name's letters (at
/// least one) of edits and swaps.
fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = candidate.to_lowercase();
        let distance = if other == lower { 0 } else { strsim::osa_distance(&lower, &other).max(1) };
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The nearest candidate, unless another one is as near: what can be written in the place of the name without doubt.
pub(super) fn clear<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let near = near(name, candidates.clone())?;
    let others = candidates.into_iter().filter(|other| *other != near);
    let near_distance = strsim::osa_distance(&name.to_lowercase(), &near.to_lowercase());
    let distance = |other: &str| strsim::osa_distance(&name.to_lowercase(), &other.to_lowercase());
    others.map(distance).all(|other| other > near_distance).then_some(near)
}

/// Makes the clear candidate for the misspelt name under the report's mark its fix.
pub(super) fn fix<'a>(error: &mut Diagnostic, name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) {
    if let (Some(near), Some(span)) = (clear(name, candidates), error.span) {
        error.fix = Some(Fix { span, text: near.to_owned() });
    }
}

/// Adds the help for an unknown name, as [`help`] gives it, and the fix where there is one.
pub(super) fn offer(error: &mut Diagnostic, name: &str, candidates: &[&str], there_are: &str) {
    error.help = help(name, candidates, there_are);
    fix(error, name, candidates.iter().copied());
}

/// The help for an unknown name: the nearest candidate, else what there is, else nothing.
pub(super) fn help(name: &str, candidates: &[&str], there_are: &str) -> Option<String> {
    match nearest(name, candidates.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if candidates.is_empty() => None,
        None => Some(format!("{there_are}: {}", quoted(candidates))),
    }
}

/// "`a`, `b`, `c`".
pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// As [`quoted`], of which one is to be chosen: "`a`, `b` or `c`".
pub(super) fn either(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} or `{last}`", quoted(others)),
        names => quoted(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_differs_in_case_comes_before_one_that_differs_in_a_letter() {
        assert_eq!(nearest("Lora", ["lorx", "lora"]), Some("lora"));
    }

    #[test]
    fn swapped_letters_count_once() {
        assert_eq!(nearest("ftnietune", ["finetune"]), Some("finetune"));
        assert_eq!(nearest("tset", ["test"]), Some("test"));
    }

    #[test]
    fn the_only_name_that_begins_so_is_suggested_but_no_fix() {
        assert_eq!(nearest("fine", ["finetune", "peft"]), Some("finetune"));
        assert_eq!(clear("fine", ["finetune", "peft"]), None);
        assert_eq!(nearest("inter", ["intermediate", "interest"]), None);
        assert_eq!(nearest("fi", ["finetune"]), None);
    }

    #[test]
    fn a_name_too_far_away_is_not_suggested() {
        assert_eq!(nearest("warm", ["seed", "epochs"]), None);
        assert_eq!(nearest("ab", ["xy"]), None);
    }
}
