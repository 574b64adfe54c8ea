//! The circuit breakers, one for each instance: one that failed several times in a row is left alone for a while, and then
//! asked by a single request on trial. Nothing here looks at a clock; whoever calls says what time it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::ErrorKind;

/// The breakers of a process.
#[derive(Debug)]
pub(super) struct Breakers {
    /// Failures in a row after which an instance is left alone, and for how long.
    most_failures: u32,
    pause: Duration,
    instances: Mutex<BTreeMap<String, Breaker>>,
}

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    state: State,
    /// The last failure, in a word and for people.
    kind: ErrorKind,
    problem: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Closed,
    /// Left alone until then.
    Open(Instant),
    /// One request finds out whether it answers again.
    Trial,
}

/// Leave to ask an instance. Dropped without a verdict, it changes nothing but that another may be the one on trial.
#[derive(Debug)]
pub(super) struct Permit {
    breakers: Arc<Breakers>,
    instance: String,
    given: Instant,
    /// The failures before a trial; `None` for an instance in good standing.
    pub(super) trial_after: Option<u32>,
}

/// Why an instance is not asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeftAlone {
    pub(super) failures: u32,
    /// For how long still; `None`: another request is on trial.
    pub(super) time: Option<Duration>,
    /// Its last failure, in a word and for people.
    pub(super) kind: ErrorKind,
    pub(super) problem: String,
}

impl Breakers {
    pub(super) fn new(most_failures: u32, pause: Duration) -> Arc<Breakers> {
        Arc::new(Breakers { most_failures, pause, instances: Mutex::default() })
    }

    /// Leave to ask an instance now.
    pub(super) fn admit(self: &Arc<Self>, instance: &str, now: Instant) -> Result<Permit, LeftAlone> {
        self.with(instance, |breaker| {
            let trial_after = match breaker.state {
                State::Closed => None,
                State::Open(until) if now >= until => {
                    breaker.state = State::Trial;
                    Some(breaker.failures)
                }
                State::Open(until) => return Err(breaker.left_alone(Some(until - now))),
                State::Trial => return Err(breaker.left_alone(None)),
            };
            Ok(Permit { breakers: Arc::clone(self), instance: instance.to_owned(), given: now, trial_after })
        })
    }

    fn with<R>(&self, instance: &str, change: impl FnOnce(&mut Breaker) -> R) -> R {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        change(instances.entry(instance.to_owned()).or_default())
    }
}

impl Breaker {
    fn left_alone(&self, time: Option<Duration>) -> LeftAlone {
        LeftAlone { failures: self.failures, time, kind: self.kind, problem: self.problem.clone() }
    }
}

impl Permit {
    /// It answers; true if it had been left alone before.
    pub(super) fn succeeded(mut self) -> bool {
        let closed = self.trial_after.take().is_some();
        self.breakers.with(&self.instance, |breaker| {
            // An answer to a question from before it was left alone says little.
            if closed || breaker.state == State::Closed {
                *breaker = Breaker::default();
            }
        });
        closed
    }

    /// It failed; the time for which it is left alone from now on, if this was one time too many.
    pub(super) fn failed(mut self, kind: ErrorKind, problem: String, now: Instant) -> Option<Duration> {
        let trial = self.trial_after.take().is_some();
        let Breakers { most_failures, pause, .. } = *self.breakers;
        self.breakers.with(&self.instance, |breaker| {
            breaker.failures = breaker.failures.saturating_add(1);
            (breaker.kind, breaker.problem) = (kind, problem);
            let opens = trial || (breaker.state == State::Closed && breaker.failures >= most_failures);
            opens.then(|| {
                breaker.state = State::Open(now + pause);
                pause
            })
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.trial_after.is_some() {
            self.breakers.with(&self.instance, |breaker| breaker.state = State::Open(self.given));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn opened() -> (Arc<Breakers>, Instant) {
        let (breakers, now) = (Breakers::new(5, PAUSE), Instant::now());
        for _ in 0..4 {
            assert_eq!(
                breakers.admit("box", now).unwrap().failed(ErrorKind::Overloaded, "refused".to_owned(), now),
                None
            );
        }
        assert_eq!(
            breakers.admit("box", now).unwrap().failed(ErrorKind::Overloaded, "refused".to_owned(), now),
            Some(PAUSE)
        );
        (breakers, now)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_another_instance_is_not_meant() {
        let (breakers, now) = opened();
        let later = now + Duration::from_secs(10);
        let left = breakers.admit("box", later).unwrap_err();
        let expected = LeftAlone {
            failures: 5,
            time: Some(Duration::from_secs(20)),
            kind: ErrorKind::Overloaded,
            problem: "refused".to_owned(),
        };
        assert_eq!(left, expected);
        assert_eq!(breakers.admit("other", later).unwrap().trial_after, None);
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew() {
        let (breakers, now) = (Breakers::new(2, PAUSE), Instant::now());
        for _ in 0..3 {
            assert_eq!(breakers.admit("box", now).unwrap().failed(ErrorKind::Network, String::new(), now), None);
            assert!(!breakers.admit("box", now).unwrap().succeeded());
        }
    }

    #[test]
    fn one_request_is_on_trial_and_decides() {
        let (breakers, now) = opened();
        let later = now + PAUSE;
        let trial = breakers.admit("box", later).unwrap();
        assert_eq!(trial.trial_after, Some(5));
        assert_eq!(breakers.admit("box", later).unwrap_err().time, None);
        assert_eq!(trial.failed(ErrorKind::Network, "still refused".to_owned(), later), Some(PAUSE));
        assert_eq!(breakers.admit("box", later).unwrap_err().time, Some(PAUSE));

        let trial = breakers.admit("box", later + PAUSE).unwrap();
        assert!(trial.succeeded());
        assert_eq!(breakers.admit("box", later + PAUSE).unwrap().trial_after, None);
    }

    #[test]
    fn a_trial_without_verdict_leaves_the_next_one_to_another() {
        let (breakers, now) = opened();
        drop(breakers.admit("box", now + PAUSE).unwrap());
        assert_eq!(breakers.admit("box", now + PAUSE).unwrap().trial_after, Some(5));
    }

    #[test]
    fn an_answer_from_before_does_not_close_it() {
        let (breakers, now) = (Breakers::new(1, PAUSE), Instant::now());
        let slow = breakers.admit("box", now).unwrap();
        assert_eq!(breakers.admit("box", now).unwrap().failed(ErrorKind::Network, String::new(), now), Some(PAUSE));
        assert!(!slow.succeeded());
        assert!(breakers.admit("box", now).is_err());
    }
}
