// A terminal in a target's machine, and one for `vmtest doctor`.

import * as path from 'node:path';

import * as vscode from 'vscode';

import type { TargetArgument } from './protocol';
import { forLabel } from './text';

/** `vmtest shell`, which reads the file: what is on the screen is saved first. */
export async function openShell(program: string, target: TargetArgument): Promise<vscode.Terminal> {
  const uri = vscode.Uri.parse(target.uri);
  const document = vscode.workspace.textDocuments.find((one) => one.uri.toString() === uri.toString());
  if (document?.isDirty === true) {
    await document.save();
  }
  const terminal = vscode.window.createTerminal({
    name: `vmtest: ${forLabel(target.name)}`,
    shellPath: program,
    shellArgs: ['shell', '--config', uri.fsPath, '--', target.name],
    cwd: path.dirname(uri.fsPath),
    iconPath: new vscode.ThemeIcon('terminal-linux'),
    // A machine does not outlive the window.
    isTransient: true,
  });
  terminal.show();
  return terminal;
}

export function openDoctor(program: string): void {
  vscode.window.createTerminal({ name: 'vmtest doctor', shellPath: program, shellArgs: ['doctor'] }).show();
}
