//! What each code means, with examples: the pages of `docs/errors`.

use std::sync::LazyLock;

/// One code's page.
#[derive(Debug)]
pub struct Page {
    /// e.g. `ftp::name::unknown_stage`.
    pub code: &'static str,
    pub blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Debug)]
pub enum Block {
    Text(&'static str),
    /// A `.ftp` file that gives the code.
    Wrong(&'static str),
    /// The same file mended.
    Right(&'static str),
    /// A file that the examples read. A last line with `{n}` stands for `count` lines.
    Data {
        path: &'static str,
        count: usize,
        content: &'static str,
    },
}

/// The pages of what a check reports, by area.
const PAGES: [&str; 5] = [
    include_str!("../../docs/errors/chains.md"),
    include_str!("../../docs/errors/names.md"),
    include_str!("../../docs/errors/values.md"),
    include_str!("../../docs/errors/recipes.md"),
    include_str!("../../docs/errors/data.md"),
];

/// What comes up later: failures of stages, and notes.
const RUNNING: &str = include_str!("../../docs/errors/running.md");

/// The pages of the codes that a check of a file reports, in the order of their codes. They have examples.
pub fn pages() -> &'static [Page] {
    static PAGES_READ: LazyLock<Vec<Page>> = LazyLock::new(|| read(&PAGES));
    &PAGES_READ
}

/// Those of the codes that come up when something is run or fetched, in the order of their codes. They are short.
pub fn running() -> &'static [Page] {
    static RUNNING_READ: LazyLock<Vec<Page>> = LazyLock::new(|| read(&[RUNNING]));
    &RUNNING_READ
}

/// All of them: those of a check first.
pub fn all() -> impl Iterator<Item = &'static Page> + Clone {
    pages().iter().chain(running())
}

fn read(texts: &[&'static str]) -> Vec<Page> {
    let mut pages: Vec<Page> = texts.iter().flat_map(|text| text.split("\n## `").skip(1)).map(page).collect();
    pages.sort_by_key(|page| page.code);
    pages
}

/// The pages a user may mean: the one of the code, else all whose code ends so (`unknown_stage`, `name::unknown`).
pub fn find(code: &str) -> Vec<&'static Page> {
    let exact: Vec<_> = all().filter(|page| page.code == code).collect();
    if !exact.is_empty() || code.is_empty() {
        return exact;
    }
    let suffix = format!("::{code}");
    all().filter(|page| page.code.ends_with(&suffix)).collect()
}

/// The code nearest to one that has no page.
pub fn nearest(code: &str) -> Option<&'static str> {
    let name = |code: &'static str| code.rsplit("::").next().unwrap_or(code);
    let near = super::suggest::nearest(code, all().map(|page| page.code));
    let given = code.rsplit("::").next().unwrap_or(code);
    let by_name = || super::suggest::nearest(given, all().map(|page| name(page.code)));
    near.or_else(|| by_name().and_then(|near| all().map(|page| page.code).find(|code| name(code) == near)))
}

impl Page {
    /// The first sentence or so: the text up to the first full stop or colon.
    pub fn summary(&self) -> &'static str {
        let text = self.blocks.iter().find_map(|block| match block {
            Block::Text(text) => Some(*text),
            _ => None,
        });
        let text = text.unwrap_or("");
        let end = [". ", ".\n", ": "].iter().filter_map(|stop| text.find(stop)).min().unwrap_or(text.len());
        text[..end].trim_end_matches('.')
    }
}

/// Reads a section from behind "## `".
fn page(section: &'static str) -> Page {
    let (code, mut rest) = section.split_once('`').unwrap_or((section, ""));
    let mut blocks = vec![];
    // The title of the area that follows is not of this page; behind examples there is none.
    if let Some((own, _)) = rest.split_once("\n# ")
        && !rest.contains("```")
    {
        rest = own;
    }
    while let Some((text, fence)) = rest.split_once("```") {
        push_text(&mut blocks, text);
        let (info, body) = fence.split_once('\n').unwrap_or((fence, ""));
        let (content, after) = body.split_once("```").unwrap_or((body, ""));
        blocks.push(match info.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["ftp", "right"] => Block::Right(content),
            [_, "wrong"] => Block::Wrong(content),
            [_, path, count] => Block::Data { path, count: count.parse().unwrap_or(1), content },
            [_, path] => Block::Data { path, count: 1, content },
            _ => Block::Text(content),
        });
        rest = after;
    }
    push_text(&mut blocks, rest);
    Page { code, blocks }
}

fn push_text(blocks: &mut Vec<Block>, text: &'static str) {
    let text = text.trim();
    if !text.is_empty() {
        blocks.push(Block::Text(text));
    }
}
