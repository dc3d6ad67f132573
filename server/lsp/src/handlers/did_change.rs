//! `textDocument/didChange`.

use tower_lsp::lsp_types::{DidChangeTextDocumentParams, TextDocumentContentChangeEvent};

use crate::documents::Document;
use crate::server::Server;

/// Takes the new text. Whole texts are what the server asks for; a client that sends ranges all the same is understood.
pub(crate) fn did_change(server: &Server, params: DidChangeTextDocumentParams) {
    let (uri, version) = (params.text_document.uri, params.text_document.version);
    let Some(old) = server.documents.get(&uri) else { return };
    let encoding = server.capabilities().encoding;
    let mut changes = params.content_changes.into_iter();
    let text = match (changes.next(), changes.len()) {
        (None, _) => old.text().to_owned(),
        (Some(TextDocumentContentChangeEvent { range: None, text, .. }), 0) => text,
        (Some(first), _) => {
            std::iter::once(first).chain(changes).fold(old.text().to_owned(), |before, change| {
                // Each range is one of the text that the change before it made.
                let Some(range) = change.range else { return change.text };
                let before = Document::new(uri.clone(), version, before, encoding);
                let bytes = before.bytes(range);
                [&before.text()[..bytes.start], &change.text, &before.text()[bytes.end..]].concat()
            })
        }
    };
    if server.documents.change(&uri, version, text, encoding) {
        server.text_changed(uri);
    }
}
