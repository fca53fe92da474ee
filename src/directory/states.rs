//! States, the capital, territories and freely associated states: their codes, names and standing in Congress.

use serde::{Deserialize, Serialize};

use crate::units::State;

/// How a postal "state" is represented in Congress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Two senators and at least one representative.
    State,
    /// The District of Columbia: a delegate, no senators.
    Capital,
    /// A delegate or resident commissioner, no senators.
    Territory,
    /// A sovereign country with US mail: nobody in Congress.
    FreelyAssociated,
    /// Armed forces mail (AA, AE, AP): no place of its own.
    Military,
}

/// What never changes about one postal state.
#[derive(Debug, PartialEq, Eq)]
pub struct StateFacts {
    /// Two-letter postal abbreviation.
    pub code: &'static str,
    /// Federal code of two digits; empty where there is none.
    pub fips: &'static str,
    pub name: &'static str,
    pub standing: Standing,
}

/// None for letters that are no postal state.
pub fn facts(state: State) -> Option<&'static StateFacts> {
    let code = state.as_str();
    STATES
        .binary_search_by(|facts| facts.code.cmp(code))
        .ok()
        .map(|at| &STATES[at])
}

/// None for a code that no state has.
pub fn facts_by_fips(fips: &str) -> Option<&'static StateFacts> {
    STATES
        .iter()
        .find(|facts| !facts.fips.is_empty() && facts.fips == fips)
}

macro_rules! states {
    ($($code:ident $fips:literal $name:literal $standing:ident;)*) => {
        /// Sorted by code.
        pub(crate) const STATES: &[StateFacts] = &[$(StateFacts {
            code: stringify!($code), fips: $fips, name: $name, standing: Standing::$standing,
        }),*];
    };
}

states! {
    AA "" "Armed Forces Americas" Military;
    AE "" "Armed Forces Europe" Military;
    AK "02" "Alaska" State;
    AL "01" "Alabama" State;
    AP "" "Armed Forces Pacific" Military;
    AR "05" "Arkansas" State;
    AS "60" "American Samoa" Territory;
    AZ "04" "Arizona" State;
    CA "06" "California" State;
    CO "08" "Colorado" State;
    CT "09" "Connecticut" State;
    DC "11" "District of Columbia" Capital;
    DE "10" "Delaware" State;
    FL "12" "Florida" State;
    FM "64" "Federated States of Micronesia" FreelyAssociated;
    GA "13" "Georgia" State;
    GU "66" "Guam" Territory;
    HI "15" "Hawaii" State;
    IA "19" "Iowa" State;
    ID "16" "Idaho" State;
    IL "17" "Illinois" State;
    IN "18" "Indiana" State;
    KS "20" "Kansas" State;
    KY "21" "Kentucky" State;
    LA "22" "Louisiana" State;
    MA "25" "Massachusetts" State;
    MD "24" "Maryland" State;
    ME "23" "Maine" State;
    MH "68" "Marshall Islands" FreelyAssociated;
    MI "26" "Michigan" State;
    MN "27" "Minnesota" State;
    MO "29" "Missouri" State;
    MP "69" "Northern Mariana Islands" Territory;
    MS "28" "Mississippi" State;
    MT "30" "Montana" State;
    NC "37" "North Carolina" State;
    ND "38" "North Dakota" State;
    NE "31" "Nebraska" State;
    NH "33" "New Hampshire" State;
    NJ "34" "New Jersey" State;
    NM "35" "New Mexico" State;
    NV "32" "Nevada" State;
    NY "36" "New York" State;
    OH "39" "Ohio" State;
    OK "40" "Oklahoma" State;
    OR "41" "Oregon" State;
    PA "42" "Pennsylvania" State;
    PR "72" "Puerto Rico" Territory;
    PW "70" "Palau" FreelyAssociated;
    RI "44" "Rhode Island" State;
    SC "45" "South Carolina" State;
    SD "46" "South Dakota" State;
    TN "47" "Tennessee" State;
    TX "48" "Texas" State;
    UT "49" "Utah" State;
    VA "51" "Virginia" State;
    VI "78" "US Virgin Islands" Territory;
    VT "50" "Vermont" State;
    WA "53" "Washington" State;
    WI "55" "Wisconsin" State;
    WV "54" "West Virginia" State;
    WY "56" "Wyoming" State;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_holds_fifty_states_the_capital_and_five_territories() {
        assert!(STATES.is_sorted_by(|a, b| a.code < b.code));
        let count = |standing| STATES.iter().filter(|facts| facts.standing == standing).count();
        let all = [
            Standing::State,
            Standing::Capital,
            Standing::Territory,
            Standing::FreelyAssociated,
        ];
        assert_eq!(all.map(count), [50, 1, 5, 3]);
    }

    #[test]
    fn codes_lead_to_each_other() {
        for state in STATES {
            assert_eq!(facts(state.code.parse().unwrap()), Some(state));
            if !state.fips.is_empty() {
                assert_eq!(facts_by_fips(state.fips), Some(state));
            }
        }
        assert_eq!((facts_by_fips(""), facts("XX".parse().unwrap())), (None, None));
    }
}
