//! `workspace/didChangeConfiguration`.

use tower_lsp::lsp_types::DidChangeConfigurationParams;

use crate::protocol::Options;
use crate::server::Server;

/// Takes how many targets run at once, for runs that start from now on, and whether guests are kept in advance. Trust is never
/// taken from here: a setting may come from the workspace itself.
pub(crate) fn did_change_configuration(server: &Server, params: &DidChangeConfigurationParams) {
    let Some(own) = params.settings.get("vmtest") else { return };
    let (options, complaints) = Options::read(Some(own));
    for complaint in complaints {
        tracing::warn!(complaint);
    }
    // What is not there stays as it is.
    if own.get("jobs").is_some() {
        server.runs.configure(|settings| settings.jobs = options.jobs);
    }
    if own.get("warmSnapshots").is_some() {
        server.warming.switch(options.warm_snapshots);
    }
}
