//! Requests that wait, and whose turn it is: a session that has fewer requests under way comes first, and of equals who
//! came first.

use std::collections::{HashMap, VecDeque};

use super::sequence;
use crate::event::Event;
use crate::places::Place;
use crate::prepare::Job;

/// The requests that wait, in the order they came.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    job: Job,
    /// Its place among those the engine accepts.
    _place: Place,
    /// The position its reader knows, from 1.
    told: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, (job, place): (Job, Place)) {
        self.waiting.push_back(Waiting { job, _place: place, told: 0 });
    }

    pub(super) fn drop_cancelled(&mut self) {
        self.waiting.retain(|waiting| {
            let cancelled = waiting.job.cancel.is_cancelled() || waiting.job.events.is_closed();
            if cancelled {
                sequence::refuse_cancelled(&waiting.job);
            }
            !cancelled
        });
    }

    /// The next request, when these sessions have a request under way, each as often as it has one.
    pub(super) fn next(&mut self, running: &[&str]) -> Option<Job> {
        let next = *self.turns(running).first()?;
        self.waiting.remove(next).map(|waiting| waiting.job)
    }

    /// Tells everyone whose position has changed, if the reader keeps up.
    pub(super) fn tell(&mut self, running: &[&str]) {
        for (index, turn) in self.turns(running).into_iter().enumerate() {
            let Waiting { job, told, .. } = &mut self.waiting[turn];
            let position = index + 1;
            if *told != position && job.events.capacity() == job.events.max_capacity() {
                *told = position;
                let _ = job.events.try_send(Ok(Event::Queued { position: position as u32 }));
            }
        }
    }

    fn turns(&self, running: &[&str]) -> Vec<usize> {
        turns(running.iter().copied(), self.waiting.iter().map(|waiting| waiting.job.session.as_str()))
    }
}

/// In which order requests of `waiting` sessions begin: each adds one to what its session has under way, and the least
/// comes first.
fn turns<'a>(running: impl Iterator<Item = &'a str>, waiting: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for session in running {
        *counts.entry(session).or_default() += 1;
    }
    let mut turns: Vec<(usize, usize)> = waiting
        .enumerate()
        .map(|(index, session)| {
            let count = counts.entry(session).or_default();
            *count += 1;
            (*count, index)
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_take_turns() {
        let order = |running: &[&'static str], waiting: &[&'static str]| {
            turns(running.iter().copied(), waiting.iter().copied())
        };
        assert_eq!(order(&[], &["a", "a", "b"]), [0, 2, 1]);
        assert_eq!(order(&["a", "a"], &["a", "a", "b", "b", "b"]), [2, 3, 0, 4, 1]);
        assert_eq!(order(&["b"], &["a", "b", "c", "a"]), [0, 2, 1, 3]);
        assert!(order(&["a"], &[]).is_empty());
    }
}
