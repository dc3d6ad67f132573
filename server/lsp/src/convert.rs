//! The only place where what [`vmtest_ide`] says becomes what the protocol says.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tower_lsp::lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeLens, Command, CompletionItem, CompletionItemKind,
    CompletionTextEdit, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DocumentChanges,
    DocumentLink, DocumentSymbol, DocumentSymbolResponse, Documentation, FoldingRange, FoldingRangeKind,
    Hover, HoverContents, InlayHint, InlayHintLabel, InlayHintTooltip, InsertTextFormat, Location,
    MarkupContent, MarkupKind, NumberOrString, OneOf, OptionalVersionedTextDocumentIdentifier, SemanticToken,
    SemanticTokenType, SymbolInformation, SymbolKind, TextDocumentEdit, TextEdit, WorkspaceEdit,
};
use vmtest_ide::{
    CompletionKind, Edit, LensAction, LinkTarget, Problem, QuickFix, RunState, Severity, TargetRef, TokenKind,
};
use vmtest_vm::verdict::Verdict;
use vmtest_vm::{sanitize, wording};

use crate::capabilities::Capabilities;
use crate::documents::Document;
use crate::environment::Finding;
use crate::protocol;
use crate::runs::TargetState;
use crate::uri::uri_of;

/// More problems than anybody reads; editors keep no more than so many either.
const MOST_PROBLEMS: usize = 1000;

/// What is wrong with a document, the first of it.
pub(crate) fn problems(document: &Document, problems: &[Problem], client: &Capabilities) -> Vec<Diagnostic> {
    problems.iter().take(MOST_PROBLEMS).map(|found| problem(document, found, client)).collect()
}

/// What this machine lacks for a document.
pub(crate) fn findings(document: &Document, findings: &[Finding], client: &Capabilities) -> Vec<Diagnostic> {
    let finding = |finding: &Finding| {
        let mut shown = problem(document, &finding.problem, client);
        if finding.is_hint {
            shown.severity = Some(DiagnosticSeverity::INFORMATION);
        }
        shown
    };
    findings.iter().take(MOST_PROBLEMS).map(finding).collect()
}

fn problem(document: &Document, problem: &Problem, client: &Capabilities) -> Diagnostic {
    let message = match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    };
    let related = problem.related.iter().map(|(range, note)| DiagnosticRelatedInformation {
        location: Location::new(document.uri.clone(), document.range(range)),
        message: note.clone(),
    });
    Diagnostic {
        range: document.range(&problem.span),
        severity: Some(match problem.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(problem.code.to_owned())),
        source: Some("vmtest".to_owned()),
        message,
        related_information: (client.related_information && !problem.related.is_empty())
            .then(|| related.collect()),
        ..Diagnostic::default()
    }
}

/// An entry of the list of completions.
pub(crate) fn completion(
    document: &Document,
    found: vmtest_ide::Completion,
    client: &Capabilities,
) -> CompletionItem {
    let found = if client.snippets { found } else { found.without_places() };
    let kind = match found.kind {
        CompletionKind::Key => CompletionItemKind::PROPERTY,
        CompletionKind::Table => CompletionItemKind::MODULE,
        CompletionKind::Value => CompletionItemKind::VALUE,
        CompletionKind::File => CompletionItemKind::FILE,
        CompletionKind::Directory => CompletionItemKind::FOLDER,
        CompletionKind::Snippet => CompletionItemKind::SNIPPET,
    };
    CompletionItem {
        label: found.label,
        kind: Some(kind),
        detail: found.detail,
        documentation: found
            .doc
            .map(|doc| Documentation::MarkupContent(markup(doc, client.markdown_completion))),
        text_edit: Some(CompletionTextEdit::Edit(edit(document, &found.edit))),
        insert_text_format: Some(if found.snippet {
            InsertTextFormat::SNIPPET
        } else {
            InsertTextFormat::PLAIN_TEXT
        }),
        sort_text: Some(found.sort),
        filter_text: Some(found.filter),
        ..CompletionItem::default()
    }
}

