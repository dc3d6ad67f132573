//! `textDocument/codeLens`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{CodeLens, CodeLensParams};

use crate::convert;
use crate::documents::Document;
use crate::server::Server;

/// What stands over each target. Always resolved: a client that shows lenses shows what they say at once.
pub(crate) async fn code_lens(server: &Server, params: CodeLensParams) -> Result<Option<Vec<CodeLens>>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let server = server.clone();
    let lenses = document.ask(move |document| {
        let lenses = lenses(&server, document).into_iter();
        lenses.filter_map(|lens| convert::lens(document, lens, server.capabilities())).collect()
    });
    Ok(Some(lenses.await))
}

/// The lenses of a document. What is no file of this machine cannot run.
pub(super) fn lenses(server: &Server, document: &Document) -> Vec<vmtest_ide::Lens> {
    if document.file.is_none() {
        return Vec::new();
    }
    server.lenses(document)
}
