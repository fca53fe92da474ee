//! Which flow answers a number.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::call::number::Pattern;
use crate::campaign::Campaign;
use crate::flow::Flow;
use crate::units::{CampaignId, TrunkName};

/// A number's route: a flow, and the campaign it serves.
#[derive(Debug, Clone)]
pub struct Route {
    pub pattern: Pattern,
    pub from_trunk: Option<TrunkName>,
    /// Trunks by which calls to it go out again, in order; empty for those of all.
    pub trunks: Arc<[TrunkName]>,
    pub flow: Arc<Flow>,
    pub campaign: Option<Arc<Campaign>>,
}

/// All routes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

/// Why a number leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("[[number]] {pattern}: there is no campaign {campaign}")]
    NoCampaign { pattern: Pattern, campaign: CampaignId },
    #[error("[[number]] {pattern}: the flow {flow:?} finds targets, so the number needs a campaign")]
    NeedsCampaign { pattern: Pattern, flow: String },
    #[error("[[number]] {pattern}: there is no flow {flow:?}")]
    NoFlow { pattern: Pattern, flow: String },
}

/// A number as it is configured.
#[derive(Debug, Clone)]
pub struct NumberRoute {
    pub pattern: Pattern,
    pub from_trunk: Option<TrunkName>,
    pub trunks: Vec<TrunkName>,
    pub wanted: Wanted,
}

/// What a number was configured to do.
#[derive(Debug, Clone)]
pub enum Wanted {
    Campaign(CampaignId),
    Flow(String),
}

impl Routes {
    /// Joins patterns with flows and campaigns; every fault is told.
    pub fn new(
        numbers: &[NumberRoute],
        campaigns: &BTreeMap<CampaignId, Arc<Campaign>>,
        flows: &BTreeMap<String, Arc<Flow>>,
    ) -> Result<Self, Vec<RouteError>> {
        let mut routes = Vec::new();
        let mut errors = Vec::new();
        for number in numbers {
            let NumberRoute {
                pattern,
                from_trunk,
                trunks,
                wanted,
            } = number;
            let (campaign, flow) = match wanted {
                Wanted::Campaign(id) => match campaigns.get(id) {
                    Some(campaign) => (Some(Arc::clone(campaign)), campaign.flow.as_str()),
                    None => {
                        errors.push(RouteError::NoCampaign {
                            pattern: pattern.clone(),
                            campaign: id.clone(),
                        });
                        continue;
                    }
                },
                Wanted::Flow(name) => (None, name.as_str()),
            };
            match flows.get(flow) {
                Some(found) if campaign.is_none() && found.needs_campaign() => {
                    errors.push(RouteError::NeedsCampaign {
                        pattern: pattern.clone(),
                        flow: flow.to_owned(),
                    });
                }
                Some(flow) => routes.push(Route {
                    pattern: pattern.clone(),
                    from_trunk: from_trunk.clone(),
                    trunks: Arc::from(trunks.as_slice()),
                    flow: Arc::clone(flow),
                    campaign,
                }),
                None => errors.push(RouteError::NoFlow {
                    pattern: pattern.clone(),
                    flow: flow.to_owned(),
                }),
            }
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.pattern.closeness()));
        if errors.is_empty() {
            Ok(Self { routes })
        } else {
            Err(errors)
        }
    }

    /// The closest pattern wins; of equally close ones, the first in the configuration.
    pub fn find(&self, number: &str, from: &TrunkName) -> Option<&Route> {
        self.routes.iter().find(|route| {
            route.pattern.matches(number) && route.from_trunk.as_ref().is_none_or(|trunk| trunk == from)
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }
}
