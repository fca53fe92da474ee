//! Which office of a target is dialled now.

use jiff::Timestamp;

use crate::directory::{Directory, Office, OpenState, PRE_CLOSE_MARGIN, Target};
use crate::units::Zip;

/// How a target can be reached at this moment.
#[derive(Debug, PartialEq)]
pub(super) enum Reach<'a> {
    /// An office is open; `closed` is the Washington office where that one is not, with its next opening.
    Open {
        office: &'a Office,
        closed: Option<(&'a Office, Option<Timestamp>)>,
    },
    /// None is open; the one that opens first.
    Closed {
        office: &'a Office,
        opens: Option<Timestamp>,
    },
    NoNumber,
}

/// Washington first, then the district offices, the nearest to the caller first; closed ones are passed over, and
/// so is one that closes within minutes.
pub(super) fn reach<'a>(
    directory: &'a Directory,
    target: &'a Target,
    zip: Option<Zip>,
    at: Timestamp,
) -> Reach<'a> {
    let state = |office: &Office| directory.open_state_before_closing(office, at, PRE_CLOSE_MARGIN);
    let capitol = target.capitol_office().filter(|office| office.phone.is_some());
    let closed = match capitol.map(|office| (office, state(office))) {
        Some((office, OpenState::Open { .. })) => return Reach::Open { office, closed: None },
        Some((office, OpenState::Closed { opens })) => Some((office, opens)),
        None => None,
    };
    let nearest = zip.and_then(|zip| directory.nearest_open_office(target, zip, at, PRE_CLOSE_MARGIN));
    if let Some(office) = nearest {
        return Reach::Open { office, closed };
    }
    let numbered = target.offices.iter().filter(|office| office.phone.is_some());
    let opening = numbered.map(|office| (office, directory.next_opening(office, at)));
    match opening.min_by_key(|(_, opens)| opens.unwrap_or(Timestamp::MAX)) {
        Some((office, opens)) => Reach::Closed { office, opens },
        None => Reach::NoNumber,
    }
}
