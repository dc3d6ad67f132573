//! `textDocument/didOpen`.

use tower_lsp::lsp_types::DidOpenTextDocumentParams;

use crate::documents::Document;
use crate::server::Server;

/// Takes the document, unless it is none of ours.
pub(crate) fn did_open(server: &Server, params: DidOpenTextDocumentParams) {
    let opened = params.text_document;
    let encoding = server.capabilities().encoding;
    let uri = opened.uri.clone();
    if server.documents.open(Document::new(opened.uri, opened.version, opened.text, encoding)) {
        server.warming.opened(uri.clone());
        server.text_changed(uri);
    }
}
