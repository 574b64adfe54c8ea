//! Tells which peers of a channel went away for good: what they asked for is of no more use to anybody. One whose connection only broke
//! comes back under the same identity within [`ABSENCE`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use omq_tokio::{MonitorEvent, MonitorRecvError, MonitorStream};
use tokio::time::{Instant, sleep_until};

/// How long a peer may be away. Our own clients try to come back at once, and then again within a second.
const ABSENCE: Duration = Duration::from_secs(2);

/// The peers of one channel, as they come and go.
#[derive(Debug)]
pub(in crate::transport) struct Departures {
    events: MonitorStream,
    /// The connections of each identity: a new one may be there before the old one's end is noticed.
    there: HashMap<Bytes, usize>,
    /// Who has none, and until when they may be back; the earliest first.
    away: VecDeque<(Instant, Bytes)>,
}

impl Departures {
    pub(super) fn of(events: MonitorStream) -> Departures {
        Departures { events, there: HashMap::new(), away: VecDeque::new() }
    }

    pub(in crate::transport) async fn recv(&mut self) -> Option<Bytes> {
        loop {
            let due = self.away.front().map(|(due, _)| *due);
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(MonitorEvent::HandshakeSucceeded { peer, .. }) => self.came(peer.peer_identity),
                    Ok(MonitorEvent::Disconnected { peer, .. }) => self.went(peer.peer_identity),
                    Ok(_) => {}
                    // Who came back in between is not known, so nobody is said to have gone.
                    Err(MonitorRecvError::Lagged(_)) => {
                        self.there.clear();
                        self.away.clear();
                    }
                    Err(_) => return None,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return self.away.pop_front().map(|(_, identity)| identity);
                }
            }
        }
    }

    fn came(&mut self, identity: Option<Bytes>) {
        let Some(identity) = identity else { return };
        self.away.retain(|(_, away)| *away != identity);
        *self.there.entry(identity).or_default() += 1;
    }

    fn went(&mut self, identity: Option<Bytes>) {
        let Some(identity) = identity else { return };
        let Some(connections) = self.there.get_mut(&identity) else { return };
        *connections -= 1;
        if *connections == 0 {
            self.there.remove(&identity);
            self.away.push_back((Instant::now() + ABSENCE, identity));
        }
    }
}
