//! What follows from a failure: the same model again after a wait, the next one, or the end. Chance comes in as a number, so
//! that a test can say it.

use std::time::Duration;

use crate::config::RoutingConfig;
use crate::error::{Error, ErrorKind};

/// What is done after a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// Ask the same model again after this time.
    Retry(Duration),
    /// Ask the next model, if there is one.
    Fallback,
    /// Nothing else: another model would do no better, or was not meant for this.
    End,
}

/// Whether a failure says that the instance cannot answer now, rather than something about the request.
pub(super) fn is_unavailable(error: &Error) -> bool {
    match error {
        // The caller's own time is over.
        Error::Deadline { .. } => false,
        // Lists are written for machines that have one or the other.
        Error::ModelNotFound { .. } | Error::ProviderNotFound { .. } => true,
        error => matches!(
            error.kind(),
            ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Network
        ),
    }
}

/// Whether a failure counts against the instance: it is down or too busy, rather than tired of whoever asks.
pub(super) fn is_instances_fault(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Network)
}

/// What follows when an instance elsewhere failed for the `attempt`th time, from 1. `chance` is from 0 to 1.
pub(super) fn next(error: &Error, attempt: u32, routing: &RoutingConfig, chance: f64) -> Next {
    if !is_unavailable(error) {
        return Next::End;
    }
    // What took all the time that it was given would take it again.
    let passes = matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Network);
    if !passes || attempt > routing.retries {
        return Next::Fallback;
    }
    let doubled = routing.first_wait.saturating_mul(1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
    let whole = doubled.min(routing.longest_wait);
    // Somewhere between half of it and all of it, so that those who failed together do not come back together.
    let wait = whole.mul_f64(0.5 + chance / 2.0);
    match error.retry_after() {
        Some(after) if after > routing.longest_wait => Next::Fallback,
        Some(after) => Next::Retry(after.max(wait)),
        None => Next::Retry(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: ErrorKind) -> Error {
        Error::Elsewhere { instance: "box".to_owned(), kind, problem: "no".to_owned() }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_vary_by_half() {
        let routing = RoutingConfig { retries: 10, ..RoutingConfig::default() };
        let wait = |attempt, chance| next(&failure(ErrorKind::Network), attempt, &routing, chance);
        let seconds = |seconds| Next::Retry(Duration::from_secs_f64(seconds));
        assert_eq!([1, 2, 3].map(|attempt| wait(attempt, 1.0)), [0.5, 1.0, 2.0].map(seconds));
        assert_eq!(wait(2, 0.0), seconds(0.5));
        assert_eq!(wait(9, 1.0), seconds(30.0));
        assert_eq!(wait(11, 1.0), Next::Fallback);
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_only_what_is_unavailable_elsewhere() {
        let next = |error: &Error| next(error, 1, &RoutingConfig::default(), 1.0);
        for kind in [ErrorKind::RateLimited, ErrorKind::Overloaded, ErrorKind::Network] {
            assert!(matches!(next(&failure(kind)), Next::Retry(_)), "{kind}");
        }
        assert_eq!(next(&failure(ErrorKind::Timeout)), Next::Fallback);
        for kind in
            [ErrorKind::Authentication, ErrorKind::InvalidRequest, ErrorKind::ContextOverflow, ErrorKind::Budget]
        {
            assert_eq!(next(&failure(kind)), Next::End, "{kind}");
        }
        let deadline = Error::Deadline { model: "m".to_owned(), limit: Duration::from_secs(1) };
        assert_eq!(next(&deadline), Next::End);
        let missing = |unreachable: &[&str]| Error::ModelNotFound {
            model: "m".to_owned(),
            instances: Vec::new(),
            near: Vec::new(),
            unreachable: unreachable.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(next(&missing(&[])), Next::Fallback);
        assert_eq!(next(&missing(&["`box` is down"])), Next::Fallback);
    }
}
