//! `display.progress`: one line that shows how far something is, replaced in place. A state that
//! comes within [`INTERVAL`] of the one before waits for its turn; the last one is always shown.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mlua::{Lua, LuaString, Table, UserData, UserDataRef};
use uuid::Uuid;

use super::html::escape;
use crate::cell::{CellIo, MimeBundle, Output, Rich};
use crate::host::Host;
use crate::interrupt::{self, Stop};
use crate::leftovers::Leftover;
use crate::prelude;

/// The least time between two states on the screen: at most 20 of them a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// Characters of the bar in the text form.
const WIDTH: usize = 20;

/// A bar and what it says.
struct Bar(RefCell<State>);

struct State {
    id: String,
    label: Option<String>,
    total: Option<f64>,
    done: f64,
    finished: bool,
    started: Instant,
    /// When the last state was shown.
    shown: Option<Instant>,
    /// The client to which a state waits to be shown.
    due: Option<Arc<dyn CellIo>>,
}

/// The bars of a workspace that have a state to show.
#[derive(Default)]
pub(crate) struct Bars(RefCell<Vec<Rc<Bar>>>);

/// A bar on the Lua side of the prelude.
struct Shared(Rc<Bar>);

impl UserData for Shared {}

/// Adds `open_progress`, `set_progress` and `progress_of` to the prelude.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table: Table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    table.set(
        "open_progress",
        lua.create_function(move |lua, (total, label): (Option<f64>, Option<LuaString>)| {
            let bar = Rc::new(Bar(RefCell::new(State::new(total, label.map(|label| label.to_string_lossy())))));
            advance(lua, &shared, &bar)?;
            Ok(Shared(bar))
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "set_progress",
        lua.create_function(move |lua, (bar, done, finished): (UserDataRef<Shared>, f64, bool)| {
            {
                let mut state = bar.0.0.borrow_mut();
                state.done = done;
                state.finished = finished || state.total.is_some_and(|total| done >= total);
            }
            advance(lua, &shared, &bar.0)
        })?,
    )?;
    table.set(
        "progress_of",
        lua.create_function(|_, bar: UserDataRef<Shared>| {
            let state = bar.0.0.borrow();
            Ok((state.done, state.total))
        })?,
    )
}

/// Shows the bar's state now, or has it shown when its turn comes.
fn advance(lua: &Lua, host: &Host, bar: &Rc<Bar>) -> mlua::Result<()> {
    let Some(io) = host.io() else { return Ok(()) };
    let mut state = bar.0.borrow_mut();
    let wait = state.shown.map_or(Duration::ZERO, |shown| INTERVAL.saturating_sub(shown.elapsed()));
    let waits = state.due.replace(io).is_some();
    if wait.is_zero() || state.finished {
        return match state.show() {
            Ok(()) => Ok(()),
            Err(_) => Err(interrupt::stop(lua, host, Stop::interrupted())),
        };
    }
    drop(state);
    if !waits {
        host.leftovers.add(host.work(), Rc::downgrade(bar));
        host.bars.0.borrow_mut().push(Rc::clone(bar));
        wake_later(host.waker().clone(), wait);
    }
    Ok(())
}

/// The interpreter thread may sleep by then.
fn wake_later(waker: Waker, wait: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        waker.wake();
    });
}

impl Bars {
    /// Shows what waited long enough.
    pub(crate) fn show_due(&self) {
        if self.0.borrow().is_empty() {
            return;
        }
        let bars = std::mem::take(&mut *self.0.borrow_mut());
        let (due, early): (Vec<_>, Vec<_>) = bars.into_iter().partition(|bar| bar.0.borrow().is_due());
        self.0.borrow_mut().extend(early);
        for bar in due {
            // A cell that is to stop learns of it elsewhere.
            let _ = bar.0.borrow_mut().show();
        }
    }
}

impl Leftover for Bar {
    fn abandon(&self) {
        let _ = self.0.borrow_mut().show();
    }

    fn is_over(&self) -> bool {
        self.0.borrow().due.is_none()
    }
}

impl State {
    fn new(total: Option<f64>, label: Option<String>) -> State {
        State {
            id: Uuid::new_v4().to_string(),
            label,
            total,
            done: 0.0,
            finished: false,
            started: Instant::now(),
            shown: None,
            due: None,
        }
    }

    /// Nothing waits, or it has waited long enough.
    fn is_due(&self) -> bool {
        self.due.is_none() || self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL)
    }

    /// Shows what waits to be shown, if anything does.
    fn show(&mut self) -> Result<(), crate::cell::Interrupted> {
        let Some(io) = self.due.take() else { return Ok(()) };
        let value = Rich {
            data: MimeBundle::from_iter([
                ("text/html".to_owned(), self.html().into()),
                ("text/plain".to_owned(), self.text().into()),
            ]),
            metadata: MimeBundle::new(),
        };
        let update = self.shown.replace(Instant::now()).is_some();
        io.write(Output::Display { value, display_id: Some(self.id.clone()), update, live: !self.finished })
    }

    fn share(&self) -> Option<f64> {
        self.total.map(|total| if total > 0.0 { (self.done / total).clamp(0.0, 1.0) } else { 1.0 })
    }

    /// `3/4 · 75 % · 1.2 s`
    fn figures(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        match (self.total, self.share()) {
            (Some(total), Some(share)) => format!("{}/{total} · {:.0} % · {seconds:.1} s", self.done, share * 100.0),
            _ => format!("{} · {seconds:.1} s", self.done),
        }
    }

    fn text(&self) -> String {
        let mut parts = Vec::from_iter(self.label.clone());
        if let Some(share) = self.share() {
            let full = (share * WIDTH as f64).floor() as usize;
            parts.push("█".repeat(full) + &"░".repeat(WIDTH - full));
        }
        parts.push(self.figures());
        parts.join(" ")
    }

    fn html(&self) -> String {
        let label = self.label.as_deref().map(|label| format!("<span>{}</span>", escape(label))).unwrap_or_default();
        let value = match self.share() {
            Some(share) => format!(r#" value="{share:.4}""#),
            None if self.finished => r#" value="1""#.to_owned(),
            None => String::new(),
        };
        format!(
            r#"<div style="display: flex; align-items: center; gap: 0.8em">{label}<progress max="1"{value} style="flex: 0 1 20em"></progress><span>{}</span></div>"#,
            self.figures()
        )
    }
}
