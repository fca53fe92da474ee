//! The switch's decisions: signalling, calls, flows and media commands, without a socket, a clock or a disk.
//!
//! Inputs: datagrams, media events, opened streams, resolved trunks, each with the time. Outputs: datagrams, media
//! commands, changes of call records, the next deadline. The server, the demo, the simulator and the tests all drive
//! this one engine. It must never block, and a call must never notice another one.

mod actions;
mod admit;
mod call;
mod callee;
mod caller;
mod choice;
mod ending;
mod exchange;
mod guard;
mod hearing;
mod line;
mod public_address;
mod rate;
mod recipe;
mod reload;
mod routes;
mod settings;
mod trace;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::call::disposition::LegDisposition;
use crate::call::leg::Seat;
use crate::call::record::RecordChange;
use crate::call::timers::CallKey;
use crate::directory::Directory;
use crate::flow::catalogue::Piece;
use crate::flow::run::Event as FlowEvent;
use crate::units::{Language, TrunkName};
use call::{Call, Side, Timer};
use exchange::Exchange;
pub use guard::GuardCounters;
use guard::Guards;
pub use routes::{NumberRoute, Route, RouteError, Routes, Wanted};
pub use settings::{
    Hearing, Recipe, Recordings, Settings, Trunk, TrunkState, TrunkStatus, registration_trouble,
};
use trace::{Passing, Sender};
pub use trace::{TraceCounters, TraceRules};

/// A moment on both clocks: the monotonic one for timers, the wall clock for hours and records.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub monotonic: Instant,
    pub wall: Timestamp,
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    Sip(sip::Input<'a>),
    Media(media::Event),
    /// A socket was made for a stream; see [`Output::NeedStreams`].
    StreamReady(Seat),
    /// So many of the sockets asked for could not be made.
    StreamsFailed(usize),
    /// The addresses behind a trunk's host name, best first.
    /// `local` is the address of ours that reaches them.
    TrunkResolved {
        trunk: TrunkName,
        targets: Vec<SocketAddr>,
        local: SocketAddr,
    },
    /// How calls are spread over the addresses that the next [`Input::TrunkResolved`] tells, in their order.
    TrunkShares {
        trunk: TrunkName,
        shares: Vec<sip::Share>,
    },
    /// The same of the servers that a trunk is registered with, where they are others. Told before
    /// [`Input::TrunkResolved`].
    RegistrarsResolved {
        trunk: TrunkName,
        targets: Vec<SocketAddr>,
    },
    /// Another directory for calls that begin from now on.
    Directory(Arc<Directory>),
    /// Other trunks and routes, for calls that begin from now on. Calls in progress keep what they have; a trunk that
    /// is no longer there is left once they end.
    Configure {
        trunks: Vec<Trunk>,
        routes: Routes,
    },
    /// Whether records can be written; calls are refused while they cannot.
    RecordsAccepted(bool),
    /// Take no new calls and leave the trunks.
    Drain,
    /// End every call now.
    EndAll,
}

/// What the switch is to do.
#[derive(Debug)]
pub enum Output {
    /// See [`sip::Output::Transmit`]; [`Engine::trunk`] tells who a peer is.
    Transmit {
        local: SocketAddr,
        destination: SocketAddr,
        transport: sip::Transport,
        peer: Option<sip::PeerId>,
        connection: Option<SocketAddr>,
        bytes: Vec<u8>,
    },
    /// For the media thread of the call, which has all its streams.
    Media {
        call: CallKey,
        command: media::Command,
    },
    /// A stream's socket that was never used can be closed.
    Discard(media::StreamId),
    /// So many sockets should be made ready.
    NeedStreams(usize),
    Records(Vec<RecordChange>),
    Trunk(TrunkStatus),
    /// Something that an operator's ban list may count.
    Sighting {
        source: IpAddr,
        sighting: sip::Sighting,
    },
    /// A source earned a ban by datagrams or by connections: no more of either is looked at for so long.
    Banned {
        source: IpAddr,
        transport: sip::Transport,
        length: Duration,
    },
    /// Whoever is at the other end of this connection answered a challenge as a trunk.
    Proved {
        source: SocketAddr,
        transport: sip::Transport,
    },
    /// What a caller begins to hear, for simulations; see [`Settings::tell_speech`].
    Said {
        language: Language,
        pieces: Vec<Piece>,
    },
    /// Nothing now; call `handle_timeout` at this time.
    Wait(Option<Instant>),
}

