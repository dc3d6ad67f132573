//! `textDocument/documentSymbol`.

use std::sync::Arc;

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{DocumentSymbolParams, DocumentSymbolResponse};

use crate::convert;
use crate::server::Server;

/// The outline.
pub(crate) async fn document_symbol(
    server: &Server,
    params: DocumentSymbolParams,
) -> Result<Option<DocumentSymbolResponse>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let client = Arc::clone(server.capabilities());
    Ok(Some(
        document.ask(move |document| convert::symbols(document, document.analysis.symbols(), &client)).await,
    ))
}