/// A change of the text.
pub(crate) fn edit(document: &Document, edit: &Edit) -> TextEdit {
    TextEdit::new(document.range(&edit.range), edit.text.clone())
}

/// The text of a hover.
pub(crate) fn hover(document: &Document, found: vmtest_ide::Hover, client: &Capabilities) -> Hover {
    Hover {
        contents: HoverContents::Markup(markup(found.markdown, client.markdown_hover)),
        range: Some(document.range(&found.range)),
    }
}

fn markup(value: String, renders: bool) -> MarkupContent {
    // A client that renders nothing shows Markdown well enough as it is.
    MarkupContent { kind: if renders { MarkupKind::Markdown } else { MarkupKind::PlainText }, value }
}

/// The outline.
pub(crate) fn symbols(
    document: &Document,
    found: Vec<vmtest_ide::Symbol>,
    client: &Capabilities,
) -> DocumentSymbolResponse {
    if client.hierarchical_symbols {
        return DocumentSymbolResponse::Nested(
            found.into_iter().map(|found| symbol(document, found)).collect(),
        );
    }
    let mut flat = Vec::new();
    flatten(document, None, found, &mut flat);
    DocumentSymbolResponse::Flat(flat)
}

#[expect(deprecated, reason = "the types cannot be made without the deprecated fields")]
fn symbol(document: &Document, found: vmtest_ide::Symbol) -> DocumentSymbol {
    let children: Vec<_> = found.children.into_iter().map(|child| symbol(document, child)).collect();
    DocumentSymbol {
        name: visible(found.name),
        detail: found.detail,
        kind: symbol_kind(found.kind),
        tags: None,
        deprecated: None,
        range: document.range(&found.range),
        selection_range: document.range(&found.selection),
        children: (!children.is_empty()).then_some(children),
    }
}

#[expect(deprecated, reason = "the types cannot be made without the deprecated fields")]
fn flatten(
    document: &Document,
    container: Option<&str>,
    found: Vec<vmtest_ide::Symbol>,
    flat: &mut Vec<SymbolInformation>,
) {
    for symbol in found {
        let name = visible(symbol.name);
        flat.push(SymbolInformation {
            name: name.clone(),
            kind: symbol_kind(symbol.kind),
            tags: None,
            deprecated: None,
            location: Location::new(document.uri.clone(), document.range(&symbol.range)),
            container_name: container.map(str::to_owned),
        });
        flatten(document, Some(&name), symbol.children, flat);
    }
}

/// The protocol forbids names of nothing but blanks.
fn visible(name: String) -> String {
    if name.trim().is_empty() { "(no name)".to_owned() } else { name }
}

fn symbol_kind(kind: vmtest_ide::SymbolKind) -> SymbolKind {
    match kind {
        vmtest_ide::SymbolKind::Target => SymbolKind::CLASS,
        vmtest_ide::SymbolKind::Table => SymbolKind::MODULE,
        vmtest_ide::SymbolKind::Text => SymbolKind::STRING,
        vmtest_ide::SymbolKind::Number => SymbolKind::NUMBER,
        vmtest_ide::SymbolKind::Bool => SymbolKind::BOOLEAN,
        vmtest_ide::SymbolKind::List => SymbolKind::ARRAY,
        vmtest_ide::SymbolKind::Other => SymbolKind::PROPERTY,
    }
}

/// Lines that can be folded away; none when there is nothing to fold.
pub(crate) fn fold(
    document: &Document,
    fold: &vmtest_ide::Fold,
    client: &Capabilities,
) -> Option<FoldingRange> {
    let range = document.range(&fold.range);
    (range.start.line < range.end.line).then(|| FoldingRange {
        start_line: range.start.line,
        start_character: (!client.line_folding).then_some(range.start.character),
        end_line: range.end.line,
        end_character: (!client.line_folding).then_some(range.end.character),
        kind: Some(if fold.comment { FoldingRangeKind::Comment } else { FoldingRangeKind::Region }),
        collapsed_text: None,
    })
}

