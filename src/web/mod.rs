//! Pages and programming interface of the running switch. So far: its state, for `trunkline status` and monitors.
//!
//! Inputs: HTTP requests, the switch's published state. Outputs: JSON. It decides nothing about calls.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use crate::switch::Status;

/// Serves until the runtime ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, status: watch::Receiver<Status>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let routes = Router::new()
        .route("/status", get(show_status))
        .route("/healthz", get(health))
        .with_state(status);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!("status page: {error}");
        }
    });
    Ok(())
}

async fn show_status(State(status): State<watch::Receiver<Status>>) -> Json<Status> {
    Json(status.borrow().clone())
}

/// 200 while calls are taken, 503 while draining or while records cannot be written.
async fn health(State(status): State<watch::Receiver<Status>>) -> (StatusCode, &'static str) {
    let status = status.borrow();
    match (status.draining, &status.records_trouble) {
        (false, None) => (StatusCode::OK, "ok\n"),
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "records cannot be written\n"),
    }
}
