//! The longest that one generation may take, whatever provider runs it.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::provider::EventStream;

/// Ends `events` with `error` once `limit` has passed since the first poll; ending it drops it,
/// which cancels the generation.
pub fn limited(events: EventStream, limit: Duration, error: Error) -> EventStream {
    let state = (events, None::<Instant>, Some(error));
    stream::unfold(state, move |(mut events, deadline, mut error)| async move {
        error.as_ref()?;
        let deadline = deadline.unwrap_or_else(|| Instant::now() + limit);
        match timeout_at(deadline, events.next()).await {
            Ok(event) => event.map(|event| (event, (events, Some(deadline), error))),
            Err(_) => {
                let error = error.take()?;
                let ended = stream::empty().boxed();
                Some((Err(error), (ended, Some(deadline), None)))
            }
        }
    })
    .boxed()
}
