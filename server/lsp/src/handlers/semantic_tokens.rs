//! `textDocument/semanticTokens/full`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{SemanticTokens, SemanticTokensParams, SemanticTokensResult};

use crate::convert;
use crate::server::Server;

/// Colours for the whole text.
pub(crate) async fn semantic_tokens_full(
    server: &Server,
    params: SemanticTokensParams,
) -> Result<Option<SemanticTokensResult>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let data = document
        .ask(|document| convert::semantic_tokens(document, &document.analysis.semantic_tokens()))
        .await;
    Ok(Some(SemanticTokensResult::Tokens(SemanticTokens { result_id: None, data })))
}
