//! A stream of SIP messages: cut into messages the same way however its bytes arrive, and each is as long as it says.

use sip::message::{MAX_LINE, MAX_MESSAGE, Message, ParseError, frame_length};

pub fn run(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(length)) = frame_length(rest) {
        assert!(length > 0 && length <= rest.len());
        if length <= 4 * MAX_LINE {
            for cut in [length / 3, length / 2, length - 1] {
                assert_eq!(frame_length(&rest[..cut]), Ok(None), "cut at {cut} of {length}");
            }
        }
        let frame = &rest[..length];
        let mut scratch = Vec::new();
        match Message::parse(frame, &mut scratch) {
            Ok(message) => {
                let end = message.body.as_ptr_range().end;
                let in_frame = frame.as_ptr_range().end == end;
                // A message with folds was copied; its body still ends where the copy does.
                assert!(
                    in_frame || frame.ends_with(message.body),
                    "the body ends elsewhere than the frame"
                );
            }
            Err(ParseError::BodyTooShort { got, wanted }) => panic!("framed to {got}, wants {wanted}"),
            Err(ParseError::Unterminated | ParseError::Empty) => panic!("a frame without an end"),
            Err(_) => {}
        }
        assert!(length <= MAX_MESSAGE || rest.starts_with(b"\r") || rest.starts_with(b"\n"));
        rest = &rest[length..];
    }
}
