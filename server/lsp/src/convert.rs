//! The only place where what [`vmtest_ide`] says becomes what the protocol says.

use tower_lsp::lsp_types::{
    CodeActionKind, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString,
    SemanticTokenType,
};
use vmtest_ide::{Problem, Severity};

use crate::capabilities::Capabilities;
use crate::documents::Document;

/// More problems than anybody reads; editors keep no more than so many either.
const MOST_PROBLEMS: usize = 1000;

/// What is wrong with a document, the first of it.
pub(crate) fn problems(document: &Document, problems: &[Problem], client: &Capabilities) -> Vec<Diagnostic> {
    problems.iter().take(MOST_PROBLEMS).map(|found| problem(document, found, client)).collect()
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

/// The legend of semantic tokens.
pub(crate) fn token_types() -> Vec<SemanticTokenType> {
    Vec::new()
}

/// The kind of code actions that run something.
pub(crate) fn run_action_kind() -> CodeActionKind {
    CodeActionKind::new("vmtest.run")
}
