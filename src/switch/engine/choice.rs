//! Which trunk a call goes out by, and whether another is tried when it fails.
//!
//! Trunks are taken in the order of the configuration; those that are not registered, down, or unreachable of late come
//! last, and one that asked to be left alone only where there is no other. One that is full is not taken. What a caller would hear as an error never comes
//! from one trunk while another can carry the call.

use std::time::Duration;

use super::Now;
use super::Trunk;
use super::call::Call;
use super::exchange::Exchange;
use crate::call::disposition::LegDisposition;
use crate::call::number::Dialled;
use crate::flow::run::DialRequest;

/// A call that is one too many for its second waits this long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// A trunk that carries a call, at once or after a moment.
#[derive(Debug)]
pub(super) struct Chosen {
    pub index: usize,
    pub dialled: Dialled,
    pub delay: Duration,
    /// It asked to be left alone (Retry-After), and is taken only where there is no other.
    pub resting: bool,
}

impl Chosen {
    fn rank(&self) -> (bool, Duration) {
        (self.resting, self.delay)
    }
}

/// Why no trunk carries a call.
#[derive(Debug)]
pub(super) struct NoTrunk {
    pub disposition: LegDisposition,
    pub reason: String,
}

impl NoTrunk {
    pub fn too_many_hops() -> Self {
        Self::new(LegDisposition::TrunkError, "too_many_hops")
    }

    pub fn new(disposition: LegDisposition, reason: impl Into<String>) -> Self {
        Self {
            disposition,
            reason: reason.into(),
        }
    }
}

impl Exchange {
    /// The first trunk that may carry the number and can; else the one whose next second comes first, else one that
    /// asked to be left alone. `tried` are left out. What speaks most against the last one is told where there is none.
    pub(super) fn choose_trunk(
        &self,
        now: Now,
        call: &Call,
        request: &DialRequest,
        tried: &[usize],
    ) -> Result<Chosen, NoTrunk> {
        let mut refused = NoTrunk::new(LegDisposition::TrunkError, "no_trunk");
        let mut best: Option<Chosen> = None;
        for index in self.trunks_for(now, call, request) {
            if tried.contains(&index) {
                continue;
            }
            match self.offer(now, index, request) {
                Ok(chosen) if chosen.delay.is_zero() && !chosen.resting => return Ok(chosen),
                Ok(chosen) if best.as_ref().is_none_or(|best| chosen.rank() < best.rank()) => {
                    best = Some(chosen);
                }
                Ok(_) => {}
                Err(why) => refused = why,
            }
        }
        best.ok_or(refused)
    }

    /// Whether a trunk can carry a call.
    pub(super) fn offer(&self, now: Now, index: usize, request: &DialRequest) -> Result<Chosen, NoTrunk> {
        let (trunk, line) = (&self.settings.trunks[index], &self.lines[index]);
        let dialled = Dialled::check(&request.number, &trunk.destinations)
            .map_err(|why| NoTrunk::new(LegDisposition::NoNumber, format!("not_dialled: {why}")))?;
        if line.targets.is_empty() {
            return Err(NoTrunk::new(LegDisposition::TrunkError, "trunk_address_unknown"));
        }
        if line.calls >= trunk.channels {
            return Err(NoTrunk::new(LegDisposition::Congestion, "trunk_full"));
        }
        let delay = line.rate.delay(now.monotonic, trunk.calls_per_second, 1);
        if delay > LONGEST_WAIT {
            return Err(NoTrunk::new(
                LegDisposition::Congestion,
                "trunk_too_many_each_second",
            ));
        }
        Ok(Chosen {
            index,
            dialled,
            delay,
            resting: line.rests_until.is_some_and(|until| until > now.monotonic),
        })
    }

