//! Statements in the SQL subset that SQLite and PostgreSQL share.

use std::sync::OnceLock;

/// One statement with `$1` … placeholders, as PostgreSQL takes them.
pub(super) struct Sql {
    text: &'static str,
    sqlite: OnceLock<String>,
}

impl Sql {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            sqlite: OnceLock::new(),
        }
    }

    /// The statement as SQLite takes it, rewritten once.
    pub(super) fn sqlite(&self) -> &str {
        self.sqlite.get_or_init(|| for_sqlite(self.text))
    }
}

/// Rewrites `$n` to `?n` outside quotes. SQLite would take `$n` as a name, numbered by first appearance.
pub(super) fn for_sqlite(text: &str) -> String {
    let mut quoted = None;
    let mut letters = text.chars().peekable();
    let mut rewritten = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        match (quoted, letter) {
            (Some(quote), _) if quote == letter => quoted = None,
            (None, '\'' | '"') => quoted = Some(letter),
            (None, '$') if letters.peek().is_some_and(char::is_ascii_digit) => {
                rewritten.push('?');
                continue;
            }
            _ => {}
        }
        rewritten.push(letter);
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_rewritten_outside_quotes_only() {
        assert_eq!(for_sqlite("a = $1 AND b = $12"), "a = ?1 AND b = ?12");
        assert_eq!(for_sqlite("a = '$1' AND \"$2\" = $3"), "a = '$1' AND \"$2\" = ?3");
        assert_eq!(for_sqlite("a = 'it''s $1' || $2"), "a = 'it''s $1' || ?2");
        assert_eq!(for_sqlite("cost $ and $x"), "cost $ and $x");
    }
}
