//! With `-v`: what was decided on the way from a request to a model that answers it, wherever that was decided.

use perilune_protocol::ModelEvent;
use tracing::{Level, enabled, info};

/// Whether anybody sees what [`log`] writes.
pub fn are_wanted() -> bool {
    enabled!(Level::INFO)
}

/// Writes a decision to the log; other events are none. Of an error only its kind: a server's words may quote the prompt, and are in the
/// answer's route and in the error.
pub fn log(event: &ModelEvent) {
    let ModelEvent::RouteDecision(decision) = event else { return };
    let by = decision.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let wait = decision.wait_ms.map(|wait| format!(" in {wait} ms")).unwrap_or_default();
    let reason = decision.kind.as_ref().unwrap_or(&decision.reason);
    info!("route: {}{by} {}{wait}: {reason}", decision.action.as_str(), decision.model);
}
