use squawk_syntax::ast::AstNode as _;
use squawk_syntax::{Parse, SourceFile, SyntaxElement};

/// A parsed file. The placeholders `tenant.` and `tenant_role` are names like others.
pub(super) struct SqlFile {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) parse: Parse<SourceFile>,
    pub(super) statements: Vec<Stmt>,
    pub(super) transactional: bool,
    pub(super) down: bool,
    /// Its number, where the name has one.
    pub(super) version: Option<u32>,
}

/// A statement as words: lower case, without comments.
pub(super) struct Stmt {
    pub(super) words: Vec<String>,
    /// Where its first word is.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl SqlFile {
    pub(super) fn parse(name: &str, text: &str) -> Self {
        let parse = SourceFile::parse(text);
        let statements =
            parse.tree().stmts().map(|stmt| Stmt::of(&SyntaxElement::from(stmt.syntax().clone()))).collect();
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            statements,
            transactional: !text.lines().any(|line| line.trim() == "-- tenantry: no-transaction"),
            down: name.ends_with(".down.sql"),
            version: name.split('_').next().and_then(|number| number.parse().ok()),
            parse,
        }
    }

    /// The line of a place in the text, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The line that a statement begins in, and the one that it ends in.
    pub(super) fn lines(&self, stmt: &Stmt) -> (usize, usize) {
        (self.line(stmt.start), self.line(stmt.end))
    }
}

impl Stmt {
    fn of(element: &SyntaxElement) -> Self {
        let mut words = Vec::new();
        let (mut start, mut end) = (None, 0);
        if let Some(node) = element.as_node() {
            for token in node.descendants_with_tokens().filter_map(|element| element.into_token()) {
                if token.kind().is_trivia() {
                    continue;
                }
                start = start.or(Some(usize::from(token.text_range().start())));
                end = usize::from(token.text_range().end());
                words.push(token.text().to_lowercase());
            }
        }
        Self { words, start: start.unwrap_or_default(), end }
    }

    /// Whether these words follow each other somewhere.
    pub(super) fn has(&self, phrase: &str) -> bool {
        self.after(phrase).is_some()
    }

    /// What comes after these words.
    pub(super) fn after(&self, phrase: &str) -> Option<&[String]> {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        let at = self.words.windows(phrase.len()).position(|words| words.iter().zip(&phrase).all(|(a, b)| a == b))?;
        Some(&self.words[at + phrase.len()..])
    }

    /// Whether it begins with these words.
    pub(super) fn begins(&self, phrase: &str) -> bool {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        self.words.len() >= phrase.len() && self.words.iter().zip(&phrase).all(|(a, b)| a == b)
    }
}

/// The name that a list of words begins with, without `if not exists` and `only`: its schema, where it has one, and itself.
pub(super) fn name(words: &[String]) -> Option<(Option<&str>, &str)> {
    let mut rest = words;
    for noise in [&["if", "not", "exists"][..], &["if", "exists"], &["only"]] {
        if rest.len() > noise.len() && rest.iter().zip(noise).all(|(a, b)| a == b) {
            rest = &rest[noise.len()..];
        }
    }
    let is_name = |word: &str| word.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"');
    match rest {
        [schema, dot, own, ..] if dot == "." && is_name(schema) => Some((Some(unquoted(schema)), unquoted(own))),
        [own, ..] if is_name(own) => Some((None, unquoted(own))),
        _ => None,
    }
}

fn unquoted(word: &str) -> &str {
    word.trim_matches('"')
}