/// The engine.
pub struct Engine {
    exchange: Exchange,
    calls: HashMap<CallKey, Box<Call>>,
    guards: Guards,
    /// Sightings that may still be logged in the second that began then.
    sightings: (Option<Instant>, u32),
}

/// Sightings logged in a second; all of them count.
const SIGHTINGS_PER_SECOND: u32 = 20;

impl Engine {
    /// `seed` must be secret and fresh: tags, ids, SSRCs and nonces come from it.
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        Self {
            exchange: Exchange::new(settings, seed),
            calls: HashMap::new(),
            guards: Guards::default(),
            sightings: (None, 0),
        }
    }

    /// Calls whose record is not closed.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing is left to do before the switch ends: no call, no registration, no trace to be written, and no
    /// peer that may not have heard the last of a call.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.exchange.trunks_left()
            && self.exchange.trace.is_written()
            && !self.exchange.endpoint.has_to_say()
    }

    /// The trunk that the SIP core knows as this peer.
    pub fn trunk(&self, peer: sip::PeerId) -> Option<&Trunk> {
        self.exchange.settings.trunks.get(Exchange::index_of(peer))
    }

    /// The peer of the SIP core that a trunk of the configuration is.
    pub fn peer(&self, trunk: &TrunkName) -> Option<sip::PeerId> {
        self.exchange.trunk_index(trunk).map(Exchange::peer_id)
    }

    /// Whether an address is a trunk's.
    pub fn is_trunks(&self, source: IpAddr) -> bool {
        self.exchange.endpoint.is_peer(source)
    }

    /// Whether one that is no trunk's may open a connection now; that counts like a message.
    pub fn admits(&mut self, now: Now, source: IpAddr) -> bool {
        self.guards.streams.admits(now.monotonic, source, || false)
    }

    pub fn trunks(&self) -> Vec<TrunkState> {
        self.exchange.trunk_states()
    }

    pub fn sip_counters(&self) -> sip::Counters {
        self.exchange.endpoint.counters()
    }

    /// Calls turned away because more came in a second than are taken.
    pub fn calls_over_rate(&self) -> u64 {
        self.exchange.over_rate
    }

    pub fn guard_counters(&self) -> GuardCounters {
        self.guards.counters()
    }

    /// Keeps traces of the calls that begin from now on; without this, none.
    pub fn keep_traces(&mut self, rules: TraceRules) {
        self.exchange.trace.set_rules(rules);
    }

    pub fn trace_counters(&self) -> TraceCounters {
        self.exchange.trace.counters()
    }

    /// Whether the flow of the oldest call waits for keys; for simulated callers.
    pub fn waits_for_keys(&self) -> bool {
        self.calls
            .iter()
            .min_by_key(|(key, _)| **key)
            .is_some_and(|(_, call)| call.run.waits_for_keys())
    }

    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Sip(input) => {
                if !self.is_heard(now, &input) {
                    return;
                }
                self.trace_received(now, &input);
                self.exchange.endpoint.handle_input(now.monotonic, input);
                self.drain_sip(now);
                self.exchange.trace.forget_knocking();
            }
            Input::Media(event) => self.on_media(now, event),
            Input::StreamReady(seat) => self.exchange.add_seat(seat),
            Input::StreamsFailed(count) => self.exchange.seats_failed(count),
            Input::TrunkResolved {
                trunk,
                targets,
                local,
            } => {
                self.exchange.set_targets(now, &trunk, targets, local);
                self.drain_sip(now);
            }
            Input::TrunkShares { trunk, shares } => self.exchange.set_shares(&trunk, shares),
            Input::RegistrarsResolved { trunk, targets } => {
                self.exchange.set_registrars(now, &trunk, targets);
                self.drain_sip(now);
            }
            Input::Directory(directory) => self.exchange.settings.directory = directory,
            Input::Configure { trunks, routes } => {
                self.exchange.configure(now, trunks, routes);
                self.drain_sip(now);
            }
            Input::RecordsAccepted(accepted) => self.exchange.records_accepted = accepted,
            Input::Drain => {
                self.exchange.drain();
                self.leave_if_empty(now);
            }
            Input::EndAll => {
                let keys: Vec<CallKey> = self.calls.keys().copied().collect();
                for key in keys {
                    self.with_call(now, key, |exchange, call| exchange.end_for_shutdown(now, call));
                }
                self.drain_sip(now);
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.exchange.endpoint.handle_timeout(now.monotonic);
        self.exchange.tend_trunks(now);
        self.drain_sip(now);
        while let Some((key, timer)) = self.exchange.timers.pop(now.monotonic) {
            self.with_call(now, key, |exchange, call| match timer {
                Timer::Flow(name) => call.pending.push_back(FlowEvent::TimerFired(name)),
                Timer::Dial => exchange.dial_waiting(now, call),
                Timer::TrunkRing | Timer::CalleeLimit => {
                    exchange.hang_up_callee(now, call, LegDisposition::LimitReached)
                }
                Timer::CallerLimit => exchange.end_for_limit(now, call),
                Timer::Totals => exchange.close_without_totals(call),
            });
            self.drain_sip(now);
        }
    }

    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.exchange.outputs.pop_front() {
            return output;
        }
        if !self.exchange.changes.is_empty() {
            return Output::Records(std::mem::take(&mut self.exchange.changes));
        }
        if let Some(wanted) = self.exchange.seats_wanted() {
            return Output::NeedStreams(wanted);
        }
        let deadlines = [
            self.exchange.sip_deadline,
            self.exchange.timers.next(),
            self.exchange.next_tending(),
            self.exchange.trace.deadline(),
        ];
        Output::Wait(deadlines.into_iter().flatten().min())
    }

    /// Whether a message is worth parsing: a trunk's always is.
    fn is_heard(&mut self, now: Now, input: &sip::Input<'_>) -> bool {
        match input {
            sip::Input::Received {
                source,
                transport,
                bytes,
                ..
            } => {
                let endpoint = &self.exchange.endpoint;
                endpoint.is_peer(source.ip())
                    || self.guards.of(*transport).admits(now.monotonic, source.ip(), || {
                        endpoint.accepts_credentials() && guard::carries_credentials(bytes)
                    })
            }
            sip::Input::ReceivedFrom { source, .. } => {
                self.guards.proved(now.monotonic, source.ip());
                true
            }
            _ => true,
        }
    }

    fn trace_received(&mut self, now: Now, input: &sip::Input<'_>) {
        let (local, source, transport, bytes, is_proven) = match *input {
            sip::Input::Received {
                local,
                source,
                transport,
                bytes,
            } => (local, source, transport, bytes, false),
            sip::Input::ReceivedFrom {
                local,
                source,
                transport,
                bytes,
                ..
            } => (local, source, transport, bytes, true),
            _ => return,
        };
        let sender = if is_proven || self.exchange.endpoint.is_peer(source.ip()) {
            Sender::Peer
        } else if self.guards.datagrams.knows(now.monotonic, source.ip()) {
            Sender::Acquaintance
        } else {
            Sender::Stranger
        };
        let passing = Passing {
            sent: false,
            local,
            remote: source,
            transport,
            bytes,
        };
        self.exchange.trace.pass(now, passing, sender);
    }

    fn on_sighting(&mut self, now: Now, source: IpAddr, transport: sip::Transport, sighting: sip::Sighting) {
        let outputs = &mut self.exchange.outputs;
        let (since, left) = &mut self.sightings;
        if since.is_none_or(|since| now.monotonic.saturating_duration_since(since) >= Duration::from_secs(1))
        {
            (*since, *left) = (Some(now.monotonic), SIGHTINGS_PER_SECOND);
        }
        if *left > 0 {
            *left -= 1;
            outputs.push_back(Output::Sighting { source, sighting });
        }
        if !self.exchange.endpoint.is_peer(source)
            && let Some(length) = self.guards.of(transport).sighted(now.monotonic, source, sighting)
        {
            outputs.push_back(Output::Banned {
                source,
                transport,
                length,
            });
        }
    }

    /// Takes all that the SIP core has to say, until it waits.
    fn drain_sip(&mut self, now: Now) {
        loop {
            match self.exchange.endpoint.poll_output() {
                sip::Output::Transmit {
                    local,
                    destination,
                    transport,
                    peer,
                    connection,
                    bytes,
                } => {
                    // Strangers are answered only on the keep-alives of a connection, and by a challenge; any other
                    // message goes to a trunk, or to what a trunk's call leads to.
                    let is_for_anyone = bytes == b"\r\n" || bytes.starts_with(b"SIP/2.0 401 ");
                    if !is_for_anyone && !self.exchange.endpoint.is_peer(destination.ip()) {
                        self.guards.sent_to(now.monotonic, destination.ip());
                    }
                    let passing = Passing {
                        sent: true,
                        local,
                        remote: destination,
                        transport,
                        bytes: &bytes,
                    };
                    self.exchange.trace.pass(now, passing, Sender::Peer);
                    self.exchange.outputs.push_back(Output::Transmit {
                        local,
                        destination,
                        transport,
                        peer,
                        connection,
                        bytes,
                    });
                }
                sip::Output::Event(event) => self.on_sip(now, event),
                sip::Output::Wait(deadline) => {
                    self.exchange.sip_deadline = deadline;
                    self.exchange.settle_traces(now);
                    return;
                }
                _ => return,
            }
        }
    }

    fn on_sip(&mut self, now: Now, event: sip::Event) {
        match event {
            sip::Event::Incoming {
                session,
                peer,
                invite,
            } => {
                if let Some((key, call)) = self.exchange.admit(now, session, peer, &invite, self.calls.len())
                {
                    self.calls.insert(key, call);
                    self.with_call(now, key, |_, call| call.pending.push_back(FlowEvent::Started));
                }
            }
            sip::Event::Security {
                source,
                transport,
                sighting,
            } => self.on_sighting(now, source, transport, sighting),
            sip::Event::Proved {
                source, transport, ..
            } => {
                self.guards.proved(now.monotonic, source.ip());
                if transport.is_reliable() {
                    let outputs = &mut self.exchange.outputs;
                    outputs.push_back(Output::Proved { source, transport });
                }
            }
            event => match call::session_of(&event) {
                Some(session) => {
                    let Some(&(key, side)) = self.exchange.sessions.get(&session) else {
                        return;
                    };
                    self.with_call(now, key, |exchange, call| match side {
                        Side::Caller => exchange.on_caller_event(now, call, event),
                        Side::Callee => exchange.on_callee_event(now, call, event),
                    });
                }
                None => {
                    self.exchange.on_trunk_event(now, event);
                }
            },
        }
    }

    fn on_media(&mut self, now: Now, event: media::Event) {
        let stream = match &event {
            media::Event::DigitPressed { stream, .. }
            | media::Event::Heard { stream, .. }
            | media::Event::Played { stream, .. }
            | media::Event::Started { stream }
            | media::Event::Silent { stream }
            | media::Event::Closed { stream, .. } => *stream,
        };
        let Some(&(key, side)) = self.exchange.streams.get(&stream) else {
            return;
        };
        self.with_call(now, key, |exchange, call| {
            exchange.on_media_event(now, call, side, event)
        });
        self.drain_sip(now);
    }

    /// Lets something happen to a call, then lets its flow react until it rests; forgets the call once it is over.
    fn with_call(&mut self, now: Now, key: CallKey, happening: impl FnOnce(&mut Exchange, &mut Call)) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        happening(&mut self.exchange, call);
        self.exchange.settle(now, call);
        if self.exchange.finish_if_over(now, call) {
            let generation = call.generation;
            self.calls.remove(&key);
            self.exchange.generations.ended(generation);
            self.exchange.leave_retired(now);
            self.leave_if_empty(now);
        }
    }

    fn leave_if_empty(&mut self, now: Now) {
        if self.exchange.is_draining() && self.calls.is_empty() {
            self.exchange.leave(now);
            self.drain_sip(now);
        }
    }
}
