//! `vmtest/run`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::Uri;

use crate::protocol::{RunParams, RunResult};
use crate::runs::{Choice, Request};
use crate::server::Server;

/// Starts targets of the text that is shown; the answer comes before anything boots.
pub(crate) async fn run(server: &Server, params: RunParams) -> Result<RunResult> {
    let request = request(server, params.uri, &Choice::of(params.targets)).await?;
    let run_id = server.runs.start(request).map_err(|refusal| super::refused(&refusal))?;
    Ok(RunResult { run_id })
}

/// What is to run.
pub(super) async fn request(server: &Server, uri: Uri, choice: &Choice) -> Result<Request> {
    let document = server.document(&uri).await.filter(|document| document.file.is_some());
    let document = document.ok_or_else(|| super::no_document(&uri))?;
    let encoding = server.capabilities().encoding;
    Request::new(uri, document.text(), document.base(), encoding, choice)
        .map_err(|refusal| super::refused(&refusal))
}
