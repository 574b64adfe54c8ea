//! What a request has shown on a terminal, as far as it can be rewritten: displays that are updated stay below everything that is
//! printed, each as it was last, and an output that is cleared goes from the screen.
//!
//! It makes the text to write, and writes nothing itself.

use unicode_width::UnicodeWidthChar;

/// Columns from one tab stop to the next.
const TAB: usize = 8;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The part of a terminal that a request has written.
#[derive(Debug)]
pub struct Screen {
    size: Size,
    /// Where the cursor stands below the request's first row, leaving out what is afloat.
    cursor: Cursor,
    /// Displays that were updated, oldest first.
    afloat: Vec<(String, String)>,
    /// How many rows of those are on the screen now.
    drawn: usize,
    /// The display that was shown last, if nothing was printed since: its id and its rows.
    last: Option<(String, usize)>,
    /// Cleared when the next output comes.
    clears: bool,
}

impl Screen {
    /// Nothing is written yet.
    pub fn new(size: Size) -> Screen {
        let cursor = Cursor::default();
        Screen { size, cursor, afloat: Vec::new(), drawn: 0, last: None, clears: false }
    }

    /// The terminal has another size now.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// Text that is printed.
    pub fn print(&mut self, text: &str) -> String {
        let (before, after) = self.around(text);
        format!("{before}{text}{after}")
    }

    /// What to write before and after a text that comes to the screen by another way.
    pub fn around(&mut self, text: &str) -> (String, String) {
        self.last = None;
        let before = self.lift();
        self.cursor.follow(text, self.size.width);
        (before, self.draw())
    }

    /// A display, on lines of its own.
    pub fn display(&mut self, id: Option<&str>, text: &str) -> String {
        let mut written = self.lift();
        let before = self.cursor.row;
        let text = whole_lines(text);
        if self.cursor.column > 0 {
            written.push('\n');
            self.cursor.follow("\n", self.size.width);
        }
        self.cursor.follow(&text, self.size.width);
        self.last = id.map(|id| (id.to_owned(), self.cursor.row - before));
        written.push_str(&text);
        written.push_str(&self.draw());
        written
    }

    /// A display that is another now.
    pub fn update(&mut self, id: &str, text: &str) -> String {
        let mut written = self.lift();
        if let Some((_, rows)) = self.last.take_if(|(last, rows)| last == id && *rows < self.size.height) {
            written.push_str(&up(rows));
            self.cursor.row -= rows;
        }
        let text = whole_lines(text);
        match self.afloat.iter_mut().find(|(afloat, _)| afloat == id) {
            Some((_, shown)) => *shown = text,
            None => self.afloat.push((id.to_owned(), text)),
        }
        written.push_str(&self.draw());
        written
    }

    /// Takes away what was shown, at once or when something else comes.
    pub fn clear(&mut self, wait: bool) -> String {
        if wait {
            self.clears = true;
            return String::new();
        }
        self.clears = false;
        // What has left the screen at the top cannot be taken back.
        let rows = (self.cursor.row + self.drawn).min(self.size.height.saturating_sub(1));
        *self = Screen::new(self.size);
        up(rows)
    }

    /// The request is done: what could not be shown in its place comes at the end.
    pub fn finish(&mut self) -> String {
        self.clears = false;
        let mut written = String::new();
        if self.drawn == 0 && !self.afloat.is_empty() {
            if self.cursor.column > 0 {
                written.push('\n');
            }
            written.extend(self.afloat.iter().map(|(_, text)| text.as_str()));
        }
        let column = self.cursor.column;
        *self = Screen::new(self.size);
        self.cursor.column = if written.is_empty() { column } else { 0 };
        written
    }

    /// Whether the cursor stands behind text in its row.
    pub fn line_is_open(&self) -> bool {
        self.cursor.column > 0
    }

    /// Takes what is afloat off the screen, or everything if it is to be cleared.
    fn lift(&mut self) -> String {
        if self.clears {
            return self.clear(false);
        }
        up(std::mem::take(&mut self.drawn))
    }

    /// Puts what is afloat below the rest, if there is room.
    fn draw(&mut self) -> String {
        let text: String = self.afloat.iter().map(|(_, text)| text.as_str()).collect();
        let mut below = Cursor::default();
        below.follow(&text, self.size.width);
        if self.cursor.column > 0 || below.row >= self.size.height {
            return String::new();
        }
        self.drawn = below.row;
        text
    }
}

