//! A legislator or official a campaign can call.

use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::office::{Office, OfficeKind};
use super::states::Standing;
use super::{District, facts};
use crate::units::{State, TargetId};

/// A legislator with all offices, as a snapshot of the directory holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub id: TargetId,
    /// The official name: `Henry C. "Hank" Johnson, Jr.`
    pub name: String,
    pub title: Title,
    pub chamber: Chamber,
    pub state: State,
    /// 0 where the state has one seat; none for senators.
    pub district: Option<u8>,
    /// As the source spells it: `Democrat`, `Republican`, `Independent`.
    pub party: String,
    /// The party an independent sits with.
    pub caucus: Option<String>,
    /// Senators only, and only from sources that say it.
    pub state_rank: Option<StateRank>,
    /// When the present term began.
    pub since: Option<Date>,
    /// When the present term is *expected* to end. It may pass: only a newer list removes a member.
    pub expected_end: Option<Date>,
    /// Washington first, then the offices at home.
    pub offices: Vec<Office>,
}

impl Target {
    /// The name as a voice says it, without middle names where a nickname stands in quotes: `Hank Johnson Jr.`
    pub fn spoken_name(&self) -> String {
        spoken(&self.name)
    }

    /// Title and name as a voice says them: `Senator Bernard Sanders`.
    pub fn spoken_title(&self) -> String {
        format!("{} {}", self.title.words(), self.spoken_name())
    }

    /// The last part of the id: the Bioguide key of members of Congress, which names their recorded name.
    pub fn key(&self) -> &str {
        self.id.as_str().rsplit(':').next().unwrap_or_default()
    }

    /// The seat in the House; none for senators.
    pub fn seat(&self) -> Option<District> {
        self.district.map(|number| District {
            state: self.state,
            number,
        })
    }

    pub fn capitol_office(&self) -> Option<&Office> {
        self.offices
            .iter()
            .find(|office| office.kind == OfficeKind::Capitol)
    }

    pub fn district_offices(&self) -> impl Iterator<Item = &Office> {
        self.offices
            .iter()
            .filter(|office| office.kind == OfficeKind::District)
    }
}

fn spoken(name: &str) -> String {
    let from_nickname = match name.split_once(['"', '“']) {
        Some((_, rest)) if rest.contains(['"', '”']) => rest,
        _ => name,
    };
    from_nickname.replace(['"', '“', '”', ','], "")
}

/// What a target is called before the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Title {
    Senator,
    Representative,
    Delegate,
    ResidentCommissioner,
}

impl Title {
    /// The title of whoever holds a seat of this chamber for this state: delegates of DC and the territories, and
    /// Puerto Rico's resident commissioner, sit in the House.
    pub fn of(chamber: Chamber, state: State) -> Self {
        match (chamber, facts(state).map(|facts| facts.standing)) {
            (Chamber::Senate, _) => Title::Senator,
            (Chamber::House, _) if state.as_str() == "PR" => Title::ResidentCommissioner,
            (Chamber::House, Some(Standing::Capital | Standing::Territory)) => Title::Delegate,
            (Chamber::House, _) => Title::Representative,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Title::Senator => "Senator",
            Title::Representative => "Representative",
            Title::Delegate => "Delegate",
            Title::ResidentCommissioner => "Resident Commissioner",
        }
    }

    /// The prompt fragment that says it, after `title-`.
    pub fn fragment(self) -> &'static str {
        match self {
            Title::Senator => "senator",
            Title::Representative => "representative",
            Title::Delegate => "delegate",
            Title::ResidentCommissioner => "resident-commissioner",
        }
    }
}

/// The body a target sits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chamber {
    House,
    Senate,
}

impl Chamber {
    pub fn as_str(self) -> &'static str {
        match self {
            Chamber::House => "house",
            Chamber::Senate => "senate",
        }
    }
}

impl FromStr for Chamber {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Chamber::House, Chamber::Senate]
            .into_iter()
            .find(|chamber| chamber.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a chamber: house or senate"))
    }
}

/// Which of a state's two senators has served longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateRank {
    Senior,
    Junior,
}

impl StateRank {
    pub fn as_str(self) -> &'static str {
        match self {
            StateRank::Senior => "senior",
            StateRank::Junior => "junior",
        }
    }
}

impl FromStr for StateRank {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = [StateRank::Senior, StateRank::Junior]
            .into_iter()
            .find(|rank| rank.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a rank: senior or junior"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoken_name_prefers_the_quoted_nickname_and_has_no_marks() {
        assert_eq!(spoken("Henry C. \"Hank\" Johnson, Jr."), "Hank Johnson Jr.");
        assert_eq!(spoken("Sanford D. Bishop, Jr."), "Sanford D. Bishop Jr.");
        assert_eq!(spoken("Nydia M. Velázquez"), "Nydia M. Velázquez");
        assert_eq!(spoken("A \"lone mark"), "A lone mark");
    }

    #[test]
    fn territories_and_the_capital_send_delegates_and_puerto_rico_a_resident_commissioner() {
        let title = |state: &str| Title::of(Chamber::House, state.parse().unwrap()).words();
        assert_eq!(title("PR"), "Resident Commissioner");
        assert_eq!([title("DC"), title("GU"), title("AS")], ["Delegate"; 3]);
        assert_eq!(title("WY"), "Representative");
    }
}
