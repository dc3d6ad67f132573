//! What the client can take. Nobody else reads its capabilities, and what the server offers follows from them.

use serde_json::Value;
use tower_lsp::lsp_types::{
    ClientCapabilities, CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CodeLensOptions,
    CompletionOptions, DocumentLinkOptions, ExecuteCommandOptions, FoldingRangeProviderCapability,
    HoverProviderCapability, InitializeParams, MarkupKind, OneOf, SaveOptions, SemanticTokensFullOptions,
    SemanticTokensLegend, SemanticTokensOptions, SemanticTokensServerCapabilities, ServerCapabilities,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, TextDocumentSyncSaveOptions,
    WorkspaceFoldersServerCapabilities, WorkspaceServerCapabilities,
};

use crate::convert;
use crate::position::Encoding;

/// What the client announced, as far as it makes a difference here.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Capabilities {
    /// What its positions count.
    pub(crate) encoding: Encoding,
    /// It takes `vmtest/runEvent`.
    pub(crate) run_events: bool,
    /// It has commands of its own behind the lenses, so ours need not be advertised.
    pub(crate) progress: bool,
    /// It asks for lenses again when told to.
    pub(crate) lens_refresh: bool,
    /// It asks for inlay hints again when told to.
    pub(crate) inlay_refresh: bool,
    /// It takes symbols within symbols.
    pub(crate) hierarchical_symbols: bool,
    /// It takes completions with places to fill in.
    pub(crate) snippets: bool,
    /// It renders Markdown in hovers.
    pub(crate) markdown_hover: bool,
    /// It renders Markdown in the documentation of completions.
    pub(crate) markdown_completion: bool,
    /// It shows a diagnostic's related places.
    pub(crate) related_information: bool,
    /// It takes the number of the text that diagnostics belong to.
    pub(crate) diagnostic_version: bool,
    /// It can ask the user, who clicks a button.
    pub(crate) show_message_request: bool,
    /// It takes code actions that are more than a command.
    pub(crate) code_action_literals: bool,
    /// It takes an edit that names the version of its document.
    pub(crate) document_changes: bool,
    /// It marks the preferred code action.
    pub(crate) preferred_actions: bool,
    /// It answers `workspace/configuration`.
    pub(crate) configuration: bool,
    /// It folds whole lines only.
    pub(crate) line_folding: bool,
    /// It shows a link's tooltip.
    pub(crate) link_tooltips: bool,
}

impl Capabilities {
    /// Reads what the client says of itself.
    pub(crate) fn new(params: &InitializeParams) -> Self {
        let ClientCapabilities { workspace, text_document, window, general, experimental, .. } =
            &params.capabilities;
        let workspace = workspace.clone().unwrap_or_default();
        let document = text_document.clone().unwrap_or_default();
        let window = window.clone().unwrap_or_default();
        let offered = general.as_ref().and_then(|general| general.position_encodings.clone());
        let yes = |answer: Option<bool>| answer.unwrap_or(false);
        let markdown =
            |kinds: Option<Vec<MarkupKind>>| kinds.is_some_and(|kinds| kinds.contains(&MarkupKind::Markdown));
        let diagnostics = document.publish_diagnostics.unwrap_or_default();
        let actions = document.code_action.unwrap_or_default();
        let completion =
            document.completion.and_then(|completion| completion.completion_item).unwrap_or_default();
        let experimental = experimental.as_ref().and_then(|value| value.pointer("/vmtest/runEvents"));
        Self {
            encoding: Encoding::negotiate(&offered.unwrap_or_default()),
            run_events: experimental.and_then(Value::as_bool).unwrap_or(false),
            progress: yes(window.work_done_progress),
            lens_refresh: yes(workspace.code_lens.and_then(|lens| lens.refresh_support)),
            inlay_refresh: yes(workspace.inlay_hint.and_then(|hint| hint.refresh_support)),
            hierarchical_symbols: yes(document
                .document_symbol
                .and_then(|symbols| symbols.hierarchical_document_symbol_support)),
            snippets: yes(completion.snippet_support),
            markdown_hover: markdown(document.hover.and_then(|hover| hover.content_format)),
            markdown_completion: markdown(completion.documentation_format),
            related_information: yes(diagnostics.related_information),
            diagnostic_version: yes(diagnostics.version_support),
            show_message_request: window.show_message.is_some(),
            code_action_literals: actions.code_action_literal_support.is_some(),
            document_changes: yes(workspace.workspace_edit.and_then(|edit| edit.document_changes)),
            preferred_actions: yes(actions.is_preferred_support),
            configuration: yes(workspace.configuration),
            line_folding: yes(document.folding_range.and_then(|folding| folding.line_folding_only)),
            link_tooltips: yes(document.document_link.and_then(|link| link.tooltip_support)),
        }
    }

    /// What the server offers to this client.
    pub(crate) fn server(&self, commands: Vec<String>) -> ServerCapabilities {
        ServerCapabilities {
            position_encoding: Some(self.encoding.kind()),
            text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(TextDocumentSyncKind::FULL),
                save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions {
                    include_text: Some(false),
                })),
                ..TextDocumentSyncOptions::default()
            })),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some(["[", ".", "\"", "'", "=", "/", " "].map(str::to_owned).to_vec()),
                ..CompletionOptions::default()
            }),
            hover_provider: Some(HoverProviderCapability::Simple(true)),
            document_symbol_provider: Some(OneOf::Left(true)),
            folding_range_provider: Some(FoldingRangeProviderCapability::Simple(true)),
            document_link_provider: Some(DocumentLinkOptions {
                resolve_provider: Some(false),
                work_done_progress_options: Default::default(),
            }),
            document_formatting_provider: Some(OneOf::Left(true)),
            inlay_hint_provider: Some(OneOf::Left(true)),
            semantic_tokens_provider: Some(SemanticTokensServerCapabilities::SemanticTokensOptions(
                SemanticTokensOptions {
                    legend: SemanticTokensLegend {
                        token_types: convert::token_types(),
                        token_modifiers: Vec::new(),
                    },
                    full: Some(SemanticTokensFullOptions::Bool(true)),
                    ..SemanticTokensOptions::default()
                },
            )),
            code_lens_provider: Some(CodeLensOptions { resolve_provider: Some(false) }),
            code_action_provider: Some(self.code_actions()),
            execute_command_provider: Some(ExecuteCommandOptions {
                commands,
                ..ExecuteCommandOptions::default()
            }),
            workspace: Some(WorkspaceServerCapabilities {
                workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                    supported: Some(true),
                    change_notifications: Some(OneOf::Left(true)),
                }),
                file_operations: None,
            }),
            experimental: Some(serde_json::json!({ "vmtest": { "runEvents": true } })),
            ..ServerCapabilities::default()
        }
    }

    fn code_actions(&self) -> CodeActionProviderCapability {
        if !self.code_action_literals {
            // Such a client knows no kinds either; it gets commands.
            return CodeActionProviderCapability::Simple(true);
        }
        CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, convert::run_action_kind()]),
            ..CodeActionOptions::default()
        })
    }
}