/// Goes up some rows and clears everything from there.
fn up(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
}

fn whole_lines(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// A cursor that text moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    row: usize,
    column: usize,
    escape: Escape,
}

/// Where in a control sequence the text is, which may end in another portion of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

impl Cursor {
    fn follow(&mut self, text: &str, width: usize) {
        for character in text.chars() {
            self.step(character, width.max(1));
        }
    }

    /// Sequences that move the cursor are not followed: colours are what text holds.
    fn step(&mut self, character: char, width: usize) {
        match (self.escape, character) {
            (Escape::None, '\x1b') => self.escape = Escape::Begun,
            (Escape::Begun, '[') => self.escape = Escape::Sequence,
            (Escape::Sequence, '\x20'..='\x3f') => {}
            (Escape::Begun | Escape::Sequence, _) => self.escape = Escape::None,
            (Escape::None, '\n') => {
                self.row += 1;
                self.column = 0;
            }
            (Escape::None, '\r') => self.column = 0,
            (Escape::None, '\x08') => self.column = self.column.saturating_sub(1),
            (Escape::None, '\t') => self.column = (self.column / TAB * TAB + TAB).min(width - 1),
            (Escape::None, character) => {
                let columns = character.width().unwrap_or(0);
                if self.column + columns > width {
                    self.row += 1;
                    self.column = 0;
                }
                self.column += columns;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen::new(Size { width: 10, height: 5 })
    }

    #[test]
    fn a_cursor_follows_colours_wide_characters_and_full_rows() {
        let end = |text: &str| {
            let mut cursor = Cursor::default();
            cursor.follow(text, 10);
            (cursor.row, cursor.column)
        };
        assert_eq!(end("\x1b[1;31mred\x1b[0m"), (0, 3));
        assert_eq!(end("0123456789"), (0, 10));
        assert_eq!(end("0123456789x"), (1, 1));
        assert_eq!(end("123456789月"), (1, 2));
        assert_eq!(end("a\tb\nab\rc\n"), (2, 0));
    }

    #[test]
    fn an_update_takes_its_displays_place() {
        let mut screen = screen();
        assert_eq!(screen.display(Some("p"), "0 %"), "0 %\n");
        assert_eq!(screen.update("p", "50 %"), "\r\x1b[1A\x1b[J50 %\n");
        assert_eq!(screen.update("p", "100 %\nor more than ten"), "\r\x1b[1A\x1b[J100 %\nor more than ten\n");
        assert_eq!(screen.update("p", "done"), "\r\x1b[3A\x1b[Jdone\n");
        assert_eq!(screen.finish(), "");
    }

    #[test]
    fn what_is_printed_stands_above_what_is_updated() {
        let mut screen = screen();
        screen.display(Some("p"), "0 %");
        screen.update("p", "1 %");
        assert_eq!(screen.print("step\n"), "\r\x1b[1A\x1b[Jstep\n1 %\n");
        assert_eq!(screen.print("open"), "\r\x1b[1A\x1b[Jopen");
        assert_eq!(screen.update("p", "2 %"), "");
        assert_eq!(screen.print(" line\n"), " line\n2 %\n");
        assert_eq!(screen.print("end"), "\r\x1b[1A\x1b[Jend");
        assert_eq!(screen.finish(), "\n2 %\n");
    }

    #[test]
    fn what_scrolled_away_is_not_rewritten() {
        let mut screen = screen();
        assert_eq!(screen.display(Some("p"), "1\n2\n3\n4\n5\n6"), "1\n2\n3\n4\n5\n6\n");
        assert_eq!(screen.update("p", "done"), "done\n");
        assert_eq!(screen.update("p", "1\n2\n3\n4\n5\n6"), "\r\x1b[1A\x1b[J");
        assert_eq!(screen.finish(), "1\n2\n3\n4\n5\n6\n");
    }

    #[test]
    fn an_output_is_cleared_at_once_or_when_the_next_comes() {
        let mut screen = screen();
        screen.print("frame 1\nof two\n");
        assert_eq!(screen.clear(true), "");
        assert_eq!(screen.print("frame 2\n"), "\r\x1b[2A\x1b[Jframe 2\n");
        assert_eq!(screen.clear(false), "\r\x1b[1A\x1b[J");
        screen.print("1\n2\n3\n4\n5\n6\n");
        assert_eq!(screen.clear(false), "\r\x1b[4A\x1b[J");
    }
}
