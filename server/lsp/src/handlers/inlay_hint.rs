//! `textDocument/inlayHint`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{InlayHint, InlayHintParams};

use crate::convert;
use crate::server::Server;

/// What holds where nothing is written, and which version a kernel has.
pub(crate) async fn inlay_hint(server: &Server, params: InlayHintParams) -> Result<Option<Vec<InlayHint>>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let surroundings = server.environment.surroundings(None).await;
    let hints = document.ask(move |document| {
        let range = document.bytes(params.range);
        let hints = document.analysis.inlay_hints(range, &surroundings);
        hints.into_iter().map(|hint| convert::inlay_hint(document, hint)).collect()
    });
    Ok(Some(hints.await))
}
