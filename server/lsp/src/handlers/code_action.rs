//! `textDocument/codeAction`.

use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{CodeActionKind, CodeActionParams, CodeActionResponse};
use vmtest_ide::LensAction;

use super::code_lens::lenses;
use crate::convert;
use crate::server::Server;

/// Cures of the problems here, and what the lenses of the target here do: not every editor shows lenses.
pub(crate) async fn code_action(
    server: &Server,
    params: CodeActionParams,
) -> Result<Option<CodeActionResponse>> {
    let Some(document) = server.documents.get(&params.text_document.uri) else { return Ok(None) };
    let client = server.capabilities();
    let wanted = |kind: &CodeActionKind| {
        let covers = |only: &CodeActionKind| {
            let rest = kind.as_str().strip_prefix(only.as_str());
            only.as_str().is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        params.context.only.as_ref().is_none_or(|only| only.iter().any(covers))
    };
    let bytes = document.bytes(params.range);
    let mut actions = Vec::new();
    if client.code_action_literals && wanted(&CodeActionKind::QUICKFIX) {
        let fixes = document.analysis.fixes(bytes.clone());
        let shown = &params.context.diagnostics;
        actions.extend(fixes.into_iter().map(|fix| convert::quick_fix(&document, fix, shown, client)));
    }
    if wanted(&convert::run_action_kind()) {
        let targets = document.analysis.targets();
        let is_here = |index: usize| {
            targets
                .get(index)
                .is_some_and(|target| target.range.start <= bytes.end && bytes.start <= target.range.end)
        };
        let here = lenses(server, &document).into_iter().filter(|lens| match &lens.action {
            LensAction::RunAll => true,
            LensAction::Run(target)
            | LensAction::Shell(target)
            | LensAction::Stop(target)
            | LensAction::Log(target) => is_here(target.index),
        });
        actions.extend(here.filter_map(|lens| convert::lens_action(&document, lens, client)));
    }
    Ok(Some(actions))
}
