//! One header of a message that is not parsed: for whoever only sorts messages.

use super::parse::Lines;
use super::{Name, trim};

/// The Call-ID of a message, found without parsing the rest; `None` where its head has none.
pub fn peek_call_id(message: &[u8]) -> Option<&[u8]> {
    let lines = Lines { rest: message };
    for line in lines.skip(1).take_while(|line| !line.is_empty()) {
        // Call-ID, or i in its compact form.
        if !matches!(line.first(), Some(b'C' | b'c' | b'I' | b'i')) {
            continue;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        if Name::from_bytes(trim(&line[..colon])) == Name::CallId {
            return Some(trim(&line[colon + 1..])).filter(|value| !value.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_id_is_found_in_either_form_and_only_in_the_head() {
        let found = |text: &'static str| peek_call_id(text.as_bytes());
        assert_eq!(
            found("BYE sip:a SIP/2.0\r\nCSeq: 1 BYE\r\nCALL-ID :  x@y \r\n\r\n"),
            Some(&b"x@y"[..])
        );
        assert_eq!(found("SIP/2.0 200 OK\ni:z\n\n"), Some(&b"z"[..]));
        assert_eq!(
            found("BYE sip:a SIP/2.0\r\nContact: <b>\r\n\r\nCall-ID: body\r\n"),
            None
        );
        assert_eq!(found("Call-ID: first line\r\n\r\n"), None);
        assert_eq!(found("a\r\nCall-ID:\r\n\r\n"), None);
        assert_eq!(found(""), None);
    }
}
