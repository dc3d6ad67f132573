//! What the client can take. Nobody else reads its capabilities, and what the server offers follows from them.

use serde_json::{Value, json};
use tower_lsp::lsp_types::{
    ClientCapabilities, CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CodeLensOptions,
    CompletionOptions, DocumentLinkOptions, ExecuteCommandOptions, FoldingRangeProviderCapability,
    HoverProviderCapability, InitializeParams, MarkupKind, OneOf, SaveOptions, SemanticTokensFullOptions,
    SemanticTokensLegend, SemanticTokensOptions, SemanticTokensServerCapabilities, ServerCapabilities,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, TextDocumentSyncSaveOptions,
    WorkDoneProgressOptions, WorkspaceFoldersServerCapabilities, WorkspaceServerCapabilities,
};

use crate::convert;
use crate::position::Encoding;
use crate::protocol;
use crate::runs::ClientSupport;

/// What the client announced, as far as it makes a difference here.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(crate) struct Capabilities {
    /// What its positions count.
    pub(crate) encoding: Encoding,
    /// It takes `vmtest/runEvent`.
    pub(crate) run_events: bool,
    /// It opens a terminal for a target's shell.
    pub(crate) shell: bool,
    /// It shows progress that we begin.
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
    /// It opens files when told to.
    pub(crate) show_document: bool,
    /// It takes code actions that are more than a command.
    pub(crate) code_action_literals: bool,
    /// It takes an edit that names the version of its document.
    pub(crate) document_changes: bool,
    /// It marks the preferred code action.
    pub(crate) preferred_actions: bool,
    /// It folds whole lines only.
    pub(crate) line_folding: bool,
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
        let own = |pointer: &str| {
            experimental
                .as_ref()
                .and_then(|value| value.pointer(pointer))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        Self {
            encoding: Encoding::negotiate(&offered.unwrap_or_default()),
            run_events: protocol::wants_run_events(experimental.as_ref()),
            shell: own("/vmtest/shell"),
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
            show_document: window.show_document.is_some_and(|show| show.support),
            code_action_literals: actions.code_action_literal_support.is_some(),
            document_changes: yes(workspace.workspace_edit.and_then(|edit| edit.document_changes)),
            preferred_actions: yes(actions.is_preferred_support),
            line_folding: yes(document.folding_range.and_then(|folding| folding.line_folding_only)),
        }
    }

    /// What matters to runs.
    pub(crate) fn for_runs(&self) -> ClientSupport {
        ClientSupport {
            run_events: self.run_events,
            progress: self.progress,
            lens_refresh: self.lens_refresh,
            related_information: self.related_information,
            show_document: self.show_document,
            encoding: self.encoding,
        }
    }

    /// What the server offers to this client.
    pub(crate) fn server(&self) -> ServerCapabilities {
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
                work_done_progress_options: WorkDoneProgressOptions::default(),
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
                commands: protocol::COMMANDS.map(str::to_owned).to_vec(),
                ..ExecuteCommandOptions::default()
            }),
            workspace: Some(WorkspaceServerCapabilities {
                workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                    supported: Some(true),
                    change_notifications: Some(OneOf::Left(true)),
                }),
                file_operations: None,
            }),
            experimental: Some(json!({ "vmtest": { "runEvents": true } })),
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
