//! `initialize` and `shutdown`: how a session begins and ends.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use tower_lsp::lsp_types::{InitializeParams, InitializeResult, MessageType, ServerInfo};

use crate::capabilities::Capabilities;
use crate::lifecycle::{ClientProcess, Reason};
use crate::protocol::Options;
use crate::server::Server;
use crate::uri::file_of;

/// Reads what the client is and can, and says what the server offers.
pub(crate) fn initialize(server: &Server, params: &InitializeParams) -> InitializeResult {
    if let Some(client) = params.process_id.and_then(ClientProcess::find) {
        let lifecycle = Arc::clone(&server.lifecycle);
        if let Err(error) = client.watch(move || lifecycle.leave(Reason::ClientGone)) {
            tracing::warn!(%error, "cannot watch the client's process; only the end of input is seen");
        }
    }
    let capabilities = server.set_capabilities(Capabilities::new(params));
    let (options, complaints) = Options::read(params.initialization_options.as_ref());
    server.complaints.lock().unwrap_or_else(PoisonError::into_inner).extend(complaints);
    server.trust.set(options.trusted);
    server.warming.switch(options.warm_snapshots);
    server.runs.configure(|settings| {
        settings.client = capabilities.for_runs();
        settings.folders = folders(params);
        settings.jobs = options.jobs;
    });
    InitializeResult {
        capabilities: capabilities.server(),
        server_info: Some(ServerInfo {
            name: "vmtest".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    }
}

/// Says what could not be said before.
pub(crate) fn initialized(server: &Server) {
    let complaints = std::mem::take(&mut *server.complaints.lock().unwrap_or_else(PoisonError::into_inner));
    let client = server.client.clone();
    tokio::spawn(async move {
        for complaint in complaints {
            client.show_message(MessageType::WARNING, complaint).await;
        }
    });
}

/// The client will not ask for anything any more.
pub(crate) fn shutdown(server: &Server) {
    server.lifecycle.shut_down();
}

/// The workspace's folders; older clients have one root.
fn folders(params: &InitializeParams) -> Vec<PathBuf> {
    #[expect(deprecated, reason = "clients that know no folders send it")]
    let root = params.root_uri.as_ref();
    match &params.workspace_folders {
        Some(folders) => folders.iter().filter_map(|folder| file_of(&folder.uri)).collect(),
        None => root.and_then(file_of).into_iter().collect(),
    }
}
