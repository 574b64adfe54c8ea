//! HTML: text made safe to stand in it, and what a piece of it says to somebody who sees text alone.

/// `text` with the characters that mean something in HTML and XML replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no other control characters, and a browser shows none.
            control if control.is_control() && !"\n\t\r".contains(control) => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Tags that begin a line.
const BREAKS: [&str; 19] = [
    "br", "p", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre", "summary",
    "details", "caption",
];

/// What `html` says, without its tags, scripts and style sheets.
pub(super) fn to_text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&unescape(&rest[..start]));
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let name = tag_name(rest);
        if name.is_empty() {
            text.push('<');
            rest = &rest[1..];
            continue;
        }
        let opens = !rest.starts_with("</");
        rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
        if opens && (name == "script" || name == "style") {
            let closing = format!("</{name}");
            rest = find_ignoring_case(rest, &closing).map_or("", |end| &rest[end..]);
        }
        if BREAKS.contains(&name.as_str()) {
            text.push('\n');
        } else if name == "td" || name == "th" {
            text.push(' ');
        }
    }
    text.push_str(&unescape(rest));
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The name of the tag that `html` starts with, of an opening or a closing one; empty if it is none.
fn tag_name(html: &str) -> String {
    let name = html[1..].trim_start_matches(['/', '!']);
    name.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The entities that people write by hand; others stay as they are.
fn unescape(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&middot;", "·")];
    let mut text = text.to_owned();
    for (entity, character) in entities {
        if text.contains(entity) {
            text = text.replace(entity, character);
        }
    }
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::{escape, to_text};

    #[test]
    fn nothing_escaped_can_be_a_tag() {
        assert_eq!(escape(r#"<b a="1" b='2'>&"#), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("a\u{0}\u{1b}b\n"), "a\u{FFFD}\u{FFFD}b\n");
    }

    #[test]
    fn html_says_what_a_reader_sees() {
        for (html, text) in [
            ("<b>bold</b> and <i>more</i>", "bold and more"),
            ("<p>one</p><p>two<br>three</p>", "one\ntwo\nthree"),
            ("<style>p { color: red }</style>a<SCRIPT>alert('<b>')</script >b", "ab"),
            ("<!-- <b>no</b> -->yes", "yes"),
            ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
            ("&amp;lt;", "&lt;"),
            ("1 < 2", "1 < 2"),
            ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
            ("<unclosed", ""),
            ("<img src=x>", ""),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }
}
