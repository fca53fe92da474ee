//! Which office of a target is dialled now.

use jiff::Timestamp;

use crate::directory::{Directory, Office, OfficeKind, OpenState, PRE_CLOSE_MARGIN, Target};
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
    let mut offices: Vec<&Office> = target
        .offices
        .iter()
        .filter(|office| office.phone.is_some())
        .collect();
    let place = zip.and_then(|zip| directory.point(zip));
    let distance = |office: &Office| match (place, office.point) {
        (Some(place), Some(point)) => place.kilometres_to(point),
        _ => f64::MAX,
    };
    offices.sort_by(|a, b| {
        let district = |office: &Office| office.kind == OfficeKind::District;
        district(a)
            .cmp(&district(b))
            .then(distance(a).total_cmp(&distance(b)))
    });
    let state = |office: &Office| directory.open_state_before_closing(office, at, PRE_CLOSE_MARGIN);
    let mut first_closed = None;
    let mut soonest: Option<(&Office, Option<Timestamp>)> = None;
    for &office in &offices {
        match state(office) {
            OpenState::Open { .. } => {
                return Reach::Open {
                    office,
                    closed: first_closed,
                };
            }
            OpenState::Closed { opens } => {
                if office.kind == OfficeKind::Capitol {
                    first_closed = Some((office, opens));
                }
                let sooner = match (&soonest, opens) {
                    (None, _) | (Some((_, None)), Some(_)) => true,
                    (Some((_, Some(known))), Some(opens)) => opens < *known,
                    _ => false,
                };
                if sooner {
                    soonest = Some((office, opens));
                }
            }
        }
    }
    match soonest {
        Some((office, opens)) => Reach::Closed { office, opens },
        None => Reach::NoNumber,
    }
}
