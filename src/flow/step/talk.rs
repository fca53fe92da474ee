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
    /// Since the last `*`, keys reach the office only from here, in the order in which they were pressed.
    held: bool,
}

/// What the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flow) enum Wish {
    Nothing,
    NextOffice,
    EndCall,
}

impl Keys {
    pub(in crate::flow) fn on_digit(&mut self, run: &mut Run, digit: char, talking: bool) -> Wish {
        if (digit == '*' && self.star) || (digit == '#' && self.hash) {
            *self = Self::default();
            run.cancel_timer(TimerName::Star);
            return if digit == '*' {
                Wish::NextOffice
            } else {
                Wish::EndCall
            };
        }
        self.release_star(run, talking);
        match digit {
            '*' => {
                self.star = true;
                if !std::mem::replace(&mut self.held, true) {
                    run.act(Action::WithholdAll(true));
                }
            }
            digit if self.held && talking => run.act(Action::SendDigit(digit)),
            _ => {}
        }
        self.hash = digit == '#';
        if self.held || self.hash {
            run.set_timer(TimerName::Star, TWICE_WITHIN);
        }
        Wish::Nothing
    }

    /// Whether keys reach the office only from here at the moment.
    pub(in crate::flow) fn holds(self) -> bool {
        self.held
    }

    /// Whether a first `#` was pressed a moment ago.
    pub(in crate::flow) fn half_ended(self) -> bool {
        self.hash
    }

    /// No second press came: a single `*` is the office's.
    pub(in crate::flow) fn on_timer(&mut self, run: &mut Run, talking: bool) {
        self.hash = false;
        self.release_star(run, talking);
        if std::mem::take(&mut self.held) {
            run.act(Action::WithholdAll(false));
        }
    }

    fn release_star(&mut self, run: &mut Run, talking: bool) {
        if std::mem::take(&mut self.star) && talking {
            run.act(Action::SendDigit('*'));
        }
    }
}
