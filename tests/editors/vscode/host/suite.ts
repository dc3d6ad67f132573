import * as assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';

import * as vscode from 'vscode';

import type { Api } from '../../../../editors/vscode/src/extension';

/** Waits for what `look` finds, whenever `event` says that something has changed. */
function until<T>(event: vscode.Event<unknown>, look: () => T | undefined): Promise<T> {
  return new Promise((resolve) => {
    const first = look();
    if (first !== undefined) {
      resolve(first);
      return;
    }
    const listener = event(() => {
      const found = look();
      if (found !== undefined) {
        listener.dispose();
        resolve(found);
      }
    });
  });
}

/** Asks again and again, for what no event tells of; mocha's limit is the limit. */
async function eventually<T>(ask: () => T | undefined | PromiseLike<T | undefined>): Promise<T> {
  for (;;) {
    const found = await ask();
    if (found !== undefined) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const folder = (nth: number): string => vscode.workspace.workspaceFolders?.[nth]?.uri.fsPath ?? '';
const one = (): vscode.Uri => vscode.Uri.file(path.join(folder(0), 'vmtest.toml'));
const two = (): vscode.Uri => vscode.Uri.file(path.join(folder(1), 'deep/vmtest.toml'));

const exists = async (file: string): Promise<true | undefined> => {
  try {
    await fs.access(file);
    return true;
  } catch {
    return undefined;
  }
};

let api: Api;

function item(name: string): vscode.TestItem | undefined {
  let found: vscode.TestItem | undefined;
  api.controller.items.forEach((file) => {
    file.children.forEach((target) => {
      if (target.label === name) {
        found = target;
      }
    });
  });
  return found;
}

/** The next end of a target of this name. */
function end(name: string) {
  return new Promise<Parameters<Parameters<Api['onDidEndTarget']>[0]>[0]>((resolve) => {
    const listener = api.onDidEndTarget((ended) => {
      if (ended.item.label === name) {
        listener.dispose();
        resolve(ended);
      }
    });
  });
}

const lenses = async (uri: vscode.Uri): Promise<vscode.CodeLens[]> =>
  vscode.commands.executeCommand('vscode.executeCodeLensProvider', uri, 100);

const lens = async (uri: vscode.Uri, title: RegExp, line: number): Promise<vscode.CodeLens> => {
  await vscode.workspace.openTextDocument(uri);
  let all: vscode.CodeLens[] = [];
  const limit = Date.now() + 8_000;
  while (Date.now() < limit) {
    all = await lenses(uri);
    const found = all.find(
      ({ command, range }) => title.test(command?.title ?? '') && range.start.line === line,
    );
    if (found !== undefined) {
      return found;
    }
  }
  const shown = all.map(({ command, range }) => `${range.start.line}: ${command?.title ?? 'none'}`);
  const raw = await api.client?.sendRequest('textDocument/codeLens', { textDocument: { uri: uri.toString() } });
  throw new Error(`raw ${JSON.stringify(raw)} no lens ${String(title)} on line ${line} among ${shown.join(', ')}`);
};

/** Clicks it: runs its command as the editor does. */
const click = ({ command }: vscode.CodeLens): Thenable<unknown> =>
  vscode.commands.executeCommand(command?.command ?? '', ...((command?.arguments ?? []) as unknown[]));

describe('the extension', () => {
  before(async () => {
    const extension = vscode.extensions.all.find((known) => known.id.endsWith('.vmtest'));
    assert.ok(extension);
    api = (await extension.activate()) as Api;
    await until(api.onDidStartServer, () => api.client);
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') {
      const state = await api.client?.sendRequest('vmtest/targets', { uri: one().toString() });
      console.log(`targets after ${this.currentTest.title}: ${JSON.stringify(state)}`);
    }
  });

  it('starts the server that is in the package', () => {
    assert.equal(api.client?.initializeResult?.serverInfo?.name, 'vmtest');
  });

  it('shows every target of every vmtest.toml of every folder as a test', async () => {
    await eventually(() => (item('passes') && item('elsewhere') ? true : undefined));
    const labels: string[] = [];
    api.controller.items.forEach((file) => {
      labels.push(file.label);
    });
    assert.deepEqual(labels.sort(), ['one/vmtest.toml', 'two/deep/vmtest.toml']);
    assert.equal(item('fails')?.range?.start.line, 7);
  });

  it('keeps what it calls its commands apart from the server', async () => {
    const commands = (await vscode.commands.getCommands(true)).filter((id) => id.startsWith('vmtest.'));
    for (const id of ['vmtest.server.run', 'vmtest.client.shell', 'vmtest.run', 'vmtest.restartServer']) {
      assert.ok(commands.includes(id), `${id} is missing in ${commands.join(' ')}`);
    }
  });

  it('gives lenses, hovers, completion, colours and problems to vmtest.toml', async () => {
    const document = await vscode.workspace.openTextDocument(one());
    assert.equal(document.languageId, 'toml');
    await vscode.window.showTextDocument(document);
    await lens(one(), /Run in VM/, 0);
    await lens(one(), /Run all/, 0);
    await lens(one(), /Shell/, 0);
    const hovers = await vscode.commands.executeCommand<vscode.Hover[]>(
      'vscode.executeHoverProvider',
      one(),
      new vscode.Position(2, 2),
    );
    const said = hovers.flatMap(({ contents }) => contents as vscode.MarkdownString[]).map(({ value }) => value);
    assert.match(said.join('\n'), /kernel/i);
    const tokens = await vscode.commands.executeCommand<vscode.SemanticTokens | undefined>(
      'vscode.provideDocumentSemanticTokens',
      one(),
    );
    assert.ok((tokens?.data.length ?? 0) > 0);
    const list = await vscode.commands.executeCommand<vscode.CompletionList>(
      'vscode.executeCompletionItemProvider',
      one(),
      new vscode.Position(6, 0),
    );
    const labels = list.items.map(({ label }) => (typeof label === 'string' ? label : label.label));
    assert.ok(labels.includes('timeout'), labels.join(' '));
  });

  it('follows what is typed, and what is written to the disk', async () => {
    const edit = new vscode.WorkspaceEdit();
    const document = await vscode.workspace.openTextDocument(one());
    edit.insert(one(), document.positionAt(document.getText().length), "[[target]]\nname = 'typed'\n");
    await vscode.workspace.applyEdit(edit);
    await eventually(() => item('typed'));
    const passes = item('passes');
    await vscode.window.showTextDocument(document);
    await vscode.commands.executeCommand('undo');
    await eventually(() => (item('typed') === undefined ? true : undefined));
    assert.equal(item('passes'), passes, 'a target keeps its item');
    await document.save();

    const created = path.join(folder(1), 'vmtest.toml');
    await fs.writeFile(created, "[[target]]\nname = 'new on the disk'\n");
    await eventually(() => item('new on the disk'));
    await fs.rm(created);
    await eventually(() => (item('new on the disk') === undefined ? true : undefined));
  });

  it('runs a target of a lens in a real machine, as a test', async () => {
    const ended = end('passes');
    await click(await lens(one(), /Run in VM/, 0));
    const { verdict, seconds, messages } = await ended;
    assert.equal(verdict, 'passed');
    assert.ok(seconds > 0);
    assert.deepEqual(messages, []);
  });

  it('shows a failure on the line that the output names', async () => {
    const ended = end('fails');
    await click(await lens(one(), /Run in VM/, 7));
    const { verdict, messages } = await ended;
    assert.equal(verdict, 'failed');
    const [place, whole] = messages;
    assert.equal(place?.message, 'no such thing');
    assert.equal(place?.location?.uri.fsPath, path.join(folder(0), 'src/main.c'));
    assert.equal(place?.location?.range.start.line, 1);
    assert.match(String(whole?.message), /exit code: 3/);
    assert.equal(whole?.location?.uri.fsPath, one().fsPath);
    const problems = await eventually(() => {
      const found = vscode.languages.getDiagnostics(vscode.Uri.file(path.join(folder(0), 'src/main.c')));
      return found.length > 0 ? found : undefined;
    });
    assert.equal(problems[0]?.message, 'no such thing');
  });

  it('stops a run', async () => {
    const ended = end('waits');
    const run = click(await lens(one(), /Run in VM/, 14));
    await eventually(() => exists(path.join(folder(0), 'started')));
    await vscode.commands.executeCommand('vmtest.stop');
    assert.equal((await ended).verdict, 'cancelled');
    await run;
  });

  it('opens a shell in a terminal', async () => {
    const opened = new Promise<vscode.Terminal>((resolve) => vscode.window.onDidOpenTerminal(resolve));
    await click(await lens(two(), /Shell/, 0));
    const terminal = await opened;
    assert.equal(terminal.name, 'vmtest: elsewhere');
    const { shellPath, shellArgs } = terminal.creationOptions as vscode.TerminalOptions;
    assert.match(shellPath ?? '', /\/server\/vmtest$/);
    assert.deepEqual(shellArgs, ['shell', '--config', two().fsPath, '--', 'elsewhere']);
    terminal.dispose();
  });

  it('starts the server again, with the targets of before', async () => {
    const before = api.client;
    const started = new Promise((resolve) => api.onDidStartServer(resolve));
    await vscode.commands.executeCommand('vmtest.restartServer');
    await started;
    assert.notEqual(api.client, before);
    await eventually(() => item('passes'));
  });
});
