//! Whom a located caller reaches: the questions to ask first, then the list (`hotline.md` §4).

use super::plan::{Campaign, SplitPolicy};
use crate::directory::{Chamber, Directory, DistrictShare, Located, Standing, ZipKind, facts};
use crate::units::{State, TargetId};

/// More representatives than this are not offered by key.
const MOST_CHOICES: usize = 5;

/// More states than this have no key.
const MOST_STATES: usize = 9;

/// A representative is called unasked for a caller who is not sure only from this share on.
const SURE_ENOUGH: f64 = 0.8;

/// One entry of the list of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Target(TargetId),
    /// A seat that nobody holds: announced, then passed over.
    Vacant {
        state: State,
        district: u8,
    },
}

/// One representative to choose by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub state: State,
    pub district: u8,
    pub target: Option<TargetId>,
}

/// What the caller has answered so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    pub state: Option<State>,
    pub district: Option<DistrictAnswer>,
}

/// The answer to the question for the representative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistrictAnswer {
    District(u8),
    NotSure,
}

/// Something the caller is told before the list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Only the state is known.
    StateOnly(State),
    /// The caller could not or need not say which district.
    SenatorsOnly,
    /// The capital has no senators.
    NoSenateCapital(TargetId),
    /// A territory has no senators.
    NoSenateTerritory(State, TargetId),
}

/// Why nobody is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobody {
    /// The caller lives where the campaign calls nobody.
    OutsideArea,
    /// The campaign's chambers have nobody for this caller.
    NoTarget,
}

/// Why another ZIP code is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Unknown,
    Military,
}

/// The next thing to do for a caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    AskZipAgain(Again),
    AskState(Vec<State>),
    AskRepresentative(Vec<Choice>),
    Listed {
        listed: Vec<Listed>,
        notices: Vec<Notice>,
        reason: &'static str,
    },
    Nobody(Nobody),
}

/// Decides what is asked next, or whom the caller reaches. Deterministic: the same answers give the same list.
pub fn resolve(campaign: &Campaign, directory: &Directory, located: &Located, asked: Asked) -> Resolution {
    match located.kind {
        ZipKind::Unknown => return Resolution::AskZipAgain(Again::Unknown),
        ZipKind::Military => return Resolution::AskZipAgain(Again::Military),
        ZipKind::FreelyAssociated => return Resolution::Nobody(Nobody::OutsideArea),
        ZipKind::Standard | ZipKind::PoBox | ZipKind::Territory => {}
    }
    let mut states = located.asked_states(campaign.least_share);
    states.truncate(MOST_STATES);
    let state = match (asked.state, states.as_slice()) {
        (Some(state), _) | (None, &[state]) => state,
        (None, []) => return Resolution::Nobody(Nobody::NoTarget),
        (None, _) => return Resolution::AskState(states),
    };
    let districts = districts_of(campaign, located, state);
    match representative(campaign, directory, &districts, asked) {
        Seat::Ask(choices) => Resolution::AskRepresentative(choices),
        Seat::Found(seat, reason) => list(campaign, directory, state, Some(seat), reason, None),
        Seat::None(notice, reason) => list(campaign, directory, state, None, reason, notice.at(state)),
    }
}

/// The state's districts worth asking about: its largest always, others from the campaign's least share on.
fn districts_of(campaign: &Campaign, located: &Located, state: State) -> Vec<DistrictShare> {
    let of_state = located.districts.iter().filter(|part| part.state == state);
    of_state
        .enumerate()
        .filter(|(at, part)| *at == 0 || part.share >= campaign.least_share)
        .map(|(_, part)| *part)
        .collect()
}

/// What is known of the caller's seat in the House.
enum Seat {
    Ask(Vec<Choice>),
    Found(DistrictShare, &'static str),
    None(Missing, &'static str),
}

/// Why no representative is called.
enum Missing {
    NotWanted,
    Unknown,
    NotSure,
}

impl Missing {
    fn at(self, state: State) -> Option<Notice> {
        match self {
            Self::NotWanted => None,
            Self::Unknown => Some(Notice::StateOnly(state)),
            Self::NotSure => Some(Notice::SenatorsOnly),
        }
    }
}

fn representative(
    campaign: &Campaign,
    directory: &Directory,
    districts: &[DistrictShare],
    asked: Asked,
) -> Seat {
    if !campaign.calls(Chamber::House) {
        return Seat::None(Missing::NotWanted, "house_not_called");
    }
    let Some(&largest) = districts.first() else {
        return Seat::None(Missing::Unknown, "state_only");
    };
    if districts.len() == 1 {
        return Seat::Found(largest, "single_district");
    }
    match (asked.district, campaign.split) {
        (Some(DistrictAnswer::District(number)), _) => {
            match districts.iter().find(|part| part.district == number) {
                Some(&chosen) => Seat::Found(chosen, "caller_chose"),
                None => Seat::None(Missing::NotSure, "caller_not_sure"),
            }
        }
        (None, SplitPolicy::Ask) if districts.len() <= MOST_CHOICES => {
            Seat::Ask(choices(directory, districts))
        }
        (None, SplitPolicy::LargestShare) => Seat::Found(largest, "largest_share"),
        _ if !campaign.calls(Chamber::Senate) && largest.share >= SURE_ENOUGH => {
            Seat::Found(largest, "largest_share")
        }
        (None, SplitPolicy::SenatorsOnly) => Seat::None(Missing::NotSure, "senators_only"),
        (None, SplitPolicy::Ask) => Seat::None(Missing::NotSure, "too_many_districts"),
        (Some(DistrictAnswer::NotSure), _) => Seat::None(Missing::NotSure, "caller_not_sure"),
    }
}

fn choices(directory: &Directory, districts: &[DistrictShare]) -> Vec<Choice> {
    let choice = |part: &DistrictShare| Choice {
        state: part.state,
        district: part.district,
        target: directory
            .representative(part.state, part.district)
            .map(|target| target.id.clone()),
    };
    districts.iter().map(choice).collect()
}

fn list(
    campaign: &Campaign,
    directory: &Directory,
    state: State,
    seat: Option<DistrictShare>,
    reason: &'static str,
    notice: Option<Notice>,
) -> Resolution {
    let holder = seat.and_then(|seat| directory.representative(seat.state, seat.district));
    let mut listed = Vec::new();
    let mut notices: Vec<Notice> = notice.into_iter().collect();
    for chamber in &campaign.chambers {
        match (chamber, seat, holder) {
            (Chamber::House, Some(_), Some(target)) => listed.push(Listed::Target(target.id.clone())),
            (Chamber::House, Some(seat), None) => {
                listed.push(Listed::Vacant {
                    state: seat.state,
                    district: seat.district,
                });
            }
            (Chamber::House, None, _) => {}
            (Chamber::Senate, ..) => {
                listed.extend(
                    directory
                        .senators(state)
                        .map(|target| Listed::Target(target.id.clone())),
                );
            }
        }
    }
    if campaign.calls(Chamber::Senate)
        && let Some(target) = holder
    {
        match facts(state).map(|facts| facts.standing) {
            Some(Standing::Capital) => notices.push(Notice::NoSenateCapital(target.id.clone())),
            Some(Standing::Territory) => notices.push(Notice::NoSenateTerritory(state, target.id.clone())),
            _ => {}
        }
    }
    listed.truncate(campaign.most_targets);
    if !listed.is_empty() {
        Resolution::Listed {
            listed,
            notices,
            reason,
        }
    } else {
        Resolution::Nobody(Nobody::NoTarget)
    }
}