    /// The trunks that may carry a call, in the order in which they are asked.
    fn trunks_for(&self, now: Now, call: &Call, request: &DialRequest) -> Vec<usize> {
        let place = |trunk: &Trunk| match (&request.trunk, &*call.trunks) {
            (Some(wanted), _) => (*wanted == trunk.name).then_some(0),
            (None, []) => trunk.dials.then_some(0),
            (None, wanted) => wanted.iter().position(|name| *name == trunk.name),
        };
        let mut order: Vec<_> = self
            .settings
            .trunks
            .iter()
            .zip(&self.lines)
            .enumerate()
            .filter(|(_, (_, line))| line.serves(call.generation))
            .filter_map(|(index, (trunk, line))| {
                let unregistered = trunk.register.is_some() && !line.registered;
                let asleep = !self.endpoint.is_awake(now.monotonic, Self::peer_id(index));
                let doubtful = unregistered || asleep || line.is_down(trunk);
                Some((
                    (line.retired.is_some(), doubtful, place(trunk)?, line.rank),
                    index,
                ))
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index).collect()
    }
}

/// Whether a failure speaks against the trunk rather than against who is called: then another may do better. `rang`:
/// whether the callee's side was heard before.
pub(super) fn is_the_trunks(failure: &sip::Failure, rang: bool, codes: &[u16]) -> bool {
    let counts = failure.status != 408 || !rang;
    if !failure.from_peer {
        // Nothing was heard, or nothing could be sent; 488 is our own judgement of an answer.
        return counts && matches!(failure.status, 408 | 503);
    }
    let full = LegDisposition::of_trunk_code(&failure.phrase) == Some(LegDisposition::Congestion);
    (full || codes.contains(&failure.status)) && counts && !is_callees(failure)
}

/// Whether a Reason (RFC 3326) says that the failure is of who is called, whatever the status.
pub(super) fn is_callees(failure: &sip::Failure) -> bool {
    let told = failure.reason.cause.and_then(LegDisposition::of_cause);
    told.is_some_and(|disposition| {
        use LegDisposition::*;
        matches!(
            disposition,
            NotInService | Busy | NoAnswer | Declined | NumberChanged
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FAILOVER;

    fn failure(status: u16, from_peer: bool, cause: Option<u16>, phrase: &str) -> sip::Failure {
        sip::Failure {
            status,
            phrase: phrase.to_owned(),
            from_peer,
            reason: sip::Reason {
                cause,
                ..sip::Reason::default()
            },
            detail: None,
            retry_after: None,
        }
    }

    #[test]
    fn only_what_speaks_against_the_trunk_goes_to_the_next_one() {
        for status in 300..700 {
            let goes_on = is_the_trunks(&failure(status, true, None, ""), false, DEFAULT_FAILOVER);
            let expected = matches!(status, 401 | 407 | 408 | 500 | 502 | 503 | 504);
            assert_eq!(goes_on, expected, "{status}");
        }
        for (status, from_peer, cause, rang, expected) in [
            (408, false, None, false, true),
            (408, false, None, true, false),
            (408, true, None, true, false),
            (503, false, None, false, true),
            (488, false, None, false, false),
            (503, true, Some(17), false, false),
            (503, true, Some(1), false, false),
            (503, true, Some(34), false, true),
            (500, true, Some(38), true, true),
        ] {
            let failure = failure(status, from_peer, cause, "");
            let told = is_the_trunks(&failure, rang, DEFAULT_FAILOVER);
            assert_eq!(told, expected, "{failure:?}, rang: {rang}");
        }
    }

    #[test]
    fn a_refusal_that_names_a_limit_of_the_account_goes_to_the_next_one() {
        let full = failure(403, true, None, "User channel limit exceeded D1");
        assert!(is_the_trunks(&full, false, DEFAULT_FAILOVER));
        let caller_id = failure(403, true, None, "Caller Origination Number is Invalid D35");
        assert!(!is_the_trunks(&caller_id, false, DEFAULT_FAILOVER));
    }

    #[test]
    fn codes_of_the_configuration_count_in_place_of_the_usual_ones() {
        assert!(is_the_trunks(&failure(403, true, None, ""), false, &[403]));
        assert!(!is_the_trunks(&failure(503, true, None, ""), false, &[403]));
    }
}
