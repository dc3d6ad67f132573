//! `textDocument/didSave`.

use tower_lsp::lsp_types::DidSaveTextDocumentParams;

use crate::server::Server;

/// Looks at the disk again: often a kernel was built just before.
pub(crate) fn did_save(server: &Server, params: DidSaveTextDocumentParams) {
    server.warming.saved(&params.text_document.uri);
    server.text_changed(params.text_document.uri);
}
