import * as assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';

import * as vscode from 'vscode';

import type { Api } from '../../../../editors/vscode/src/extension';
import { activate, click, eventually, exists, inFolder, item, lens } from './editor';

describe('in a workspace that is not trusted', () => {
  const config = (): vscode.Uri => vscode.Uri.file(inFolder(0, 'vmtest.toml'));
  let api: Api;

  before(async () => {
    assert.equal(vscode.workspace.isTrusted, false);
    api = await activate();
  });

  it('the server of the package starts, and not the one that the workspace names', async () => {
    assert.equal(api.client?.initializeResult?.serverInfo?.name, 'vmtest');
    assert.equal(await exists(inFolder(0, 'started')), undefined);
  });

  it('vmtest.toml is understood', async () => {
    await vscode.window.showTextDocument(config());
    await lens(config(), /Run in VM/, 0);
    await eventually('the target in the Test Explorer', () => item(api, 'passes'));
  });

  // E2
  it('the server refuses to run', async () => {
    const run = api.client?.sendRequest('vmtest/run', { uri: config().toString() });
    await assert.rejects(Promise.resolve(run), (error: { code?: number; data?: unknown }) => {
      assert.equal(error.code, -32803);
      assert.deepEqual(error.data, { reason: 'untrusted' });
      return true;
    });
  });

  // E2
  it('a lens asks for trust and runs nothing', async () => {
    // Ends when the question is answered, which is never.
    void click(await lens(config(), /Run in VM/, 0));
    const targets: { state: { phase: string } }[] | undefined = await api.client?.sendRequest(
      'vmtest/targets',
      {
        uri: config().toString(),
      },
    );
    assert.deepEqual(
      targets?.map(({ state }) => state.phase),
      ['idle'],
    );
    assert.equal(await exists(inFolder(0, 'ran')), undefined);
  });

  // E2
  it('nothing that a file names is executed while it is looked at, whatever its names say', async () => {
    const evil = vscode.Uri.file(inFolder(0, 'evil/vmtest.toml'));
    const name = 'evil $(touch mark) `touch mark` [link](command:vmtest.stop)\n**two**';
    const text = [
      '[[target]]',
      `name = ${JSON.stringify(name)}`,
      "kernel = './evil'",
      "qemu_command = './evil'",
      "command = 'touch mark'",
      "env = { A = '$(touch mark)' }",
      '',
    ];
    await fs.mkdir(inFolder(0, 'evil'));
    await fs.writeFile(inFolder(0, 'evil/evil'), `#!/bin/sh\ntouch '${inFolder(0, 'mark')}'\n`, {
      mode: 0o755,
    });
    await fs.writeFile(evil.fsPath, text.join('\n'));
    await vscode.window.showTextDocument(evil);
    await lens(evil, /Run in VM/, 0);
    // With a space in what could be an icon, and as it is otherwise.
    await eventually('its test', () => item(api, name.replaceAll('$(', '$ (')));
    for (let line = 0; line < text.length; line += 1) {
      for (const character of [1, text[line]?.length ?? 0]) {
        const at = new vscode.Position(line, character);
        const hovers: vscode.Hover[] = await vscode.commands.executeCommand(
          'vscode.executeHoverProvider',
          evil,
          at,
        );
        for (const content of hovers.flatMap((hover) => hover.contents)) {
          assert.ok(content instanceof vscode.MarkdownString);
          // A link to a command leads nowhere, and markup is none.
          assert.ok(content.isTrusted !== true && content.supportHtml !== true);
        }
        await vscode.commands.executeCommand('vscode.executeCompletionItemProvider', evil, at);
      }
    }
    const all = new vscode.Range(0, 0, text.length, 0);
    const actions: vscode.CodeAction[] = await vscode.commands.executeCommand(
      'vscode.executeCodeActionProvider',
      evil,
      all,
    );
    for (const { title } of actions) {
      assert.ok(!title.includes('\n'), title);
    }
    // Ends when the question is answered, which is never.
    void click(await lens(evil, /Run in VM/, 0));
    void vscode.commands.executeCommand('vmtest.client.shell', { uri: evil.toString(), name, index: 0 });
    const targets: { state: { phase: string } }[] | undefined = await api.client?.sendRequest(
      'vmtest/targets',
      {
        uri: evil.toString(),
      },
    );
    assert.equal(targets?.[0]?.state.phase, 'idle');
    assert.deepEqual(vscode.window.terminals, []);
    for (const mark of ['mark', 'evil/mark']) {
      assert.equal(await exists(inFolder(0, mark)), undefined);
    }
  });
});