/// A link; none when what it names cannot be written as a URI.
pub(crate) fn link(document: &Document, link: &vmtest_ide::Link) -> Option<DocumentLink> {
    let target = match &link.target {
        LinkTarget::File(path) => uri_of(path)?,
        LinkTarget::Url(url) => url.parse().ok()?,
    };
    Some(DocumentLink { range: document.range(&link.range), target: Some(target), tooltip: None, data: None })
}

/// Words between the text.
pub(crate) fn inlay_hint(document: &Document, hint: vmtest_ide::InlayHint) -> InlayHint {
    let tooltip =
        |value| InlayHintTooltip::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value });
    InlayHint {
        position: document.position(hint.offset),
        label: InlayHintLabel::String(hint.label),
        kind: None,
        text_edits: None,
        tooltip: hint.tooltip.map(tooltip),
        padding_left: Some(true),
        padding_right: None,
        data: None,
    }
}

/// The legend of semantic tokens: what [`semantic_tokens`] counts in.
pub(crate) fn token_types() -> Vec<SemanticTokenType> {
    let name = |kind: &TokenKind| match kind {
        TokenKind::Comment => SemanticTokenType::COMMENT,
        TokenKind::Table => SemanticTokenType::TYPE,
        TokenKind::Key => SemanticTokenType::PROPERTY,
        TokenKind::String => SemanticTokenType::STRING,
        TokenKind::Number => SemanticTokenType::NUMBER,
        TokenKind::Bool => SemanticTokenType::KEYWORD,
    };
    TokenKind::ALL.iter().map(name).collect()
}

/// Colours, each relative to the one before.
pub(crate) fn semantic_tokens(document: &Document, tokens: &[vmtest_ide::Token]) -> Vec<SemanticToken> {
    let (mut line, mut character) = (0, 0);
    let relative = |token: &vmtest_ide::Token| {
        let start = document.position(token.range.start);
        let delta_line = start.line - line;
        let delta_start = if delta_line == 0 { start.character - character } else { start.character };
        (line, character) = (start.line, start.character);
        SemanticToken {
            delta_line,
            delta_start,
            length: document.units(&document.text()[token.range.clone()]),
            token_type: TokenKind::ALL.iter().position(|kind| *kind == token.kind).unwrap_or(0) as u32,
            token_modifiers_bitset: 0,
        }
    };
    tokens.iter().map(relative).collect()
}

/// What a lens says of a target's runs.
pub(crate) fn run_state(state: &TargetState) -> RunState {
    if let TargetState::Finished { verdict, took, log } = state {
        return RunState::Ended {
            passed: verdict.passed(),
            summary: ended(verdict, *took),
            log: log.is_some(),
        };
    }
    match state.phase() {
        None => RunState::Idle,
        Some((phase, None)) => RunState::Active { phase: phase.to_owned() },
        Some((phase, Some(time))) => RunState::Active { phase: format!("{phase}, {} s", time.as_secs()) },
    }
}

fn ended(verdict: &Verdict, took: Duration) -> String {
    match verdict {
        Verdict::Passed => wording::seconds(took),
        Verdict::Failed { exit_code } => format!("exit {exit_code}"),
        Verdict::Killed { signal } => {
            wording::signal_name(*signal).map_or(format!("signal {signal}"), str::to_owned)
        }
        other => wording::kind(other).to_owned(),
    }
}

/// A lens; none for what the client cannot do.
pub(crate) fn lens(document: &Document, lens: vmtest_ide::Lens, client: &Capabilities) -> Option<CodeLens> {
    let range = document.range(&lens.range);
    Some(CodeLens { range, command: Some(command(document, lens, client)?), data: None })
}

