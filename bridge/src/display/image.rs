//! What a picture says to somebody who sees text alone, read from its first bytes.

/// The eight bytes that every PNG file starts with.
const PNG_SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// `PNG image, 640 x 480, 12.3 kB`.
pub(super) fn describe_png(bytes: &[u8]) -> Result<String, String> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    // The signature, then the IHDR chunk: its length, its name, width, height.
    match (bytes.starts_with(PNG_SIGNATURE), bytes.get(12..16) == Some(b"IHDR"), number(16), number(20)) {
        (true, true, Some(width), Some(height)) => Ok(format!("PNG image, {width} x {height}, {}", size(bytes.len()))),
        _ => Err("these bytes are no PNG image".to_owned()),
    }
}

/// `SVG image, 2.1 kB`. An error if the text is no SVG document.
pub(super) fn describe_svg(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("the SVG is no UTF-8 text: byte {} is wrong", error.valid_up_to() + 1))?;
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    // An XML declaration, comments and a document type may come first.
    for (opening, closing) in [("<?", "?>"), ("<!--", "-->"), ("<!DOCTYPE", ">"), ("<!--", "-->")] {
        while rest.starts_with(opening) {
            rest = rest.split_once(closing).map_or("", |(_, after)| after).trim_start();
        }
    }
    let is_svg =
        rest.strip_prefix("<svg").is_some_and(|after| after.starts_with(|next: char| " \t\r\n/>".contains(next)));
    if is_svg && (rest.contains("</svg>") || rest.trim_end().ends_with("/>")) {
        return Ok(format!("SVG image, {}", size(bytes.len())));
    }
    let start: String = text.chars().take(30).collect();
    Err(format!("no SVG document: it starts with {start:?}; expected one element `<svg ...> ... </svg>`"))
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
