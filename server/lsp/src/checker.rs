//! Problems are published as soon as a text changes; what needs the disk follows when the typing pauses.

use std::collections::HashMap;
use std::ops::Range;
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
    // What the last look at the disk found, and in which text.
    let mut found_in: HashMap<Uri, (Arc<Document>, Vec<Finding>)> = HashMap::new();
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, 1024).await > 0 {
        let mut looked_at = Vec::new();
        for change in batch.drain(..) {
            match change {
                Change::Text(uri) if looked_at.contains(&uri) => {}
                Change::Text(uri) => {
                    if let Some((seen, found)) = found_in.get(&uri) {
                        keep_in_place(&server, seen, found);
                    }
                    // A panic costs this look, and not all that follow; it has been logged.
                    let look = AssertUnwindSafe(|| look_at_text(&server, &uri));
                    if catch_unwind(look).unwrap_or(true) {
                        pauses
                            .entry(uri.clone())
                            .or_insert_with_key(|uri| watch_pauses(&server, uri, pause))
                            .send_replace(());
                    } else {
                        pauses.remove(&uri);
                        found_in.remove(&uri);
                    }
                    looked_at.push(uri);
                }
                Change::Environment(document, found) => {
                    // An answer about an older text would be shown at places that have moved.
                    let now = server.documents.get(&document.uri);
                    if now.is_some_and(|now| Arc::ptr_eq(&now, &document)) {
                        show(&server, &document, &found);
                        found_in.insert(document.uri.clone(), (document, found));
                    }
                }
            }
        }
    }
}

fn show(server: &Server, document: &Document, found: &[Finding]) {
    let found = convert::findings(document, found, server.capabilities());
    let owner = Owner::Environment(document.uri.clone());
    server.diagnostics.set(owner, ByFile::from([(document.uri.clone(), found)]));
}

/// Until the next look, what was found stays with the words that it is about; what is about the words that are being
/// edited goes.
fn keep_in_place(server: &Server, seen: &Document, found: &[Finding]) {
    let Some(now) = server.documents.get(&seen.uri).filter(|_| !found.is_empty()) else { return };
    let place = moved(seen.text(), now.text());
    let kept = found.iter().filter_map(|finding| {
        let mut finding = finding.clone();
        finding.problem.span = place(&finding.problem.span)?;
        Some(finding)
    });
    show(server, &now, &kept.collect::<Vec<_>>());
}

/// Where a place of one text is in another that differs from it in one stretch; nowhere when it is in that.
fn moved(old: &str, new: &str) -> impl Fn(&Range<usize>) -> Option<Range<usize>> {
    let same = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(old, new)| old == new).count();
    let before = same(&mut old.bytes().zip(new.bytes()));
    let after = same(&mut old.bytes().rev().zip(new.bytes().rev())).min(old.len().min(new.len()) - before);
    let (end, old_length, new_length) = (old.len() - after, old.len(), new.len());
    move |place| {
        if place.end <= before {
            return Some(place.clone());
        }
        let shifted = |offset: usize| new_length - (old_length - offset);
        (end <= place.start).then(|| shifted(place.start)..shifted(place.end))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_with_its_words_and_goes_when_they_are_edited() {
        let place = moved("one two three", "one 2222 three");
        assert_eq!(place(&(0..3)), Some(0..3));
        assert_eq!(place(&(4..7)), None);
        assert_eq!(place(&(8..13)), Some(9..14));
        let all = moved("aaa", "aaaa");
        assert_eq!(all(&(0..3)), Some(0..3));
        assert_eq!(moved("aaa", "")(&(0..3)), None);
    }
}
