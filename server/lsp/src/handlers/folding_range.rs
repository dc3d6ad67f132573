//! `textDocument/foldingRange`.

use std::sync::Arc;

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{FoldingRange, FoldingRangeParams};

use crate::convert;
use crate::server::Server;

/// What can be folded away.
pub(crate) async fn folding_range(
    server: &Server,
    params: FoldingRangeParams,
) -> Result<Option<Vec<FoldingRange>>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let client = Arc::clone(server.capabilities());
    let folds = document.ask(move |document| {
        document.analysis.folds().iter().filter_map(|fold| convert::fold(document, fold, &client)).collect()
    });
    Ok(Some(folds.await))
}
