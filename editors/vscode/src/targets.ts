// Every target of every vmtest.toml, as an item of the Test Explorer.

import * as vscode from 'vscode';
import { LSPErrorCodes, ResponseError } from 'vscode-languageclient/node';
import type { LanguageClient } from 'vscode-languageclient/node';

import { targetsRequest } from './protocol';
import type { TargetArgument, TargetInfo, TargetRef } from './protocol';
import { fileName } from './server';
import { forLabel } from './text';

/** How long typing must pause before the items follow. */
const pause = 200;

export class Targets implements vscode.Disposable {
  readonly controller = vscode.tests.createTestController('vmtest', 'vmtest');
  /** On all that can run without a terminal, and on the files that have such. */
  readonly runnable = new vscode.TestTag('runnable');
  private readonly refs = new WeakMap<vscode.TestItem, TargetRef>();
  /** The last question asked of each file: an answer to an earlier one is dropped. */
  private readonly asked = new Map<string, number>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  private readonly appeared = new vscode.EventEmitter<void>();
  /** A vmtest.toml was opened or made. */
  readonly onDidAppear = this.appeared.event;
  private readonly parts: vscode.Disposable[] = [];

  constructor(private readonly client: () => LanguageClient | undefined) {
    const watcher = vscode.workspace.createFileSystemWatcher(`**/${fileName}`, false, false, true);
    // When a directory goes, nothing is said of the files in it.
    const ends = vscode.workspace.createFileSystemWatcher('**', true, true, false);
    const soon = (document: vscode.TextDocument): void => {
      if (isConfig(document.uri)) {
        this.refreshSoon(document.uri);
      }
    };
    this.parts.push(
      new vscode.Disposable(() => {
        this.controller.dispose();
      }),
      watcher,
      watcher.onDidCreate((uri) => {
        this.appeared.fire();
        return this.refresh(uri);
      }),
      watcher.onDidChange((uri) => this.refresh(uri)),
      ends,
      ends.onDidDelete((gone) => {
        this.controller.items.forEach(({ id, uri }) => {
          if (uri !== undefined && (id === gone.toString() || id.startsWith(`${gone.toString()}/`))) {
            this.forget(uri);
          }
        });
      }),
      vscode.workspace.onDidOpenTextDocument((document) => {
        soon(document);
        if (isConfig(document.uri)) {
          this.appeared.fire();
        }
      }),
      vscode.workspace.onDidCloseTextDocument((document) => {
        // A file that is in no folder is there as long as it is open.
        if (vscode.workspace.getWorkspaceFolder(document.uri) === undefined) {
          this.forget(document.uri);
        } else {
          soon(document);
        }
      }),
      vscode.workspace.onDidChangeTextDocument(({ document }) => {
        soon(document);
      }),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.discover()),
    );
    this.controller.refreshHandler = () => this.discover();
  }

  /** Every vmtest.toml of the workspace, and any that is open, by its URI. */
  async files(): Promise<Map<string, vscode.Uri>> {
    const found = await vscode.workspace.findFiles(`**/${fileName}`, '**/{node_modules,.git}/**');
    const open = vscode.workspace.textDocuments.map((document) => document.uri).filter(isConfig);
    return new Map([...found, ...open].map((uri) => [uri.toString(), uri]));
  }

  /** Finds the files and reads all of them. */
  async discover(): Promise<void> {
    const uris = await this.files();
    this.controller.items.forEach((item) => {
      if (!uris.has(item.id)) {
        this.controller.items.delete(item.id);
      }
    });
    await Promise.all([...uris.values()].map((uri) => this.refresh(uri)));
  }

  /** Asks the server for the targets of one file. */
  async refresh(uri: vscode.Uri): Promise<void> {
    const id = uri.toString();
    clearTimeout(this.timers.get(id));
    this.timers.delete(id);
    const client = this.client();
    if (client === undefined) {
      return;
    }
    const turn = (this.asked.get(id) ?? 0) + 1;
    this.asked.set(id, turn);
    let targets: TargetInfo[];
    try {
      targets = await client.sendRequest(targetsRequest, { uri: client.code2ProtocolConverter.asUri(uri) });
    } catch (error) {
      // A server that went away under the question has said nothing of the file: what is shown still stands.
      if (!(error instanceof ResponseError) || error.code !== LSPErrorCodes.RequestFailed) {
        return;
      }
      // The file is gone, or cannot be read: the server says so in its own words when something is to run.
      targets = [];
    }
    if (this.asked.get(id) === turn) {
      this.show(uri, targets, client);
    }
  }

  /** The target that a lens means. */
  async find(target: TargetArgument): Promise<vscode.TestItem | undefined> {
    const uri = vscode.Uri.parse(target.uri);
    await this.refresh(uri);
    return this.of(uri).find((item) => {
      const ref = this.refs.get(item);
      return ref?.name === target.name && ref.index === target.index;
    });
  }

  /** The item of a file. */
  file(uri: vscode.Uri): vscode.TestItem | undefined {
    return this.controller.items.get(uri.toString());
  }

  /** The targets of a file, in its order. */
  of(uri: vscode.Uri): vscode.TestItem[] {
    const items: vscode.TestItem[] = [];
    this.file(uri)?.children.forEach((item) => items.push(item));
    return items.sort((one, other) => this.index(one) - this.index(other));
  }

  /** Every target, by file. */
  all(): vscode.TestItem[] {
    const items: vscode.TestItem[] = [];
    this.controller.items.forEach((file) => {
      if (file.uri !== undefined) {
        items.push(...this.of(file.uri));
      }
    });
    return items;
  }

  /** Whether it is more than a shell. */
  canRun(item: vscode.TestItem): boolean {
    return item.tags.includes(this.runnable);
  }

  /** How the server knows an item; none for the item of a file. */
  ref(item: vscode.TestItem): TargetRef | undefined {
    return this.refs.get(item);
  }

  dispose(): void {
    for (const timer of this.timers.values()) {
      clearTimeout(timer);
    }
    for (const part of this.parts) {
      part.dispose();
    }
    this.appeared.dispose();
  }

  private index(item: vscode.TestItem): number {
    return this.refs.get(item)?.index ?? -1;
  }

  private refreshSoon(uri: vscode.Uri): void {
    const id = uri.toString();
    clearTimeout(this.timers.get(id));
    this.timers.set(
      id,
      setTimeout(() => void this.refresh(uri), pause),
    );
  }

  private forget(uri: vscode.Uri): void {
    const id = uri.toString();
    clearTimeout(this.timers.get(id));
    this.timers.delete(id);
    this.asked.set(id, (this.asked.get(id) ?? 0) + 1);
    this.controller.items.delete(id);
  }

  private show(uri: vscode.Uri, targets: TargetInfo[], client: LanguageClient): void {
    if (targets.length === 0) {
      this.controller.items.delete(uri.toString());
      return;
    }
    let file = this.file(uri);
    if (file === undefined) {
      file = this.controller.createTestItem(
        uri.toString(),
        forLabel(vscode.workspace.asRelativePath(uri)),
        uri,
      );
      this.controller.items.add(file);
    }
    // A target keeps its item, and with it its results, while others come and go.
    const seen = new Map<string, number>();
    const items = targets.map((target) => {
      const nth = seen.get(target.name) ?? 0;
      seen.set(target.name, nth + 1);
      // A name may hold anything, also what the editor's ids may not.
      const id = `${uri.toString()}#${encodeURIComponent(target.name)}#${nth}`;
      const item =
        file.children.get(id) ??
        this.controller.createTestItem(id, forLabel(target.name) || '(no name)', uri);
      item.range = client.protocol2CodeConverter.asRange(target.range);
      item.sortText = String(target.index).padStart(6, '0');
      item.tags = target.interactive ? [] : [this.runnable];
      this.refs.set(item, { name: target.name, index: target.index });
      return item;
    });
    file.children.replace(items);
    file.tags = items.some((item) => this.canRun(item)) ? [this.runnable] : [];
  }
}

export function isConfig(uri: vscode.Uri): boolean {
  return uri.scheme === 'file' && uri.path.endsWith(`/${fileName}`);
}
