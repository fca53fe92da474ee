//! What each kind of step does: `enter` begins it, `on` takes what happens during it.

pub(super) mod dial;
pub(super) mod gather;
pub(super) mod language;
pub(super) mod play;
pub(super) mod talk;
pub(super) mod targets;
pub(super) mod whom;
pub(super) mod zip;
