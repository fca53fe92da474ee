//! Another configuration while calls are up: trunks and routes change for calls that begin from now on.
//!
//! A trunk that is the same host with the same account keeps its place, registration and calls, whatever else changed.
//! Any other is retired: it takes no new calls, serves those that began before, then is de-registered and forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exchange::Exchange;
use super::line::Line;
use super::{Now, Routes, Trunk};

/// After its last call a trunk stays known for this long: a BYE may yet be repeated or challenged (RFC 3261 Timer F).
const LAST_WORDS: Duration = Duration::from_secs(40);

/// How many calls began under each configuration and have not ended.
#[derive(Debug, Default)]
pub(super) struct Generations {
    current: u64,
    calls: BTreeMap<u64, usize>,
}

impl Generations {
    /// A call begins: tells its configuration's number.
    pub fn begun(&mut self) -> u64 {
        *self.calls.entry(self.current).or_default() += 1;
        self.current
    }

    pub fn ended(&mut self, generation: u64) {
        if let Some(calls) = self.calls.get_mut(&generation) {
            *calls -= 1;
            if *calls == 0 {
                self.calls.remove(&generation);
            }
        }
    }

    /// Whether every call that began before this configuration has ended.
    fn over_before(&self, generation: u64) -> bool {
        self.calls.range(..generation).next().is_none()
    }
}

impl Line {
    /// Whether a call that began under a configuration may use the trunk.
    pub fn serves(&self, generation: u64) -> bool {
        self.retired.is_none_or(|since| generation < since) && !self.gone
    }
}

impl Exchange {
    pub fn configure(&mut self, now: Now, trunks: Vec<Trunk>, routes: Routes) {
        self.generations.current += 1;
        self.settings.routes = routes;
        let kept: Vec<Option<usize>> = trunks
            .iter()
            .map(|trunk| {
                self.trunk_index(&trunk.name)
                    .filter(|&index| is_same_way(&self.settings.trunks[index], trunk))
            })
            .collect();
        for index in 0..self.lines.len() {
            if !kept.contains(&Some(index)) && self.lines[index].retired.is_none() {
                self.lines[index].retired = Some(self.generations.current);
                (self.lines[index].probe_at, self.lines[index].keep_alive_at) = (None, None);
                self.endpoint.retire_peer(Self::peer_id(index));
            }
        }
        for (rank, (trunk, kept)) in trunks.into_iter().zip(kept).enumerate() {
            match kept {
                Some(index) => self.change_line(now, index, rank, trunk),
                None => self.add_line(rank, trunk),
            }
        }
        self.leave_retired(now);
    }

    fn change_line(&mut self, now: Now, index: usize, rank: usize, trunk: Trunk) {
        let line = &mut self.lines[index];
        line.rank = rank;
        if self.settings.trunks[index].options_every != trunk.options_every {
            line.probe_at = trunk
                .options_every
                .filter(|_| line.resolved)
                .map(|_| now.monotonic);
            (line.probed, line.failures) = (None, 0);
        }
        self.settings.trunks[index] = trunk;
        self.set_peer(index);
        self.guard_door(now, index);
    }

    /// Takes a free place, so that reloads do not make the table grow.
    fn add_line(&mut self, rank: usize, trunk: Trunk) {
        let line = Line::ranked(rank);
        match self.lines.iter().position(|line| line.gone) {
            Some(index) => {
                self.lines[index] = line;
                self.settings.trunks[index] = trunk;
            }
            None => {
                self.lines.push(line);
                self.settings.trunks.push(trunk);
            }
        }
    }

    /// De-registers from the trunks that no call needs any more.
    pub fn leave_retired(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            let line = &self.lines[index];
            let over = line
                .retired
                .is_some_and(|since| self.generations.over_before(since));
            if over && !line.gone && line.forget_at.is_none() {
                self.lines[index].forget_at = Some(now.monotonic + LAST_WORDS);
                self.leave_line(now, index);
            }
        }
    }

    /// Forgets the trunks that were left long enough ago.
    pub fn forget_trunks(&mut self, now: Now) {
        for index in 0..self.lines.len() {
            let line = &mut self.lines[index];
            if line.forget_at.is_none_or(|at| at > now.monotonic) {
                continue;
            }
            if line.leaving {
                line.forget_at = Some(now.monotonic + LAST_WORDS);
            } else {
                (line.forget_at, line.gone) = (None, true);
                (line.targets, line.registrars, line.former) = Default::default();
                self.endpoint.remove_peer(Self::peer_id(index));
            }
        }
    }
}

/// Whether calls and the registration of one can go on as the other's.
fn is_same_way(one: &Trunk, other: &Trunk) -> bool {
    one.host == other.host
        && one.transport == other.transport
        && one.credentials == other.credentials
        && one.register == other.register
        && one.public == other.public
        && one.registrar == other.registrar
}
