//! `vmtest/didChangeTrust`.

use crate::protocol::TrustParams;
use crate::server::Server;

/// The user trusts the workspace now, or does not any more.
pub(crate) async fn did_change_trust(server: &Server, params: TrustParams) {
    server.trust.set(params.trusted);
}
