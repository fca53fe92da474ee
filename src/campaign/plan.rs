//! A campaign: whom its callers reach, in which order and languages, within which limits.

use serde::{Deserialize, Serialize};

use crate::directory::Chamber;
use crate::units::{CampaignId, Language};

/// What to do with a ZIP code that lies in several districts (`hotline.md` §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitPolicy {
    /// Ask by name; a caller who is not sure reaches the senators only.
    #[default]
    Ask,
    /// Take the district where most of the ZIP code's people live.
    LargestShare,
    /// Call no representative.
    SenatorsOnly,
}

/// A campaign, as the store keeps it (one JSON document).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    pub id: CampaignId,
    pub name: String,
    /// The flow that its callers run through.
    pub flow: String,
    /// Chambers called, in this order.
    pub chambers: Vec<Chamber>,
    /// Languages offered; the first is spoken until the caller chooses.
    pub languages: Vec<Language>,
    #[serde(default)]
    pub split: SplitPolicy,
    /// Districts that hold a smaller part of a ZIP code's people are not asked about.
    #[serde(default = "two_percent")]
    pub least_share: f64,
    /// At most this many targets in one call.
    #[serde(default = "ten")]
    pub most_targets: usize,
}

fn two_percent() -> f64 {
    0.02
}

fn ten() -> usize {
    10
}

impl Campaign {
    /// The campaign that exists without any set-up: the caller's representative, then the senators.
    pub fn congress(languages: Vec<Language>) -> Self {
        Self {
            id: CampaignId::new("congress"),
            name: "Call Congress".to_owned(),
            flow: "hotline".to_owned(),
            chambers: vec![Chamber::House, Chamber::Senate],
            languages,
            split: SplitPolicy::Ask,
            least_share: two_percent(),
            most_targets: ten(),
        }
    }

    pub fn calls(&self, chamber: Chamber) -> bool {
        self.chambers.contains(&chamber)
    }
}
