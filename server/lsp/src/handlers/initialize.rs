//! `initialize` and `shutdown`: how a session begins and ends.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{InitializeParams, InitializeResult, ServerInfo};

use crate::capabilities::Capabilities;
use crate::lifecycle::{self, Reason};
use crate::server::Server;

/// Reads what the client is and can, and says what the server offers.
pub(crate) fn initialize(server: &Server, params: &InitializeParams) -> Result<InitializeResult> {
    if let Some(gone) = params.process_id.and_then(lifecycle::client_gone) {
        let server = server.clone();
        tokio::spawn(async move {
            gone.await;
            server.lifecycle.leave(Reason::ClientGone);
        });
    }
    let capabilities = server.set_capabilities(Capabilities::new(params));
    Ok(InitializeResult {
        capabilities: capabilities.server(Vec::new()),
        server_info: Some(ServerInfo {
            name: "vmtest".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
    })
}

/// The client will not ask for anything any more.
pub(crate) fn shutdown(server: &Server) {
    server.lifecycle.shut_down();
}
