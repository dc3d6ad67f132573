//! The server: its parts, and one line for each method of the protocol.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use tokio::sync::mpsc;
use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{
    CodeActionParams, CodeActionResponse, CodeLens, CodeLensParams, CompletionParams, CompletionResponse,
    DidChangeConfigurationParams, DidChangeTextDocumentParams, DidChangeWorkspaceFoldersParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, DidSaveTextDocumentParams,
    DocumentFormattingParams, DocumentLink, DocumentLinkParams, DocumentSymbolParams, DocumentSymbolResponse,
    ExecuteCommandParams, FoldingRange, FoldingRangeParams, Hover, HoverParams, InitializeParams,
    InitializeResult, InitializedParams, InlayHint, InlayHintParams, SemanticTokensParams,
    SemanticTokensResult, TextEdit, Uri,
};
use tower_lsp::{Client, ClientSocket, LanguageServer, LspService};

use crate::capabilities::Capabilities;
use crate::checker::{self, Change, Changes};
use crate::diagnostics::Diagnostics;
use crate::documents::{Document, Documents};
use crate::environment::Environment;
use crate::lifecycle::Lifecycle;
use crate::runs::{Runs, TargetKey};
use crate::trust::Trust;
use crate::warming::Warming;
use crate::{Options, convert, handlers, protocol};

/// The server. Cheap to clone, for the tasks that it starts.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

/// What every handler sees.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) documents: Arc<Documents>,
    pub(crate) changes: Changes,
    pub(crate) environment: Arc<Environment>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) diagnostics: Arc<Diagnostics>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) runs: Runs,
    pub(crate) warming: Arc<Warming>,
    /// What was wrong with the client's options; to be said as soon as that is allowed.
    pub(crate) complaints: Mutex<Vec<String>>,
    capabilities: OnceLock<Arc<Capabilities>>,
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Server {
    /// A server and the client's end of it.
    pub(crate) fn service(options: Options, lifecycle: Arc<Lifecycle>) -> (LspService<Self>, ClientSocket) {
        let (changes, received) = mpsc::unbounded_channel();
        let pause = options.pause;
        let build = |client: Client| {
            let (diagnostics, trust) = (Arc::<Diagnostics>::default(), Arc::<Trust>::default());
            let outbox = Arc::new(client.clone());
            let documents = Arc::<Documents>::default();
            let (executor, shown, word) =
                (Arc::clone(&options.executor), Arc::clone(&documents), Arc::clone(&trust));
            let warming = Arc::new(Warming::new(executor, shown, word));
            Self(Arc::new(Shared {
                runs: Runs::new(
                    options.executor,
                    outbox,
                    Arc::clone(&diagnostics),
                    Arc::clone(&trust),
                    Arc::clone(&warming),
                    options.make_logs,
                ),
                warming,
                client,
                diagnostics,
                trust,
                documents,
                changes,
                environment: Arc::new(Environment::new(&options.cache)),
                lifecycle,
                capabilities: OnceLock::new(),
                complaints: Mutex::default(),
            }))
        };
        let (service, socket) = LspService::build(build)
            .custom_method(protocol::TARGETS, handlers::targets::targets)
            .custom_method(protocol::RUN, handlers::run::run)
            .custom_method(protocol::CANCEL, handlers::cancel::cancel)
            .custom_method(protocol::DID_CHANGE_TRUST, handlers::did_change_trust::did_change_trust)
            .custom_method("window/workDoneProgress/cancel", handlers::cancel::cancel_progress)
            .finish();
        let server = service.inner().clone();
        tokio::spawn(checker::run(server.clone(), received, pause));
        let publisher = server.clone();
        tokio::spawn(async move { publisher.diagnostics.publish(&publisher.client).await });
        tokio::spawn(Arc::clone(&server.warming).work());
        tokio::spawn(async move { server.runs.refresh_lenses().await });
        (service, socket)
    }

    /// What the client can take; nothing special before `initialize`.
    pub(crate) fn capabilities(&self) -> &Arc<Capabilities> {
        static NONE: OnceLock<Arc<Capabilities>> = OnceLock::new();
        self.capabilities.get().unwrap_or_else(|| NONE.get_or_init(Arc::default))
    }

    /// Takes note of what the client can take; the first time counts.
    pub(crate) fn set_capabilities(&self, capabilities: Capabilities) -> &Arc<Capabilities> {
        self.capabilities.get_or_init(|| Arc::new(capabilities))
    }

    /// A document was opened, changed or closed.
    pub(crate) fn text_changed(&self, uri: Uri) {
        // The other end lives as long as the server.
        let _ = self.changes.send(Change::Text(uri));
    }

    /// What is known of kernels has changed, so the client's inlay hints are out of date.
    pub(crate) fn facts_changed(&self) {
        if self.capabilities().inlay_refresh {
            let client = self.client.clone();
            // Nobody waits for the answer.
            tokio::spawn(async move { client.inlay_hint_refresh().await });
        }
    }

    /// What stands over each target.
    pub(crate) fn lenses(&self, document: &Document) -> Vec<vmtest_ide::Lens> {
        let targets = document.analysis.targets();
        let keys = TargetKey::all(targets.iter().map(|target| target.name.as_str()));
        let states = self.runs.states(&document.uri);
        document.analysis.lenses(&|target| {
            keys.get(target.index).and_then(|key| states.get(key)).map(convert::run_state).unwrap_or_default()
        })
    }

    /// A document as it is shown, else as it is saved; none when it is neither.
    pub(crate) async fn document(&self, uri: &Uri) -> Option<Arc<Document>> {
        if let Some(shown) = self.documents.get(uri) {
            return Some(shown);
        }
        let (uri, encoding) = (uri.clone(), self.capabilities().encoding);
        let read = tokio::task::spawn_blocking(move || Document::saved(uri, encoding));
        read.await.ok().flatten().map(Arc::new)
    }
}

