//! The output, line by line.

/// Lines written so far; the last one can still be added to.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
}

#[derive(Default)]
struct Line {
    indent: usize,
    code: String,
    comment: Option<String>,
}

impl Lines {
    pub fn begin(&mut self, indent: usize) {
        self.lines.push(Line { indent, ..Line::default() });
    }

    pub fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    pub fn own_comment(&mut self, indent: usize, text: &str) {
        self.lines.push(Line { indent, code: String::new(), comment: Some(text.to_owned()) });
    }

    pub fn code(&mut self, code: &str) {
        if self.lines.is_empty() {
            self.begin(0);
        }
        if let Some(line) = self.lines.last_mut() {
            line.code += code;
        }
    }

    /// A comment behind the code of the last line; on a line of its own when there is one already.
    pub fn comment(&mut self, indent: usize, text: &str) {
        match self.lines.last_mut() {
            Some(line) if line.comment.is_none() && !line.code.is_empty() => line.comment = Some(text.to_owned()),
            _ => self.own_comment(indent, text),
        }
    }

    /// Whether the last line can take no more code.
    pub fn is_closed(&self) -> bool {
        self.lines.last().is_none_or(|line| line.comment.is_some())
    }

    /// The column behind the last character.
    pub fn column(&self) -> usize {
        self.lines.last().map_or(0, Line::width)
    }

    /// The text; comments behind the code of neighbouring lines begin in one column.
    pub fn finish(self) -> String {
        let mut text = String::new();
        let mut from = 0;
        while from < self.lines.len() {
            let run = self.lines[from..].iter().take_while(|line| line.has_both()).count();
            let width = self.lines[from..from + run].iter().map(Line::width).max().unwrap_or(0);
            for line in &self.lines[from..from + run.max(1)] {
                text += &line.text(width);
                text.push('\n');
            }
            from += run.max(1);
        }
        text
    }
}

impl Line {
    fn has_both(&self) -> bool {
        self.comment.is_some() && !self.code.is_empty()
    }

    fn width(&self) -> usize {
        let last = self.code.rsplit('\n').next().unwrap_or("");
        let indent = if last.len() == self.code.len() { self.indent } else { 0 };
        indent + last.chars().count()
    }

    fn text(&self, comments_at: usize) -> String {
        let indent = " ".repeat(self.indent);
        match &self.comment {
            Some(comment) if self.code.is_empty() => format!("{indent}{comment}"),
            Some(comment) => format!("{indent}{}{}  {comment}", self.code, " ".repeat(comments_at - self.width())),
            None if self.code.is_empty() => String::new(),
            None => format!("{indent}{}", self.code),
        }
    }
}
