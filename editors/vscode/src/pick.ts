// Questions of the palette.

import * as vscode from 'vscode';

import { fileName } from './server';
import type { Targets } from './targets';
import { forLabel } from './text';

/** Asks for one of the targets that fit, of all files, those of the file on the screen first. */
export async function pickTarget(
  targets: Targets,
  title: string,
  fits: (item: vscode.TestItem) => boolean,
): Promise<vscode.TestItem[] | undefined> {
  await targets.discover();
  const shown = vscode.window.activeTextEditor?.document.uri.toString();
  const items = targets.all().filter(fits);
  const ordered = [
    ...items.filter((item) => item.uri?.toString() === shown),
    ...items.filter((item) => item.uri?.toString() !== shown),
  ];
  if (ordered.length === 0) {
    void vscode.window.showInformationMessage(`vmtest: no ${fileName} with a target was found.`);
    return undefined;
  }
  const picks = ordered.map((item) => ({
    label: forLabel(item.label),
    description: item.uri === undefined ? '' : forLabel(vscode.workspace.asRelativePath(item.uri)),
    item,
  }));
  const picked = await vscode.window.showQuickPick(picks, {
    title,
    placeHolder: 'Target',
    matchOnDescription: true,
  });
  return picked && [picked.item];
}

/** Opens the workspace's vmtest.toml; an empty one, with what can stand there, where there is none. */
export async function newFile(serve: () => Promise<void>): Promise<void> {
  const folders = vscode.workspace.workspaceFolders ?? [];
  if (folders.length === 0) {
    await vscode.commands.executeCommand('workbench.action.files.openFolder');
    return;
  }
  const folder = folders.length === 1 ? folders[0] : await vscode.window.showWorkspaceFolderPick();
  if (folder === undefined) {
    return;
  }
  const uri = vscode.Uri.joinPath(folder.uri, fileName);
  let isNew = false;
  try {
    await vscode.workspace.fs.stat(uri);
  } catch {
    await vscode.workspace.fs.writeFile(uri, new Uint8Array());
    isNew = true;
  }
  await vscode.window.showTextDocument(uri);
  if (isNew) {
    await serve();
    await vscode.commands.executeCommand('editor.action.triggerSuggest');
  }
}
