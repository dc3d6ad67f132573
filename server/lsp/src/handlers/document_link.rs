//! `textDocument/documentLink`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{DocumentLink, DocumentLinkParams};

use crate::convert;
use crate::server::Server;

/// What can be opened. What is no file yet has no place that its paths start at, so those lead nowhere.
pub(crate) async fn document_link(
    server: &Server,
    params: DocumentLinkParams,
) -> Result<Option<Vec<DocumentLink>>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let links = document.ask(|document| {
        let is_file = document.file.is_some();
        let links = document.analysis.links();
        links
            .iter()
            .filter(|link| is_file || matches!(link.target, vmtest_ide::LinkTarget::Url(_)))
            .filter_map(|link| convert::link(document, link))
            .collect()
    });
    Ok(Some(links.await))
}
