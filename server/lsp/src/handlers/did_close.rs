//! `textDocument/didClose`.

use tower_lsp::lsp_types::DidCloseTextDocumentParams;

use crate::server::Server;

/// Forgets the document and takes back what was said about it.
pub(crate) fn did_close(server: &Server, params: &DidCloseTextDocumentParams) {
    let uri = &params.text_document.uri;
    if server.documents.close(uri) {
        server.warming.closed(uri);
        server.text_changed(uri.clone());
    }
}
