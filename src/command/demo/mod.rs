//! A whole hotline on loopback: simulated trunk, caller and offices around the real server.

mod caller;
mod checks;
mod office;
pub mod peer;
mod run;
mod stage;
mod story;
mod timeline;
mod trunk;

pub use caller::Caller;
pub use office::{Conduct, Office, Sighting};
pub use run::{Args, run};
pub use timeline::Timeline;
pub use trunk::{Bound, Customer, Trunk, TrunkPlan};
