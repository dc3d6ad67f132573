//! Markdown. A name or a path that the user wrote is text in it, whatever it looks like.

/// The longest text that is shown; a value may be a whole script.
const MOST: usize = 200;

/// A text as code: nothing in it is markup, and it is on one line.
pub(crate) fn code(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    if shown.trim().is_empty() {
        return "` `".to_owned();
    }
    // Longer than any run of backticks in it.
    let run = shown.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(run + 1);
    let blank = if shown.starts_with('`') || shown.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{shown}{blank}{fence}")
}

/// Names as code, the last after `word`.
pub(crate) fn list(names: &[&str], word: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| code(name)).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_code_is_markup() {
        for (text, shown) in [
            ("a", "`a`"),
            ("[x](https://a)", "`[x](https://a)`"),
            ("a`b", "``a`b``"),
            ("`a``", "``` `a`` ```"),
            ("a\n\n# b", "`a  # b`"),
            ("", "` `"),
            (" \t ", "` `"),
        ] {
            assert_eq!(code(text), shown, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(code(&"ä".repeat(1000)).chars().count(), MOST + 3);
    }
}
