import * as assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';

import * as vscode from 'vscode';

import type { Api } from '../../../../editors/vscode/src/extension';
import {
  activate,
  click,
  end,
  errors,
  eventually,
  exists,
  inFolder,
  item,
  labels,
  lens,
  machines,
} from './editor';

describe('in a workspace of two folders', () => {
  const one = (): vscode.Uri => vscode.Uri.file(inFolder(0, 'vmtest.toml'));
  const two = (): vscode.Uri => vscode.Uri.file(inFolder(1, 'deep/vmtest.toml'));
  let api: Api;
  const gone = (name: string): Promise<true> =>
    eventually(`the end of ${name}`, () => (item(api, name) === undefined ? true : undefined));
  const run = async (name: string, index: number): Promise<void> => {
    // A server answers a moment before the client has registered its commands.
    await eventually('the command of a lens', async () =>
      (await vscode.commands.getCommands()).includes('vmtest.server.run') ? true : undefined,
    );
    await vscode.commands.executeCommand('vmtest.server.run', { uri: one().toString(), name, index });
  };

  before(async () => {
    api = await activate();
  });

  it('the server of the package starts', () => {
    assert.equal(api.client?.initializeResult?.serverInfo?.name, 'vmtest');
  });

  it('every target of every vmtest.toml is a test', async () => {
    await eventually('both files', () => (item(api, 'passes') && item(api, 'elsewhere') ? true : undefined));
    const files: string[] = [];
    api.controller.items.forEach((file) => {
      files.push(file.label);
    });
    assert.deepEqual(files.sort(), ['one/vmtest.toml', 'two/deep/vmtest.toml']);
    assert.equal(item(api, 'fails')?.range?.start.line, 7);
  });

  it('commands of the client and of the server have different names', async () => {
    const commands = await vscode.commands.getCommands(true);
    const extension = vscode.extensions.all.find((known) => known.id.endsWith('.vmtest'));
    const { contributes } = extension?.packageJSON as { contributes: { commands: { command: string }[] } };
    const own = contributes.commands.map(({ command }) => command);
    for (const id of ['vmtest.server.run', 'vmtest.server.stop', 'vmtest.client.shell', ...own]) {
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
    const document = await vscode.workspace.openTextDocument(one());
    const before = await eventually('a target', () => item(api, 'passes'));
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

    await fs.writeFile(inFolder(1, 'some/where/vmtest.toml'), "[[target]]\nname = 'in a directory'\n");
    await eventually('the file in a directory', () => item(api, 'in a directory'));
    await fs.rm(inFolder(1, 'some'), { recursive: true });
    await gone('in a directory');
  });

  // E2
  it('a target is a test whatever its name', async () => {
    const names = ['"twice"', '"twice"', '""', '"nul \\u0000"', '"a # and $(bug)"'];
    const file = inFolder(1, 'vmtest.toml');
    await fs.writeFile(file, names.map((name) => `[[target]]\nname = ${name}\n`).join(''));
    // With a space in what would be an icon.
    await eventually('the last of them', () => item(api, 'a # and $ (bug)'));
    const shown = labels(api);
    assert.equal(shown.filter((label) => label === 'twice').length, 2);
    for (const label of ['(no name)', 'nul \0']) {
      assert.ok(shown.includes(label), label);
    }
    await fs.rm(file);
    await gone('twice');
  });

  it('a file of no folder has tests while it is open', async () => {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'stray-'));
    const stray = vscode.Uri.file(path.join(directory, 'vmtest.toml'));
    await fs.writeFile(stray.fsPath, "[[target]]\nname = 'stray'\n");
    await vscode.commands.executeCommand('vscode.open', stray);
    await eventually('its target', () => item(api, 'stray'));
    await vscode.commands.executeCommand('workbench.action.closeActiveEditor');
    await gone('stray');
    await fs.rm(directory, { recursive: true });
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

  it('a target that runs is started over, and one that waits for its turn can be stopped', async () => {
    const settings = vscode.workspace.getConfiguration('vmtest');
    const client = api.client;
    await settings.update('jobs', 1, vscode.ConfigurationTarget.Workspace);
    const started = inFolder(0, 'started');
    await fs.rm(started);
    const first = end(api, 'waits');
    void run('waits', 2);
    await eventually('the command', () => exists(started));
    await fs.rm(started);
    void run('waits', 2);
    assert.equal((await first).verdict, 'cancelled');
    const second = end(api, 'waits');
    await eventually('the command of the second run', () => exists(started));
    const ends = Promise.all([second, end(api, 'passes')]);
    void run('passes', 0);
    const phase = (): Promise<string | undefined> =>
      Promise.resolve(
        api.client?.sendRequest<{ state: { phase: string } }[]>('vmtest/targets', { uri: one().toString() }),
      ).then((targets) => targets?.[0]?.state.phase);
    await eventually('its turn', async () => ((await phase()) === 'queued' ? true : undefined));
    await vscode.commands.executeCommand('vmtest.stop');
    assert.deepEqual(
      (await ends).map(({ verdict }) => verdict),
      ['cancelled', 'cancelled'],
    );
    await settings.update('jobs', undefined, vscode.ConfigurationTarget.Workspace);
    assert.equal(api.client, client, 'a number of jobs needs no other server');
  });

  // E1
  it('a target whose file goes away ends all the same', async () => {
    const directory = inFolder(1, 'short');
    await fs.mkdir(directory);
    const file = path.join(directory, 'vmtest.toml');
    const kernel = /^kernel = .*$/m.exec(await fs.readFile(one().fsPath, 'utf8'))?.[0] ?? '';
    const command = "command = 'touch on; until test -e go; do sleep 0.1; done'";
    await fs.writeFile(file, `[[target]]\nname = 'short-lived'\n${kernel}\n${command}\n`);
    await eventually('its target', () => item(api, 'short-lived'));
    const ended = end(api, 'short-lived');
    const uri = vscode.Uri.file(file).toString();
    const over = vscode.commands.executeCommand('vmtest.server.run', { uri, name: 'short-lived', index: 0 });
    await eventually('the command', () => exists(path.join(directory, 'on')));
    await fs.rm(file);
    await gone('short-lived');
    await fs.writeFile(path.join(directory, 'go'), '');
    assert.equal((await ended).verdict, 'passed');
    await over;
  });

  // E1
  it('a server that crashes takes its machines along, and no verdict that it gave', async function () {
    // Three machines.
    this.timeout(400_000);
    await fs.rm(inFolder(0, 'started'));
    const heard: Record<string, string[]> = {};
    const listener = api.onDidEndTarget((ended) => {
      (heard[ended.item.label] ??= []).push(ended.verdict);
    });
    const ends = Promise.all(['passes', 'fails'].map((name) => end(api, name)));
    const over = vscode.commands.executeCommand('vmtest.server.runAll', { uri: one().toString() });
    await ends;
    await eventually('the command', () => exists(inFolder(0, 'started')));
    assert.notDeepEqual(await machines(), []);
    const crashed = new Promise<void>((resolve) => {
      const started = api.onDidStartServer(() => {
        started.dispose();
        resolve();
      });
    });
    api.client?.serverProcess?.kill('SIGKILL');
    await over;
    listener.dispose();
    assert.deepEqual(heard, { passes: ['passed'], fails: ['failed'], waits: ['abandoned'] });
    await eventually('the end of the machine', async () =>
      (await machines()).length === 0 ? true : undefined,
    );
    await crashed;
    assert.ok(item(api, 'waits'), 'the tests are still there');
  });

  it('all targets of all files run, and the same again', async function () {
    // Eight machines.
    this.timeout(600_000);
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
    let edit = new vscode.WorkspaceEdit();
    edit.insert(notes, new vscode.Position(0, 0), 'more\n');
    await vscode.workspace.applyEdit(edit);
    await document.save();
    assert.equal((await ended).verdict, 'passed');
    await vscode.commands.executeCommand('vscode.stopContinuousTestRun', items);

    const last = async (): Promise<string | undefined> => {
      const targets: { state: { runId?: string } }[] | undefined = await api.client?.sendRequest(
        'vmtest/targets',
        { uri: two().toString() },
      );
      return targets?.[0]?.state.runId;
    };
    const before = await last();
    assert.ok(before !== undefined);
    edit = new vscode.WorkspaceEdit();
    edit.insert(notes, new vscode.Position(0, 0), 'more\n');
    await vscode.workspace.applyEdit(edit);
    await document.save();
    // What would come of it comes before the end of a run that is asked for after it.
    const passes = end(api, 'passes');
    await run('passes', 0);
    await passes;
    assert.equal(await last(), before);
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

  // E1
  it('a setting names another server, and one that leads nowhere is not passed over', async () => {
    const settings = vscode.workspace.getConfiguration('vmtest');
    const set = (value: unknown): Thenable<void> =>
      settings.update('server.path', value, vscode.ConfigurationTarget.Workspace);
    for (const wrong of ['/nowhere/vmtest', '/bin/true', 5]) {
      const before = api.client;
      await set(wrong);
      await eventually(`no server ${wrong}`, () => (api.client === undefined ? true : undefined));
      await set(undefined);
      const after = await eventually('another server', () => api.client);
      assert.notEqual(after, before);
    }
  });

  // E1
  it('a server that crashes at its start is said once, and not started again by itself', async () => {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'crashes-'));
    const [program, starts] = [path.join(directory, 'vmtest'), path.join(directory, 'starts')];
    const help = 'test "$*" = "lsp --help" && exec echo "Usage: vmtest lsp"';
    await fs.writeFile(program, `#!/bin/sh\n${help}\necho >> '${starts}'\nexit 1\n`, { mode: 0o755 });
    const settings = vscode.workspace.getConfiguration('vmtest');
    const set = (value?: string): Thenable<void> =>
      settings.update('server.path', value, vscode.ConfigurationTarget.Workspace);
    const { shown, dispose } = errors();
    await set(program);
    await eventually('a message', () => shown[0]);
    // Whatever comes by itself comes before the end of a start that is asked for.
    await vscode.commands.executeCommand('vmtest.restartServer');
    assert.equal(api.client, undefined);
    await set();
    await eventually('the other server', () => api.client);
    dispose();
    const said = 'vmtest: The language server ended by itself; the reason is in its log.';
    assert.deepEqual(shown, [said, said]);
    assert.equal(await fs.readFile(starts, 'utf8'), '\n\n');
    await fs.rm(directory, { recursive: true });
  });

  // E1
  it('a server that crashes again and again is given up, is said once, and can be started', async () => {
    // Crashes of before do not count.
    await vscode.commands.executeCommand('vmtest.restartServer');
    const { shown, dispose } = errors();
    let starts = 0;
    const listener = api.onDidStartServer(() => {
      starts += 1;
    });
    await eventually('a message', async () => {
      const { client } = api;
      // It answers a moment before the client is done with its start; one that ends in between did not come up.
      await client?.start();
      client?.serverProcess?.kill('SIGKILL');
      // It may end while it is written to.
      client?.sendNotification('workspace/didChangeConfiguration', { settings: {} }).catch(() => undefined);
      return shown[0];
    });
    await vscode.commands.executeCommand('vmtest.restartServer');
    assert.ok(api.client !== undefined);
    listener.dispose();
    dispose();
    assert.deepEqual(shown, ['vmtest: The language server ended by itself; the reason is in its log.']);
    // The fifth crash was the last.
    assert.equal(starts, 5);
  });

  // E1
  it('the editor may leave while a machine runs', async () => {
    for (const file of ['go', 'started']) {
      await fs.rm(inFolder(0, file), { force: true });
    }
    let seen = 'it runs';
    void end(api, 'waits').then(({ verdict }) => {
      seen = verdict;
    });
    run('waits', 2).then(undefined, (error: unknown) => {
      seen = String(error);
    });
    await eventually(
      'the command',
      () => exists(inFolder(0, 'started')),
      () => seen,
    );
    // `host.ts` looks for what is left.
    assert.notDeepEqual(await machines(), []);
  });
});
