//! `vmtest/targets`.

use tower_lsp::jsonrpc::Result;

use crate::protocol::{DocumentArguments, TargetInfo};
use crate::runs::TargetKey;
use crate::server::Server;

/// The targets of a document and how they are.
pub(crate) async fn targets(server: &Server, params: DocumentArguments) -> Result<Vec<TargetInfo>> {
    let document = server.document(&params.uri).await.ok_or_else(|| super::no_document(&params.uri))?;
    let targets = document.analysis.targets();
    let keys = TargetKey::all(targets.iter().map(|target| target.name.as_str()));
    let info = |(index, (target, key)): (usize, (&vmtest_ide::TargetOutline, &TargetKey))| TargetInfo {
        name: target.name.clone(),
        index,
        interactive: target.interactive,
        range: document.range(&target.header),
        state: server.runs.status(&params.uri, key),
    };
    Ok(targets.iter().zip(&keys).enumerate().map(info).collect())
}
