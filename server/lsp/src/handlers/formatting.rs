//! `textDocument/formatting`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{DocumentFormattingParams, TextEdit};
use vmtest_ide::Edit;

use crate::convert;
use crate::server::Server;

/// The changes that make it tidy.
pub(crate) async fn formatting(
    server: &Server,
    params: DocumentFormattingParams,
) -> Result<Option<Vec<TextEdit>>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let edits = document.ask(|document| {
        let tidy = document.analysis.format()?;
        Some(vec![convert::edit(document, &difference(document.text(), &tidy))])
    });
    Ok(edits.await)
}

/// What lies between the lines that both begin and end with, so that a cursor outside stays where it is.
fn difference(old: &str, new: &str) -> Edit {
    let same = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
        pairs.take_while(|(old, new)| old == new).map(|(line, _)| line.len()).sum::<usize>()
    };
    let start = same(&mut old.split_inclusive('\n').zip(new.split_inclusive('\n')));
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = same(&mut old_rest.split_inclusive('\n').rev().zip(new_rest.split_inclusive('\n').rev()));
    Edit { range: start..old.len() - end, text: new_rest[..new_rest.len() - end].to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(old: &str, edit: &Edit) -> String {
        [&old[..edit.range.start], &edit.text, &old[edit.range.end..]].concat()
    }

    #[test]
    fn only_lines_that_differ_are_replaced() {
        let edit = difference("a\nb =1\nc\n", "a\nb = 1\nc\n");
        assert_eq!(edit, Edit { range: 2..7, text: "b = 1\n".to_owned() });
    }

    proptest! {
        #[test]
        fn the_edit_makes_the_new_text(old in "[ab\n]{0,20}", new in "[ab\n]{0,20}") {
            let edit = difference(&old, &new);
            prop_assert_eq!(applied(&old, &edit), new);
        }
    }
}
