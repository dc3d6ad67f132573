//! `textDocument/completion`.

use std::sync::Arc;

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{CompletionParams, CompletionResponse};

use crate::convert;
use crate::server::Server;

/// What can be written here.
pub(crate) async fn completion(
    server: &Server,
    params: CompletionParams,
) -> Result<Option<CompletionResponse>> {
    let at = params.text_document_position;
    let Some(document) = server.documents.get(&at.text_document.uri) else { return Ok(None) };
    let offset = document.offset(at.position);
    let directory = document.analysis.wanted_directory(offset);
    let surroundings = server.environment.surroundings(directory).await;
    let client = Arc::clone(server.capabilities());
    let items = document
        .ask(move |document| {
            let found = document.analysis.completions(offset, &surroundings);
            found.into_iter().map(|found| convert::completion(document, found, &client)).collect()
        })
        .await;
    Ok(Some(CompletionResponse::Array(items)))
}
