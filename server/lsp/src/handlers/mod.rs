//! One file for each method: find the document, ask [`vmtest_ide`], convert.
//!
//! A handler of a notification does everything before its first `.await`, if it has one: what comes after that is not in
//! order with the messages that follow. A handler of a request takes its document before that, so it answers for the text
//! that the client had when it asked.

pub(crate) mod cancel;
pub(crate) mod code_action;
pub(crate) mod code_lens;
pub(crate) mod completion;
pub(crate) mod did_change;
pub(crate) mod did_change_configuration;
pub(crate) mod did_change_trust;
pub(crate) mod did_change_workspace_folders;
pub(crate) mod did_close;
pub(crate) mod did_open;
pub(crate) mod did_save;
pub(crate) mod document_link;
pub(crate) mod document_symbol;
pub(crate) mod execute_command;
pub(crate) mod folding_range;
pub(crate) mod formatting;
pub(crate) mod hover;
pub(crate) mod initialize;
pub(crate) mod inlay_hint;
pub(crate) mod run;
pub(crate) mod semantic_tokens;
pub(crate) mod targets;

use serde_json::json;
use tower_lsp::jsonrpc::{Error, ErrorCode};
use tower_lsp::lsp_types::Uri;

use crate::runs::Refusal;

/// `RequestFailed`: the request was understood, and cannot be done.
const REQUEST_FAILED: ErrorCode = ErrorCode::ServerError(-32803);

fn failed(message: String) -> Error {
    Error { code: REQUEST_FAILED, message: message.into(), data: None }
}

fn refused(refusal: &Refusal) -> Error {
    let data = (*refusal == Refusal::Untrusted).then(|| json!({ "reason": "untrusted" }));
    Error { data, ..failed(refusal.to_string()) }
}

fn no_document(uri: &Uri) -> Error {
    failed(format!("there is no vmtest.toml at {}", uri.as_str()))
}
