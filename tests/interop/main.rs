//! Our server with peers that nobody here wrote: SIPp as caller and as office, baresip and PJSIP as softphones,
//! Kamailio as proxy, registrar and dispatcher before it, and a trunk with telephones on rsip. Everything on private
//! loopback addresses; processes are ended by the id that was started, so that several runs can go on side by side.
//!
//! Where one of them is not installed, its tests are left out with a line that says so; with `CI=true` or
//! `TRUNKLINE_PEERS=required` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what must not happen"
)]

mod bare;
mod calls;
mod certificates;
mod demo;
mod hearing;
mod kamailio;
mod keys;
mod names;
mod patience;
mod pjsip;
mod place;
mod races;
mod records;
mod script;
mod server;
mod sipp;
mod softphone;
mod sound;

/// Whether a program can be run.
fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    peer_is_there(
        program,
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()),
    )
}

/// Tells when a test is left out for want of a peer, fails where that is not allowed.
fn peer_is_there(peer: &str, there: bool) -> bool {
    if there {
        return true;
    }
    let required = ["CI", "TRUNKLINE_PEERS"].map(|name| std::env::var(name).unwrap_or_default());
    let must = required[0] == "true" || required[1] == "required";
    assert!(
        !must,
        "{peer} is not installed; scripts/tools interop installs it"
    );
    println!("left out: {peer} is not installed (scripts/tools interop installs it)");
    false
}