impl LanguageServer for Server {
    async fn initialize(&self, params: InitializeParams) -> Result<InitializeResult> {
        Ok(handlers::initialize::initialize(self, &params))
    }

    async fn initialized(&self, _: InitializedParams) {
        handlers::initialize::initialized(self);
    }

    async fn shutdown(&self) -> Result<()> {
        handlers::initialize::shutdown(self);
        Ok(())
    }

    async fn did_open(&self, params: DidOpenTextDocumentParams) {
        handlers::did_open::did_open(self, params);
    }

    async fn did_change(&self, params: DidChangeTextDocumentParams) {
        handlers::did_change::did_change(self, params);
    }

    async fn did_save(&self, params: DidSaveTextDocumentParams) {
        handlers::did_save::did_save(self, params);
    }

    async fn did_close(&self, params: DidCloseTextDocumentParams) {
        handlers::did_close::did_close(self, &params);
    }

    async fn completion(&self, params: CompletionParams) -> Result<Option<CompletionResponse>> {
        handlers::completion::completion(self, params).await
    }

    async fn hover(&self, params: HoverParams) -> Result<Option<Hover>> {
        handlers::hover::hover(self, params).await
    }

    async fn document_symbol(&self, params: DocumentSymbolParams) -> Result<Option<DocumentSymbolResponse>> {
        handlers::document_symbol::document_symbol(self, params).await
    }

    async fn folding_range(&self, params: FoldingRangeParams) -> Result<Option<Vec<FoldingRange>>> {
        handlers::folding_range::folding_range(self, params).await
    }

    async fn document_link(&self, params: DocumentLinkParams) -> Result<Option<Vec<DocumentLink>>> {
        handlers::document_link::document_link(self, params).await
    }

    async fn formatting(&self, params: DocumentFormattingParams) -> Result<Option<Vec<TextEdit>>> {
        handlers::formatting::formatting(self, params).await
    }

    async fn inlay_hint(&self, params: InlayHintParams) -> Result<Option<Vec<InlayHint>>> {
        handlers::inlay_hint::inlay_hint(self, params).await
    }

    async fn semantic_tokens_full(
        &self,
        params: SemanticTokensParams,
    ) -> Result<Option<SemanticTokensResult>> {
        handlers::semantic_tokens::semantic_tokens_full(self, params).await
    }

    async fn code_lens(&self, params: CodeLensParams) -> Result<Option<Vec<CodeLens>>> {
        handlers::code_lens::code_lens(self, params).await
    }

    async fn code_action(&self, params: CodeActionParams) -> Result<Option<CodeActionResponse>> {
        handlers::code_action::code_action(self, params).await
    }

    async fn execute_command(&self, params: ExecuteCommandParams) -> Result<Option<Value>> {
        handlers::execute_command::execute_command(self, params).await
    }

    async fn did_change_configuration(&self, params: DidChangeConfigurationParams) {
        handlers::did_change_configuration::did_change_configuration(self, &params);
    }

    async fn did_change_workspace_folders(&self, params: DidChangeWorkspaceFoldersParams) {
        handlers::did_change_workspace_folders::did_change_workspace_folders(self, &params);
    }
}
