//! `workspace/didChangeWorkspaceFolders`.

use tower_lsp::lsp_types::DidChangeWorkspaceFoldersParams;

use crate::server::Server;
use crate::uri::file_of;

/// Takes note of where the places are that output may name.
pub(crate) fn did_change_workspace_folders(server: &Server, params: &DidChangeWorkspaceFoldersParams) {
    let of = |folders: &[tower_lsp::lsp_types::WorkspaceFolder]| -> Vec<_> {
        folders.iter().filter_map(|folder| file_of(&folder.uri)).collect()
    };
    let (added, removed) = (of(&params.event.added), of(&params.event.removed));
    server.runs.configure(|settings| {
        settings.folders.retain(|folder| !removed.contains(folder));
        settings.folders.extend(added);
    });
}
