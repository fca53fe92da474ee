//! Who can be called and when: the offline directory of legislators, their offices, hours and districts.
//!
//! Inputs: the bytes of data files (`import`), the compact table built into the program (`bundle`), and instants.
//! Outputs: an immutable [`Directory`], which says whom a ZIP code reaches ([`Directory::locate`]), and whether an
//! office is open ([`Directory::open_state`]). Law: federal holidays by 5 USC 6103, time zones by the IANA database.
//!
//! It never reads a file, a clock or the network, never drops a sitting member because an *expected* end of term has
//! passed, and never guesses silently: every answer to a ZIP code carries its rule and confidence.

mod bundle;
mod dataset;
mod diff;
mod district;
mod holiday;
mod hours;
pub mod import;
mod locate;
mod nearest;
mod office;
mod point;
mod snapshot;
mod states;
mod target;
mod version;
mod zip_index;

pub use bundle::{BundleError, BundleFile};
pub use dataset::{Dataset, HolidayRow, OfficeRow, ShareRow, Source, SourceKind, TargetRow, ZipRow};
pub use diff::{Change, changes};
pub use district::{District, DistrictError, DistrictShare};
pub use holiday::{Closures, FederalHoliday, Scope, federal_holiday};
pub use hours::{HoursError, OpenSpan, OpenState, PRE_CLOSE_MARGIN, WeeklyHours};
pub use locate::{Confidence, Located, MINIMUM_ASKED_SHARE, Rule, ZipKind};
pub use nearest::OfficeDistance;
pub use office::{HoursBasis, Office, OfficeKind};
pub use point::Point;
pub use snapshot::{Counts, Directory};
pub use states::{Standing, StateFacts, facts, facts_by_fips};
pub use target::{Chamber, StateRank, Target, Title};
