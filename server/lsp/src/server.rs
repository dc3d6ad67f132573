//! The server: its parts, and one line for each method of the protocol.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tower_lsp::jsonrpc::Result;
use tower_lsp::lsp_types::{
    CodeActionParams, CodeActionResponse, CodeLens, CodeLensParams, CompletionParams, CompletionResponse,
    Diagnostic, DidChangeConfigurationParams, DidChangeTextDocumentParams, DidChangeWorkspaceFoldersParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, DidSaveTextDocumentParams,
    DocumentFormattingParams, DocumentLink, DocumentLinkParams, DocumentSymbolParams, DocumentSymbolResponse,
    ExecuteCommandParams, FoldingRange, FoldingRangeParams, Hover, HoverParams, InitializeParams,
    InitializeResult, InitializedParams, InlayHint, InlayHintParams, SemanticTokensParams,
    SemanticTokensResult, TextEdit, Uri,
};
use tower_lsp::{Client, ClientSocket, LanguageServer, LspService};

use crate::capabilities::Capabilities;
use crate::checker::{self, Change, Changes};
use crate::documents::{Document, Documents};
use crate::environment::Environment;
use crate::lifecycle::Lifecycle;
use crate::{Options, handlers};

/// The server. Cheap to clone, for the tasks that it starts.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

/// What every handler sees.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) documents: Documents,
    pub(crate) changes: Changes,
    pub(crate) environment: Environment,
    pub(crate) lifecycle: Arc<Lifecycle>,
    capabilities: OnceLock<Capabilities>,
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
        let (changes, changed) = mpsc::unbounded_channel();
        let build = |client| {
            Self(Arc::new(Shared {
                client,
                documents: Documents::default(),
                changes,
                environment: Environment::new(&options.cache),
                lifecycle,
                capabilities: OnceLock::new(),
            }))
        };
        let (service, socket) = LspService::build(build).finish();
        tokio::spawn(checker::run(service.inner().clone(), changed));
        (service, socket)
    }

    /// What the client can take; nothing special before `initialize`.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        static NONE: OnceLock<Capabilities> = OnceLock::new();
        self.capabilities.get().unwrap_or_else(|| NONE.get_or_init(Capabilities::default))
    }

    /// Takes note of what the client can take; the first time counts.
    pub(crate) fn set_capabilities(&self, capabilities: Capabilities) -> &Capabilities {
        self.capabilities.get_or_init(|| capabilities)
    }

    /// A document was opened, changed or closed.
    pub(crate) fn text_changed(&self, uri: Uri) {
        // The other end lives as long as the server.
        let _ = self.changes.send(Change::Text(uri));
    }

    /// Shows what the text tells.
    pub(crate) async fn publish_static(&self, document: &Document, found: Vec<Diagnostic>) {
        self.client.publish_diagnostics(document.uri.clone(), found, Some(document.version)).await;
    }

    /// Shows what the machine lacks.
    pub(crate) async fn publish_environment(&self, _document: &Document, _found: Vec<Diagnostic>) {}

    /// Shows nothing of a document any more.
    pub(crate) async fn clear(&self, uri: &Uri) {
        self.client.publish_diagnostics(uri.clone(), Vec::new(), None).await;
    }

    /// Ends every machine, within this time.
    pub(crate) async fn end_runs(&self, _limit: Duration) {}
}

impl LanguageServer for Server {
    async fn initialize(&self, params: InitializeParams) -> Result<InitializeResult> {
        handlers::initialize::initialize(self, &params)
    }

    async fn initialized(&self, _: InitializedParams) {}

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
}
