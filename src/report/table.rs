//! Tables of text: the first column left-aligned, the others right-aligned.

/// Lays out rows under a header. Every row has as many cells as the header.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::from(" ");
        for (column, cell) in cells.enumerate() {
            let gap = " ".repeat(widths[column] - cell.chars().count());
            match column {
                0 => text += &format!(" {cell}{gap}"),
                _ => text += &format!("  {gap}{cell}"),
            }
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text += &line(&mut rule.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [vec!["chain".to_owned(), "0.5".to_owned()], vec!["majority class".to_owned(), "0.25".to_owned()]];
        let expected = "  model           accuracy\n  --------------  --------\n  chain                0.5\n  majority class      0.25\n";
        assert_eq!(super::render(&["model", "accuracy"], &rows), expected);
    }
}
