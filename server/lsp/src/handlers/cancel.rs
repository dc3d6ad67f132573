//! `vmtest/cancel`, and the button of a progress.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{NumberOrString, WorkDoneProgressCancelParams};

use crate::protocol::CancelParams;
use crate::server::Server;

/// Stops a run.
pub(crate) async fn cancel(server: &Server, params: CancelParams) -> Result<()> {
    server.runs.cancel(&params.run_id);
    Ok(())
}

/// `window/workDoneProgress/cancel`: stops the target that the progress is of.
pub(crate) async fn cancel_progress(server: &Server, params: WorkDoneProgressCancelParams) {
    // Ours are strings.
    if let NumberOrString::String(token) = params.token {
        server.runs.cancel_progress(&token);
    }
}
