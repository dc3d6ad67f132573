import * as assert from 'node:assert/strict';

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

  it('the server refuses to run', async () => {
    const run = api.client?.sendRequest('vmtest/run', { uri: config().toString() });
    await assert.rejects(Promise.resolve(run), (error: { code?: number; data?: unknown }) => {
      assert.equal(error.code, -32803);
      assert.deepEqual(error.data, { reason: 'untrusted' });
      return true;
    });
  });

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
});
