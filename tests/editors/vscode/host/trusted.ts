import * as assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';

import * as vscode from 'vscode';

import type { Api } from '../../../../editors/vscode/src/extension';
import { activate, click, end, eventually, exists, inFolder, item, lens } from './editor';

describe('in a workspace of two folders', () => {
  const one = (): vscode.Uri => vscode.Uri.file(inFolder(0, 'vmtest.toml'));
  const two = (): vscode.Uri => vscode.Uri.file(inFolder(1, 'deep/vmtest.toml'));
  let api: Api;

  before(async () => {
    api = await activate();
  });

  it('the server of the package starts', () => {
    assert.equal(api.client?.initializeResult?.serverInfo?.name, 'vmtest');
  });

  it('every target of every vmtest.toml is a test', async () => {
    await eventually('both files', () => (item(api, 'passes') && item(api, 'elsewhere') ? true : undefined));
    const labels: string[] = [];
    api.controller.items.forEach((file) => {
      labels.push(file.label);
    });
    assert.deepEqual(labels.sort(), ['one/vmtest.toml', 'two/deep/vmtest.toml']);
    assert.equal(item(api, 'fails')?.range?.start.line, 7);
  });

  it('commands of the client and of the server have different names', async () => {
    const commands = await vscode.commands.getCommands(true);
    for (const id of ['vmtest.server.run', 'vmtest.client.shell', 'vmtest.run', 'vmtest.restartServer']) {
      assert.ok(commands.includes(id), `there is no command ${id}`);
    }
  });

  it('vmtest.toml has lenses, hovers, colours and completion', async () => {
    const document = await vscode.workspace.openTextDocument(one());
    assert.equal(document.languageId, 'toml');
    await vscode.window.showTextDocument(document);
    for (const title of [/Run in VM/, /Run all/, /Shell/]) {
      await lens(one(), title, 0);
    }
    const hovers: vscode.Hover[] = await vscode.commands.executeCommand(
      'vscode.executeHoverProvider',
      one(),
      new vscode.Position(2, 2),
    );
    const said = hovers.flatMap(({ contents }) => contents as vscode.MarkdownString[]);
    assert.match(said.map(({ value }) => value).join('\n'), /kernel/i);
    const tokens: vscode.SemanticTokens = await eventually('colours', () =>
      vscode.commands.executeCommand('vscode.provideDocumentSemanticTokens', one()),
    );
    assert.ok(tokens.data.length > 0);
    const list: vscode.CompletionList = await vscode.commands.executeCommand(
      'vscode.executeCompletionItemProvider',
      one(),
      new vscode.Position(6, 0),
    );
    const labels = list.items.map(({ label }) => (typeof label === 'string' ? label : label.label));
    assert.ok(labels.includes('timeout'), labels.join(' '));
  });

  it('tests follow what is typed, and what happens on the disk', async () => {
    const gone = (name: string): Promise<true> =>
      eventually(`the end of ${name}`, () => (item(api, name) === undefined ? true : undefined));
    const document = await vscode.workspace.openTextDocument(one());
    const before = item(api, 'passes');
    const edit = new vscode.WorkspaceEdit();
    edit.insert(one(), document.positionAt(document.getText().length), "[[target]]\nname = 'typed'\n");
    await vscode.workspace.applyEdit(edit);
    await eventually('what was typed', () => item(api, 'typed'));
    await vscode.window.showTextDocument(document);
    await vscode.commands.executeCommand('undo');
    await gone('typed');
    assert.equal(item(api, 'passes'), before, 'a target keeps its test');
    await document.save();

    const created = inFolder(1, 'vmtest.toml');
    await fs.writeFile(created, "[[target]]\nname = 'new on the disk'\n");
    await eventually('the new file', () => item(api, 'new on the disk'));
    await fs.rm(created);
    await gone('new on the disk');
  });

  it('a lens runs its target in a real machine, as a test', async () => {
    const ended = end(api, 'passes');
    await click(await lens(one(), /Run in VM/, 0));
    const { verdict, seconds, messages } = await ended;
    assert.equal(verdict, 'passed');
    assert.ok(seconds > 0);
    assert.deepEqual(messages, []);
  });

  it('a failure is shown where the output says, and on its target', async () => {
    const ended = end(api, 'fails');
    await click(await lens(one(), /Run in VM/, 7));
    const { verdict, messages } = await ended;
    assert.equal(verdict, 'failed');
    const [place, whole] = messages;
    assert.equal(messages.length, 2);
    const source = inFolder(0, 'src/main.c');
    assert.equal(place?.location?.uri.fsPath, source);
    assert.equal(place.location.range.start.line, 1);
    assert.match(whole?.message as string, /exit code: 3/);
    assert.equal(whole?.location?.uri.fsPath, one().fsPath);
    const [problem] = await eventually('a problem of the source', () => {
      const found = vscode.languages.getDiagnostics(vscode.Uri.file(source));
      return found.length > 0 ? found : undefined;
    });
    assert.equal(problem?.message, 'no such thing');
  });

  it('a run is stopped', async () => {
    const ended = end(api, 'waits');
    const run = click(await lens(one(), /Run in VM/, 14));
    await eventually('the command', () => exists(inFolder(0, 'started')));
    await vscode.commands.executeCommand('vmtest.stop');
    assert.equal((await ended).verdict, 'cancelled');
    await run;
  });

  it('all targets of all files run, and the same again', async function () {
    // Eight machines.
    this.timeout(300_000);
    await fs.writeFile(inFolder(0, 'go'), '');
    const names = ['passes', 'fails', 'waits', 'elsewhere'];
    const expected = ['passed', 'failed', 'passed', 'passed'];
    for (const command of ['vmtest.runAll', 'testing.reRunLastRun']) {
      const ends = Promise.all(names.map((name) => end(api, name)));
      await vscode.commands.executeCommand(command);
      assert.deepEqual(
        (await ends).map(({ verdict }) => verdict),
        expected,
        command,
      );
    }
  });

  it('a target runs whenever a file of its project is saved, until that is switched off', async () => {
    const items = [item(api, 'elsewhere')];
    await vscode.commands.executeCommand('vscode.startContinuousTestRun', api.profile, items);
    const ended = end(api, 'elsewhere');
    const notes = vscode.Uri.file(path.join(path.dirname(two().fsPath), 'notes.txt'));
    const document = await vscode.workspace.openTextDocument(notes);
    const edit = new vscode.WorkspaceEdit();
    edit.insert(notes, new vscode.Position(0, 0), 'more\n');
    await vscode.workspace.applyEdit(edit);
    await document.save();
    assert.equal((await ended).verdict, 'passed');
    await vscode.commands.executeCommand('vscode.stopContinuousTestRun', items);
  });

  it('a shell opens in a terminal', async () => {
    const opened = new Promise<vscode.Terminal>((resolve) => vscode.window.onDidOpenTerminal(resolve));
    await click(await lens(two(), /Shell/, 0));
    const terminal = await opened;
    assert.equal(terminal.name, 'vmtest: elsewhere');
    const { shellPath, shellArgs } = terminal.creationOptions as vscode.TerminalOptions;
    assert.match(shellPath ?? '', /\/server\/vmtest$/);
    assert.deepEqual(shellArgs, ['shell', '--config', two().fsPath, '--', 'elsewhere']);
    terminal.dispose();
  });

  it('a target that is a shell can be opened, and not run', async () => {
    assert.match((await lens(two(), /Shell/, 5)).command?.title ?? '', /Shell/);
    const lenses: vscode.CodeLens[] = await vscode.commands.executeCommand(
      'vscode.executeCodeLensProvider',
      two(),
      100,
    );
    const runs = lenses.filter(({ command }) => command?.title.includes('Run in VM'));
    assert.deepEqual(
      runs.map(({ range }) => range.start.line),
      [0],
    );
    const [runnable] = item(api, 'elsewhere')?.tags ?? [];
    assert.equal(runnable, api.profile.tag);
    assert.deepEqual(item(api, 'by hand')?.tags, []);
  });

  it('the server starts again, with the targets of before', async () => {
    const before = api.client;
    await vscode.commands.executeCommand('vmtest.restartServer');
    assert.ok(api.client !== undefined && api.client !== before);
    await eventually('the targets', () => item(api, 'passes'));
  });

  it('a setting names another server, and one that leads nowhere is not passed over', async () => {
    const settings = vscode.workspace.getConfiguration('vmtest');
    const set = (value: string | undefined): Thenable<void> =>
      settings.update('server.path', value, vscode.ConfigurationTarget.Workspace);
    const before = api.client;
    await set('/nowhere/vmtest');
    await eventually('the end of the server', () => (api.client === undefined ? true : undefined));
    await set(undefined);
    const after = await eventually('another server', () => api.client);
    assert.notEqual(after, before);
  });
});
