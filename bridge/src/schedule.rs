//! Whose turn it is. The cells of one shell run one after another; those of different shells take
//! turns on the one interpreter thread: while a cell waits the others go on, and of several that
//! compute each gets a slice.
//!
//! A cell whose slice is over is suspended by the hook, wherever it is, also within coroutines of
//! its own. Beneath a C function that cannot be left (a comparator of `table.sort`, a callback of
//! `gsub`, a `__tostring`) it cannot be suspended: there the others take their turns on top of it,
//! and it goes on between them. The limit that remains is two cells that are both beneath such a
//! function: the one on top must leave its function before the one below can go on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Lua, Table};

use crate::host::Host;
use crate::prelude;
use crate::progress;
use crate::run::{self, Run};

/// How long a cell that computes goes on while another could: many times what a switch costs, and
/// short enough for a subshell to answer within 20 ms while several compute.
const SLICE: Duration = Duration::from_millis(2);
/// Turns that may be under way on top of each other; each takes some of the thread's stack.
const NESTING: usize = 8;

/// The cells under way.
pub(crate) struct Schedule {
    /// Those whose turn it is not, in the order of their next turns.
    queue: RefCell<VecDeque<Rc<Run>>>,
    /// The cell whose code runs now is the last; each of the others is beneath the next.
    stack: RefCell<Vec<Rc<Run>>>,
    /// The shells that have a cell under way.
    shells: RefCell<Vec<u64>>,
    turn_began: Cell<Instant>,
    /// The running cell is on its way out of its coroutines, because its slice is over.
    leaving: Cell<bool>,
}

impl Schedule {
    pub(crate) fn new() -> Schedule {
        Schedule {
            queue: RefCell::default(),
            stack: RefCell::default(),
            shells: RefCell::default(),
            turn_began: Cell::new(Instant::now()),
            leaving: Cell::new(false),
        }
    }

    /// The cell whose code runs now.
    pub(crate) fn running(&self) -> Option<Rc<Run>> {
        self.stack.borrow().last().cloned()
    }

    /// Whether a cell of this shell is under way.
    pub(crate) fn is_busy(&self, shell: u64) -> bool {
        self.shells.borrow().contains(&shell)
    }

    /// Whether no cell is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.shells.borrow().is_empty()
    }

    /// Adds a cell, which is to have the next turn but for those that are ready.
    pub(crate) fn admit(&self, run: Rc<Run>) {
        self.shells.borrow_mut().push(run.shell);
        self.queue.borrow_mut().push_back(run);
    }

    /// Whether a cell other than the running one could go on: here, or once this one lets it.
    fn someone_is_ready(&self) -> bool {
        let stack = self.stack.borrow();
        let beneath = stack.split_last().map_or(&[][..], |(_, beneath)| beneath);
        beneath.iter().any(|run| run.is_ready())
            || stack.len() < NESTING && self.queue.borrow().iter().any(|run| run.is_ready())
    }

    fn next_ready(&self) -> Option<Rc<Run>> {
        if self.stack.borrow().len() >= NESTING {
            return None;
        }
        let mut queue = self.queue.borrow_mut();
        let position = queue.iter().position(|run| run.is_ready())?;
        queue.remove(position)
    }
}

/// Gives one cell that can go on its turn; false if none can.
pub(crate) fn turn(lua: &Lua, host: &Host) -> bool {
    let schedule = &host.schedule;
    let Some(run) = schedule.next_ready() else { return false };
    schedule.stack.borrow_mut().push(Rc::clone(&run));
    schedule.turn_began.set(Instant::now());
    run.sliced.set(false);
    run.bell.hush();
    let outcome = progress::advance(lua, host, &run);
    run.sliced.set(schedule.leaving.take());
    schedule.stack.borrow_mut().pop();
    match outcome {
        None => schedule.queue.borrow_mut().push_back(run),
        Some(outcome) => {
            run.work.cancel();
            host.leftovers.sweep();
            run.end(outcome);
            schedule.shells.borrow_mut().retain(|shell| *shell != run.shell);
        }
    }
    // The prelude's signals are of no use to anybody when no cell runs.
    if let Some(beneath) = schedule.running() {
        tell(run::announce(lua, &beneath));
    }
    schedule.turn_began.set(Instant::now());
    true
}

/// What the hook does about the others: true if the running cell is to be suspended. Where it
/// cannot be they have taken their turns when this returns.
pub(crate) fn slice(lua: &Lua, host: &Host, can_be_suspended: bool) -> bool {
    let schedule = &host.schedule;
    if schedule.leaving.get() || schedule.turn_began.get().elapsed() < SLICE || !schedule.someone_is_ready() {
        return false;
    }
    if can_be_suspended {
        schedule.leaving.set(true);
        tell(leave(lua));
    } else {
        turns_on_top(lua, host);
    }
    can_be_suspended
}

/// A cell on its way out that reached a C function it cannot leave stays, and the others take their
/// turns here. False if it was not on its way out, but has to wait.
pub(crate) fn stay(lua: &Lua, host: &Host) -> bool {
    if !host.schedule.leaving.take() {
        return false;
    }
    turns_on_top(lua, host);
    if let Some(run) = host.schedule.running() {
        tell(run::announce(lua, &run));
    }
    true
}

/// Gives every other cell a turn on top of the running one, which could go on all the while.
fn turns_on_top(lua: &Lua, host: &Host) {
    let Some(run) = host.schedule.running() else { return };
    run.sliced.set(true);
    let others = host.schedule.queue.borrow().len();
    for _ in 0..others {
        if !turn(lua, host) {
            break;
        }
    }
    run.sliced.set(false);
}

fn leave(lua: &Lua) -> mlua::Result<()> {
    let signals: Table = prelude::table(lua)?.raw_get("signals")?;
    signals.raw_set("sliced", true)?;
    signals.raw_set("attention", true)
}

/// Only memory could be short, and then the cell itself finds out.
fn tell(told: mlua::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "the prelude was not told whose turn it is");
    }
}
