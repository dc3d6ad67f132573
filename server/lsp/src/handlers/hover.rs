//! `textDocument/hover`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{Hover, HoverParams};

use crate::convert;
use crate::server::Server;

/// What stands here.
pub(crate) async fn hover(server: &Server, params: HoverParams) -> Result<Option<Hover>> {
    let at = params.text_document_position_params;
    let Some(document) = server.documents.get(&at.text_document.uri) else { return Ok(None) };
    let offset = document.offset(at.position);
    let surroundings = server.environment.surroundings(None).await;
    let found = document.analysis.hover(offset, &surroundings);
    Ok(found.map(|found| convert::hover(&document, found, server.capabilities())))
}
