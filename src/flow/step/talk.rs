//! Keys while an office rings or talks: `**` goes on, `##` ends the call, everything else is the office's.

use std::time::Duration;

use crate::flow::run::{Action, Run, TimerName};

/// The second press must come within this time (`hotline.md` §1).
const TWICE_WITHIN: Duration = Duration::from_millis(1200);

/// A first `*` or `#` that may become two.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::flow) struct Keys {
    star: bool,
    hash: bool,
}

/// What the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flow) enum Wish {
    Nothing,
    NextOffice,
    EndCall,
}

impl Keys {
    /// Takes a key. While a `*` waits for its second press, keys after it are withheld too, so that the office
    /// gets them in the order in which they were pressed.
    pub(in crate::flow) fn on_digit(&mut self, run: &mut Run, digit: char, talking: bool) -> Wish {
        match digit {
            '*' if self.star => {
                *self = Self::default();
                run.cancel_timer(TimerName::Star);
                return Wish::NextOffice;
            }
            '#' if self.hash => {
                *self = Self::default();
                run.cancel_timer(TimerName::Star);
                return Wish::EndCall;
            }
            '*' => {
                self.hash = false;
                self.star = true;
                run.act(Action::WithholdAll(true));
                run.set_timer(TimerName::Star, TWICE_WITHIN);
            }
            digit => {
                self.release_star(run, talking, Some(digit));
                self.hash = digit == '#';
                if self.hash {
                    run.set_timer(TimerName::Star, TWICE_WITHIN);
                }
            }
        }
        Wish::Nothing
    }

    /// No second press came: a single `*` is the office's.
    pub(in crate::flow) fn on_timer(&mut self, run: &mut Run, talking: bool) {
        self.hash = false;
        self.release_star(run, talking, None);
    }

    fn release_star(&mut self, run: &mut Run, talking: bool, after: Option<char>) {
        if !std::mem::take(&mut self.star) {
            return;
        }
        run.cancel_timer(TimerName::Star);
        if talking {
            for digit in ['*'].into_iter().chain(after) {
                run.act(Action::SendDigit(digit));
            }
        }
        run.act(Action::WithholdAll(false));
    }
}
