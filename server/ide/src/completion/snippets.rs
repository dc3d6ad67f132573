//! LSP's snippet syntax: `$1` and `${1:such}` are places to fill in.

use vmtest_config::{Default, Key, ValueType};

/// A text as a snippet writes it.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '$' | '}') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What a snippet writes where nothing can be filled in: what stands in its places, the first of a choice.
pub(super) fn plain(snippet: &str) -> String {
    let mut text = String::with_capacity(snippet.len());
    let mut rest = snippet.chars().peekable();
    // Places that are open: other braces are the text's.
    let mut open = 0;
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(rest.next()),
            '$' => {
                let braces = rest.next_if_eq(&'{').is_some();
                while rest.next_if(char::is_ascii_digit).is_some() {}
                if braces && rest.next() == Some('|') {
                    let choices: String = rest.by_ref().take_while(|c| *c != '}').collect();
                    text.push_str(choices.split([',', '|']).next().unwrap_or_default());
                } else {
                    open += usize::from(braces);
                }
            }
            '}' if open > 0 => open -= 1,
            c => text.push(c),
        }
    }
    text
}

/// A value to fill in.
pub(super) fn value(row: &Key) -> String {
    match row.value {
        ValueType::Choice(values) => format!("\"${{1|{}|}}\"", values.join(",")),
        // What a key already is without being written comes last.
        ValueType::Bool if row.default == Default::Value("true") => "${1|false,true|}".to_owned(),
        ValueType::Bool => "${1|true,false|}".to_owned(),
        ValueType::BoolOrNames => "${1|false,true|}".to_owned(),
        ValueType::Integer(..) => format!("${{1:{}}}", row.example),
        ValueType::Strings => "[\"$1\"]".to_owned(),
        ValueType::Table if row.name() == "*" => "{ host_path = \"$1\" }".to_owned(),
        ValueType::Map => format!("{{ {} }}", map_entry(row, MOUNT)),
        ValueType::Table | ValueType::Tables => "{ $1 }".to_owned(),
        _ => "\"$1\"".to_owned(),
    }
}

/// Where a mount goes, unless something is there already.
pub(super) const MOUNT: &str = "/mnt/data";

/// A line of a table whose keys are the user's; `mount` is a place in the guest.
pub(super) fn map_entry(row: &Key, mount: &str) -> String {
    match row.in_target() {
        "env" => "${1:NAME} = \"$2\"".to_owned(),
        _ => format!("\"${{1:{mount}}}\" = {{ host_path = \"$2\" }}"),
    }
}
