//! The longest that one generation may take, whatever provider runs it.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Error;
use crate::provider::{EventStream, GenerateRequest};

/// More than this is as good as no limit, and more than clocks can count.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time a request may take, and what it is told then.
pub struct Limit {
    time: Duration,
    error: Error,
}

impl Limit {
    /// The limit of a request to `instance`: its own, or the configured one if that is less; `None` without either. Fails
    /// when the request's is no time above zero.
    pub fn of(request: &GenerateRequest, instance: &str, configured: Option<Duration>) -> Result<Option<Limit>, Error> {
        Limit::of_time(&request.model, request.options.timeout_seconds, instance, configured)
    }

    /// The limit of something else that is asked of a model: its own, in seconds, or the configured one if that is less.
    pub fn of_time(
        model: &str,
        seconds: Option<f64>,
        instance: &str,
        configured: Option<Duration>,
    ) -> Result<Option<Limit>, Error> {
        let model = model.to_owned();
        let own = match seconds {
            Some(seconds) if seconds > 0.0 => {
                let limit = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST);
                Some(Limit { time: limit, error: Error::Deadline { model: model.clone(), limit } })
            }
            Some(seconds) => {
                let source = perilune_engine::Error::InvalidOption {
                    name: "timeout_seconds",
                    value: seconds.to_string(),
                    expected: "a number above 0".to_owned(),
                };
                return Err(Error::engine(&model, source));
            }
            None => None,
        };
        let configured = configured.map(|limit| {
            let error = Error::Timeout { model, instance: instance.to_owned(), limit };
            Limit { time: limit, error }
        });
        Ok([own, configured].into_iter().flatten().min_by_key(|limit| limit.time))
    }
}

/// Ends `events` with the limit's error once its time has passed since the first poll; ending it drops it, which cancels
/// the generation.
pub fn limited(events: EventStream, limit: Result<Option<Limit>, Error>) -> EventStream {
    let Limit { time, error } = match limit {
        Ok(Some(limit)) => limit,
        Ok(None) => return events,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = (events, None::<Instant>, Some(error));
    stream::unfold(state, move |(mut events, deadline, mut error)| async move {
        error.as_ref()?;
        let deadline = deadline.unwrap_or_else(|| Instant::now() + time);
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

/// Ends what gives one value as [`limited`] ends what gives many.
pub async fn within<T>(
    limit: Result<Option<Limit>, Error>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(Limit { time, error }) = limit? else {
        return work.await;
    };
    timeout(time, work).await.unwrap_or(Err(error))
}
