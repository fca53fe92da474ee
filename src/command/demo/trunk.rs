//! The simulated trunk: a registrar that challenges, and the telephone network behind it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::caller::Caller;
use super::office::{Office, Sighting};
use super::peer::{Account, Algorithm, Arrival, Registrar, Registration, UserAgent};
use super::timeline::Timeline;

/// How many sightings may wait to be read.
const SIGHTINGS: usize = 1024;

/// What a trunk is made of.
#[derive(Debug, Clone)]
pub struct TrunkPlan {
    pub address: SocketAddr,
    /// Where the callers' telephones listen.
    pub media: IpAddr,
    /// The account the server registers with; without one, REGISTER is refused.
    pub account: Option<Account>,
    /// Digest algorithms offered, preferred first.
    pub algorithms: Vec<Algorithm>,
    /// The longest registration granted.
    pub longest: Duration,
    pub offices: Vec<Office>,
}

/// Where the server registered itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub contact: String,
    pub algorithm: Algorithm,
    /// How often it has registered: refreshes count.
    pub times: u32,
}

/// What the trunk knows of its customer.
#[derive(Debug, Clone, Default)]
pub struct Customer {
    pub challenged: u32,
    pub bound: Option<Bound>,
    pub refused: u32,
    /// Registrations taken back.
    pub removed: u32,
    /// Datagrams that an independent SIP reader could not read.
    pub unreadable: u32,
}

/// A running trunk.
#[derive(Debug)]
pub struct Trunk {
    agent: Arc<UserAgent>,
    media: IpAddr,
    customer: watch::Receiver<Customer>,
    sightings: mpsc::Receiver<Sighting>,
    timeline: Timeline,
}

impl Trunk {
    /// Opens the trunk's address and serves it until the trunk is dropped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn open(plan: TrunkPlan, timeline: Timeline) -> io::Result<Trunk> {
        let registrar = plan
            .account
            .clone()
            .map(|account| Registrar::new(account, plan.algorithms.clone(), plan.longest));
        let (agent, arrivals) = UserAgent::open(plan.address, registrar).await?;
        let (tell, customer) = watch::channel(Customer::default());
        let (seen, sightings) = mpsc::channel(SIGHTINGS);
        tokio::spawn(serve(plan.offices, arrivals, tell, seen, timeline));
        Ok(Trunk {
            agent: Arc::new(agent),
            media: plan.media,
            customer,
            sightings,
            timeline,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.agent.address()
    }

    pub fn customer(&self) -> Customer {
        self.customer.borrow().clone()
    }

    /// Waits until the customer's state is as wanted; false when that takes too long.
    pub async fn until(&mut self, longest: Duration, wanted: impl FnMut(&Customer) -> bool) -> bool {
        matches!(
            tokio::time::timeout(longest, self.customer.wait_for(wanted)).await,
            Ok(Ok(_))
        )
    }

    /// The next thing an office saw, or nothing within that time.
    pub async fn sighting(&mut self, longest: Duration) -> Option<Sighting> {
        tokio::time::timeout(longest, self.sightings.recv())
            .await
            .ok()
            .flatten()
    }

    /// All that offices saw and nobody asked for yet.
    pub fn sightings_so_far(&mut self) -> Vec<Sighting> {
        std::iter::from_fn(|| self.sightings.try_recv().ok()).collect()
    }

    /// Somebody behind the trunk dials `number` at `server`.
    ///
    /// # Errors
    /// When no media port is to be had.
    pub async fn caller(&self, server: SocketAddr, from: &str, number: &str) -> io::Result<Caller> {
        Caller::dial(&self.agent, self.media, server, from, number, self.timeline).await
    }
}

async fn serve(
    offices: Vec<Office>,
    mut arrivals: mpsc::Receiver<Arrival>,
    tell: watch::Sender<Customer>,
    seen: mpsc::Sender<Sighting>,
    timeline: Timeline,
) {
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Registration(registration) => {
                tell.send_modify(|customer| note(customer, registration, timeline));
            }
            Arrival::Unreadable { source, text } => {
                timeline.tell("trunk", &format!("cannot read what {source} sent: {text:?}"));
                tell.send_modify(|customer| customer.unreadable += 1);
            }
            Arrival::Call(call) => {
                let dialled = call
                    .invitation
                    .as_ref()
                    .map(|invitation| digits(&invitation.number));
                let office = offices
                    .iter()
                    .find(|office| Some(digits(&office.number)) == dialled);
                match office {
                    Some(office) => drop(tokio::spawn(office.clone().treat(call, seen.clone(), timeline))),
                    None => {
                        let number = dialled.unwrap_or_default();
                        timeline.tell("trunk", &format!("nobody has the number {number}"));
                        call.reject((404, "Not Found"), Vec::new()).await;
                    }
                }
            }
        }
    }
}

fn note(customer: &mut Customer, registration: Registration, timeline: Timeline) {
    match registration {
        Registration::Challenged => {
            timeline.tell("trunk", "asks for the password (digest challenge)");
            customer.challenged += 1;
        }
        Registration::Accepted {
            contact,
            algorithm,
            expires,
        } => {
            let name = algorithm.name();
            let seconds = expires.as_secs();
            timeline.tell(
                "trunk",
                &format!("registered: password proved with {name}, for {seconds} s"),
            );
            let times = customer.bound.as_ref().map_or(0, |bound| bound.times) + 1;
            customer.bound = Some(Bound {
                contact,
                algorithm,
                times,
            });
        }
        Registration::Removed => {
            timeline.tell("trunk", "registration taken back");
            customer.bound = None;
            customer.removed += 1;
        }
        Registration::Refused { status } => {
            timeline.tell("trunk", &format!("registration refused: {status}"));
            customer.refused += 1;
        }
    }
}

/// The ten digits of a North American number however it is written.
fn digits(number: &str) -> String {
    let all: String = number.chars().filter(char::is_ascii_digit).collect();
    match all.strip_prefix('1') {
        Some(rest) if rest.len() == 10 => rest.to_owned(),
        _ => all,
    }
}
