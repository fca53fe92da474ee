//! Whose names and numbers may be read in a trace, and what stands in the place of all others.

/// Stands for what is not kept.
pub(super) const HIDDEN: &str = "redacted";
/// Stands for the user name of an account.
const ACCOUNT: &str = "account";
/// Users that are nobody.
const NOBODY: [&str; 5] = ["anonymous", "restricted", "unavailable", "unknown", "invalid"];
/// Digits below this are an extension or a service, not a person's number that could be searched for.
const NUMBER: usize = 7;

/// Who is who in one call. Every user of a URI that is not known is hidden.
#[derive(Debug, Clone, Default)]
pub struct Disguise {
    callers: Vec<String>,
    /// Digits of the callers, as short as any way of writing them.
    digits: Vec<String>,
    caller_name: String,
    known: Vec<String>,
    accounts: Vec<String>,
}

impl Disguise {
    /// `name` stands for the caller: the same in all calls of one person, or the same for all people.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            caller_name: name.into(),
            ..Self::default()
        }
    }

    /// Hides a user as the trunk writes the caller: a number, or a name.
    pub fn hide_caller(&mut self, user: &str) {
        let user = plain(user);
        if user.is_empty() || is_nobody(&user) {
            return;
        }
        let digits = short_digits(&user);
        if digits.len() >= NUMBER && !self.digits.contains(&digits) {
            self.digits.push(digits);
        }
        self.callers.push(user);
    }

    /// Lets a user be read: a number of ours, an office's, our Contact.
    pub fn show(&mut self, user: &str) {
        let user = plain(user);
        if !user.is_empty() {
            self.known.push(user);
        }
    }

    pub fn hide_account(&mut self, user: &str) {
        self.accounts.push(plain(user));
    }

    /// What is written in the place of a URI's user; the user may have parameters and a password.
    pub(super) fn user(&self, written: &str) -> String {
        let user = plain(written);
        let digits = short_digits(&user);
        let same =
            |other: &String| *other == user || (digits.len() >= NUMBER && short_digits(other) == digits);
        let is_number = user
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.()*#".contains(&byte));
        if user.is_empty() || is_nobody(&user) {
            return user;
        }
        if self.callers.iter().any(same) {
            return self.caller_name.clone();
        }
        if self.accounts.contains(&user) && !(is_number && self.known.iter().any(same)) {
            return ACCOUNT.to_owned();
        }
        // Of a user that is known, nothing but the known part is written.
        match self.known.iter().find(|known| same(known)) {
            Some(known) if is_number || *known == user => user,
            _ => HIDDEN.to_owned(),
        }
    }

    /// Text without the callers' digits.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for digits in &self.digits {
            if text.contains(digits.as_str()) {
                text = text.replace(digits.as_str(), &self.caller_name);
            }
        }
        text
    }
}

/// A user without parameters and password, its escapes resolved.
fn plain(user: &str) -> String {
    let user = user.split([';', ':', '?']).next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let escaped = (first == b'%').then(|| others.get(..2)).flatten();
        let value = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = &others[2..];
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars()
        .filter(|letter| !letter.is_control() && !"<>\"@ ,".contains(*letter))
        .collect()
}

/// The digits of a number, a North American one without its country's 1.
fn short_digits(user: &str) -> String {
    let digits: String = user.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('1') {
        Some(national) if digits.len() == 11 => national.to_owned(),
        _ => digits,
    }
}

fn is_nobody(user: &str) -> bool {
    NOBODY.iter().any(|nobody| user.eq_ignore_ascii_case(nobody))
}
