// Ways to ask the editor, and to wait for it.

import * as fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import * as path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import * as vscode from 'vscode';

import type { Api } from '../../../../editors/vscode/src/extension';

export type Ended = Parameters<Parameters<Api['onDidEndTarget']>[0]>[0];

/** The extension, with its server running. */
export async function activate(): Promise<Api> {
  const api = (await known().activate()) as Api;
  await eventually('a server', () => api.client);
  return api;
}

function known(): vscode.Extension<unknown> {
  const extension = vscode.extensions.all.find(({ id }) => id.endsWith('.vmtest'));
  if (extension === undefined) {
    throw new Error('the editor does not know the extension');
  }
  return extension;
}

/** The errors that the extension and the libraries in it show from now on. Nobody can ask the editor for them. */
export function errors(): { shown: string[]; dispose: () => void } {
  // Every extension has a `vscode` of its own.
  const load = createRequire(path.join(known().extensionPath, 'out/extension.js'));
  const { window } = load('vscode') as { window: { showErrorMessage: (...args: unknown[]) => unknown } };
  const show = window.showErrorMessage;
  const shown: string[] = [];
  window.showErrorMessage = (...args) => {
    shown.push(String(args[0]));
    return show(...args);
  };
  const dispose = (): void => {
    window.showErrorMessage = show;
  };
  return { shown, dispose };
}

/** Asks again and again, for what no event tells of. */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | PromiseLike<T | undefined>,
  seen: () => string = () => '',
): Promise<T> {
  const limit = Date.now() + 170_000;
  for (;;) {
    const found = await ask();
    if (found !== undefined) {
      return found;
    }
    if (Date.now() > limit) {
      throw new Error(`waited in vain for ${what}; ${seen()}`);
    }
    await pause(50);
  }
}

export function inFolder(nth: number, file: string): string {
  return path.join(vscode.workspace.workspaceFolders?.[nth]?.uri.fsPath ?? '', file);
}

export async function exists(file: string): Promise<true | undefined> {
  try {
    await fs.access(file);
    return true;
  } catch {
    return undefined;
  }
}

/** The machines that run. */
export async function machines(): Promise<string[]> {
  const ours = async (pid: string): Promise<string[]> => {
    try {
      const environment = (await fs.readFile(`/proc/${pid}/environ`, 'latin1')).split('\0');
      const name = await fs.readFile(`/proc/${pid}/comm`, 'latin1');
      return name.startsWith('qemu') && environment.includes(`HOME=${process.env.HOME ?? ''}`) ? [pid] : [];
    } catch {
      // It is gone, or another user's.
      return [];
    }
  };
  const pids = (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name));
  return (await Promise.all(pids.map(ours))).flat();
}

/** The labels of all targets. */
export function labels(api: Api): string[] {
  const all: string[] = [];
  api.controller.items.forEach((file) => {
    file.children.forEach((target) => all.push(target.label));
  });
  return all;
}

/** The item of the first target of this name. */
export function item(api: Api, name: string): vscode.TestItem | undefined {
  let found: vscode.TestItem | undefined;
  api.controller.items.forEach((file) => {
    file.children.forEach((target) => {
      if (target.label === name) {
        found ??= target;
      }
    });
  });
  return found;
}

/** The next end of a target of this name. */
export function end(api: Api, name: string): Promise<Ended> {
  return new Promise((resolve) => {
    const listener = api.onDidEndTarget((ended) => {
      if (ended.item.label === name) {
        listener.dispose();
        resolve(ended);
      }
    });
  });
}

/** The lens on a line. */
export async function lens(uri: vscode.Uri, title: RegExp, line: number): Promise<vscode.CodeLens> {
  await vscode.workspace.openTextDocument(uri);
  let all: vscode.CodeLens[] = [];
  return eventually(
    `a lens ${String(title)} on line ${line}`,
    async () => {
      all = await vscode.commands.executeCommand('vscode.executeCodeLensProvider', uri, 100);
      return all.find(({ command, range }) => title.test(command?.title ?? '') && range.start.line === line);
    },
    () => all.map(({ command, range }) => `${range.start.line}: ${command?.title ?? 'none'}`).join(', '),
  );
}

/** Clicks it: runs its command as the editor does. */
export function click({ command }: vscode.CodeLens): Thenable<unknown> {
  return vscode.commands.executeCommand(command?.command ?? '', ...((command?.arguments ?? []) as unknown[]));
}