/// The same as a code action, for clients that show no lenses.
pub(crate) fn lens_action(
    document: &Document,
    lens: vmtest_ide::Lens,
    client: &Capabilities,
) -> Option<CodeActionOrCommand> {
    let name = match &lens.action {
        LensAction::RunAll => None,
        LensAction::Run(target)
        | LensAction::Shell(target)
        | LensAction::Stop(target)
        | LensAction::Log(target) => Some(name_in_menu(target)),
    };
    let mut command = command(document, lens, client)?;
    if let Some(name) = name {
        // In a menu, nothing else says which target is meant.
        command.title = format!("{}: {name}", command.title);
    }
    if !client.code_action_literals {
        return Some(CodeActionOrCommand::Command(command));
    }
    Some(CodeActionOrCommand::CodeAction(CodeAction {
        title: command.title.clone(),
        kind: Some(run_action_kind()),
        command: Some(command),
        ..CodeAction::default()
    }))
}

/// A target's name as a few plain words; its place where it has none.
fn name_in_menu(target: &TargetRef) -> String {
    const MOST: usize = 60;
    let name = sanitize::name(&target.name);
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None if name.trim().is_empty() => format!("target {}", target.index + 1),
        None => name,
    }
}

fn command(document: &Document, lens: vmtest_ide::Lens, client: &Capabilities) -> Option<Command> {
    let of_target =
        |target: TargetRef| json!({ "uri": document.uri, "name": target.name, "index": target.index });
    let (id, argument) = match lens.action {
        LensAction::RunAll => (protocol::COMMAND_RUN_ALL, json!({ "uri": document.uri })),
        LensAction::Run(target) => (protocol::COMMAND_RUN, of_target(target)),
        LensAction::Stop(target) => (protocol::COMMAND_STOP, of_target(target)),
        LensAction::Log(target) => (protocol::COMMAND_LOG, of_target(target)),
        // A terminal is the client's to open.
        LensAction::Shell(target) if client.shell => (CLIENT_COMMAND_SHELL, of_target(target)),
        LensAction::Shell(_) => return None,
    };
    Some(Command::new(lens.title, id.to_owned(), Some(vec![argument])))
}

/// The client's own command that opens a terminal with `vmtest shell`; only for those that announce it.
const CLIENT_COMMAND_SHELL: &str = "vmtest.client.shell";

/// The kind of code actions that run something.
pub(crate) fn run_action_kind() -> CodeActionKind {
    CodeActionKind::new("vmtest.run")
}

/// A cure, with those of the client's diagnostics that it cures.
pub(crate) fn quick_fix(
    document: &Document,
    fix: QuickFix,
    shown: &[Diagnostic],
    client: &Capabilities,
) -> CodeActionOrCommand {
    let range = document.range(&fix.problem);
    let code = NumberOrString::String(fix.code.to_owned());
    let cured: Vec<_> = shown
        .iter()
        .filter(|shown| shown.range == range && shown.code.as_ref() == Some(&code))
        .cloned()
        .collect();
    let edits: Vec<_> = fix.edits.iter().map(|change| edit(document, change)).collect();
    CodeActionOrCommand::CodeAction(CodeAction {
        title: fix.title,
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: (!cured.is_empty()).then_some(cured),
        edit: Some(workspace_edit(document, edits, client)),
        is_preferred: client.preferred_actions.then_some(fix.preferred),
        ..CodeAction::default()
    })
}

/// Edits of one document; of this version of it, where the client can tell.
fn workspace_edit(document: &Document, edits: Vec<TextEdit>, client: &Capabilities) -> WorkspaceEdit {
    if !client.document_changes {
        return WorkspaceEdit::new(HashMap::from([(document.uri.clone(), edits)]));
    }
    let text_document = OptionalVersionedTextDocumentIdentifier {
        uri: document.uri.clone(),
        version: Some(document.version),
    };
    let edits = edits.into_iter().map(OneOf::Left).collect();
    WorkspaceEdit {
        document_changes: Some(DocumentChanges::Edits(vec![TextDocumentEdit { text_document, edits }])),
        ..WorkspaceEdit::default()
    }
}
