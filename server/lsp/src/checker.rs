//! Problems are published as soon as a text changes; what needs the disk follows when the typing pauses.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tower_lsp::lsp_types::Uri;

use crate::convert;
use crate::diagnostics::{ByFile, Owner};
use crate::documents::Document;
use crate::environment::Finding;
use crate::server::Server;

/// Something to be published.
pub(crate) enum Change {
    /// A document was opened, changed or closed.
    Text(Uri),
    /// What the machine lacks for a document.
    Environment(Arc<Document>, Vec<Finding>),
}

/// Takes note of changes.
pub(crate) type Changes = mpsc::UnboundedSender<Change>;

/// Publishes what is wrong with the documents, one after the other: so versions are in order, nothing comes after a
/// document was closed, and changes that come faster than they can be looked at are looked at together.
pub(crate) async fn run(server: Server, mut changes: mpsc::UnboundedReceiver<Change>, pause: Duration) {
    let mut pauses: HashMap<Uri, watch::Sender<()>> = HashMap::new();
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, 1024).await > 0 {
        let mut looked_at = Vec::new();
        for change in batch.drain(..) {
            match change {
                Change::Text(uri) if looked_at.contains(&uri) => {}
                Change::Text(uri) => {
                    // A panic costs this look, and not all that follow; it has been logged.
                    let look = AssertUnwindSafe(|| look_at_text(&server, &uri));
                    if catch_unwind(look).unwrap_or(true) {
                        pauses
                            .entry(uri.clone())
                            .or_insert_with_key(|uri| watch_pauses(&server, uri, pause))
                            .send_replace(());
                    } else {
                        pauses.remove(&uri);
                    }
                    looked_at.push(uri);
                }
                Change::Environment(document, found) => {
                    // An answer about an older text would be shown at places that have moved.
                    let now = server.documents.get(&document.uri);
                    if now.is_some_and(|now| Arc::ptr_eq(&now, &document)) {
                        let found = convert::findings(&document, &found, server.capabilities());
                        let owner = Owner::Environment(document.uri.clone());
                        server.diagnostics.set(owner, ByFile::from([(document.uri.clone(), found)]));
                    }
                }
            }
        }
    }
}

/// What the text alone tells; false when the document is closed.
fn look_at_text(server: &Server, uri: &Uri) -> bool {
    let Some(document) = server.documents.get(uri) else {
        server.runs.forget(uri);
        server.diagnostics.forget_version(uri);
        server.diagnostics.clear_all_of(uri);
        return false;
    };
    let found = convert::problems(&document, &document.analysis.problems(), server.capabilities());
    server.diagnostics.set_static(uri, document.version, found);
    let targets = document.analysis.targets();
    let headers: Vec<_> =
        targets.iter().map(|target| (target.name.as_str(), document.range(&target.header))).collect();
    server.runs.document_changed(uri, &headers);
    true
}

/// Looks at the disk each time that the text was left alone for so long. Ends when what it returns is dropped.
fn watch_pauses(server: &Server, uri: &Uri, pause: Duration) -> watch::Sender<()> {
    let (sender, mut changed) = watch::channel(());
    let (server, uri) = (server.clone(), uri.clone());
    tokio::spawn(async move {
        while changed.changed().await.is_ok() {
            while let Ok(again) = tokio::time::timeout(pause, changed.changed()).await {
                if again.is_err() {
                    return;
                }
            }
            let Some(document) = server.documents.get(&uri) else { return };
            if let Some(found) = server.environment.look(&document).await {
                let _ = server.changes.send(Change::Environment(document, found));
                server.facts_changed();
            }
        }
    });
    sender
}
