//! `textDocument/codeAction`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{CodeActionKind, CodeActionParams, CodeActionResponse};
use vmtest_ide::{LensAction, TargetRef};

use super::code_lens::lenses;
use crate::convert;
use crate::documents::Document;
use crate::server::Server;

/// More than anybody looks through in a menu.
const MOST_RUNS: usize = 100;

/// Cures of the problems here, and what the lenses of the target here do: not every editor shows lenses.
pub(crate) async fn code_action(
    server: &Server,
    params: CodeActionParams,
) -> Result<Option<CodeActionResponse>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let server = server.clone();
    Ok(Some(document.ask(move |document| actions(&server, document, &params)).await))
}

fn actions(server: &Server, document: &Document, params: &CodeActionParams) -> CodeActionResponse {
    let client = server.capabilities();
    let wanted = |kind: &CodeActionKind| {
        let only = params.context.only.as_ref();
        only.is_none_or(|only| only.iter().any(|only| covers(only.as_str(), kind.as_str())))
    };
    let bytes = document.bytes(params.range);
    let mut actions = Vec::new();
    if client.code_action_literals && wanted(&CodeActionKind::QUICKFIX) {
        let fixes = document.analysis.fixes(bytes.clone());
        let shown = &params.context.diagnostics;
        actions.extend(fixes.into_iter().map(|fix| convert::quick_fix(document, fix, shown, client)));
    }
    if wanted(&convert::run_action_kind()) {
        let targets = document.analysis.targets();
        let is_here = |target: &TargetRef| {
            let range = targets.get(target.index).map(|target| &target.range);
            range.is_some_and(|range| range.start <= bytes.end && bytes.start <= range.end)
        };
        let here = lenses(server, document).into_iter().filter(|lens| match &lens.action {
            LensAction::RunAll => true,
            LensAction::Run(target)
            | LensAction::Shell(target)
            | LensAction::Stop(target)
            | LensAction::Log(target) => is_here(target),
        });
        let mut here: Vec<_> = here.take(MOST_RUNS).collect();
        here.sort_by_key(|lens| rank(&lens.action));
        actions.extend(here.into_iter().filter_map(|lens| convert::lens_action(document, lens, client)));
    }
    actions
}

/// The order in a menu, where many editors do the first action on Enter: that is to run this target or to stop it, whether
/// it has run before or not, and never to run everything.
fn rank(action: &LensAction) -> u8 {
    match action {
        LensAction::Run(_) | LensAction::Shell(_) | LensAction::Stop(_) => 0,
        LensAction::Log(_) => 1,
        LensAction::RunAll => 2,
    }
}

/// Whether somebody who asks for one kind also gets the other: kinds are words between dots, from the general on.
fn covers(asked: &str, kind: &str) -> bool {
    let rest = kind.strip_prefix(asked);
    asked.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_action_runs_the_target_also_when_it_has_a_verdict() {
        let a = || TargetRef { name: "a".to_owned(), index: 0 };
        let mut lenses =
            [LensAction::RunAll, LensAction::Log(a()), LensAction::Run(a()), LensAction::Shell(a())];
        lenses.sort_by_key(rank);
        let menu = [LensAction::Run(a()), LensAction::Shell(a()), LensAction::Log(a()), LensAction::RunAll];
        assert_eq!(lenses, menu);
    }
}
