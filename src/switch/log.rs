//! What a running switch says of calls and trunks in its log.

use std::net::IpAddr;

use super::engine::{TrunkStatus, registration_trouble};
use crate::call::record::RecordChange;

/// One line when a call begins and one when it ends; nobody's number is in them but ours.
pub(super) fn call(change: &RecordChange) {
    match change {
        RecordChange::CallOpened(opened) => {
            let number = opened.route.number.as_deref().unwrap_or_default();
            tracing::info!(call = %opened.call, number, "call began");
        }
        RecordChange::CallClosed(closed) => {
            tracing::info!(call = %closed.call, disposition = %closed.disposition, "call ended");
        }
        _ => {}
    }
}

/// What became of a registration.
pub(super) fn trunk(status: &TrunkStatus) {
    match status {
        TrunkStatus::Registered { trunk, expires } => {
            tracing::info!(%trunk, seconds = expires.as_secs(), "registered");
        }
        TrunkStatus::RegistrationFailed {
            trunk,
            status,
            retry_in,
        } => {
            let trouble = registration_trouble(*status);
            tracing::error!(%trunk, status, retry_seconds = retry_in.as_secs(), "not registered: {trouble}");
        }
        TrunkStatus::NotServed { trunk, number } => {
            tracing::warn!(%trunk, "a call for {number} was refused: no [[number]] matches");
        }
        TrunkStatus::NoCommonCodec { trunk } => {
            tracing::warn!(%trunk, "a call was refused: its sound is in no codec that this trunk may use");
        }
        TrunkStatus::PassedOver { trunk, next, why } => {
            tracing::warn!("trunk {trunk}: {why}; the call goes on over {next}");
        }
        TrunkStatus::LargeByUdp { trunk } => {
            tracing::warn!(%trunk, "a request of more than 1300 bytes went by UDP: the trunk takes no TCP now");
        }
        TrunkStatus::ForeignRealm { trunk, realm } => {
            tracing::error!(
                %trunk,
                realm,
                "a challenge for another realm was not answered; if the realm is the trunk's, set [[trunk]] realm to it"
            );
        }
        TrunkStatus::Down { trunk } => tracing::error!(%trunk, "the trunk no longer answers OPTIONS"),
        TrunkStatus::Up { trunk } => tracing::info!(%trunk, "the trunk answers OPTIONS again"),
        TrunkStatus::SeenAt { trunk, address } => {
            tracing::info!(%trunk, %address, "the trunk sees us at another address");
        }
        TrunkStatus::Left { trunk } => tracing::info!(%trunk, "de-registered"),
    }
}

/// What a stranger did: a line that ban lists read, and in words what an operator may have to set right.
pub(super) fn sighting(source: IpAddr, sighting: sip::Sighting) {
    tracing::warn!("SECURITY ip={source} event={sighting:?}");
    if sighting == sip::Sighting::StrangerInvite {
        tracing::warn!(
            "a call from {source}, which belongs to no trunk ([[trunk]] addresses), was not answered"
        );
    }
}
