//! A bounded number of places that sessions share: none takes so many that others find no place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many places, of which a session may hold at most as many as it leaves free (the dynamic thresholds of A. K. Choudhury and
/// E. L. Hahne, 1998, with a factor of 1): half of all while it is alone, and who comes later gets half of the rest.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_session: HashMap<String, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    session: String,
}

/// There was no place for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace {
    /// Places that are taken.
    pub taken: usize,
    /// Those of them that the session has.
    pub own: usize,
}

impl Places {
    /// `most` places, all free.
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default() })
    }

    /// A place for a session, unless it has its share already.
    pub fn take(self: &Arc<Self>, session: &str) -> Result<Place, NoPlace> {
        let mut taken = self.taken();
        let own = taken.by_session.get(session).copied().unwrap_or_default();
        if own >= self.most - taken.all {
            return Err(NoPlace { taken: taken.all, own });
        }
        taken.all += 1;
        taken.by_session.insert(session.to_owned(), own + 1);
        Ok(Place { places: Arc::clone(self), session: session.to_owned() })
    }

    /// Nothing between two changes of it can panic, so a poisoned lock is still sound.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(own) = taken.by_session.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                taken.by_session.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_half_of_what_others_left() {
        let places = Places::new(16);
        let all_of = |session: &str| -> Vec<Place> { (0..16).map_while(|_| places.take(session).ok()).collect() };
        let first = all_of("a");
        let others = ["b", "c", "d"].map(all_of);
        assert_eq!((first.len(), others.each_ref().map(Vec::len)), (8, [4, 2, 1]));
        assert_eq!(places.take("a").map(drop), Err(NoPlace { taken: 15, own: 8 }));
        let last = places.take("e").expect("one is left");
        assert_eq!(places.take("f").map(drop), Err(NoPlace { taken: 16, own: 0 }));

        drop((first, others, last));
        assert!(places.taken().by_session.is_empty());
        assert_eq!(all_of("f").len(), 8);
    }
}
