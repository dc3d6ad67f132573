// What needs no editor: which program is started, what becomes of a guest's bytes, and what the package says and holds.

import * as assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it } from 'node:test';

import { findServer } from '../../../../editors/vscode/src/lookup';
import type { Places } from '../../../../editors/vscode/src/lookup';
import {
  Lines,
  Room,
  downloading,
  forLabel,
  forReading,
  forTerminal,
  textOf,
} from '../../../../editors/vscode/src/text';

void describe('the server', () => {
  let dir = '';
  const script = (name: string, text: string): string => {
    const file = path.join(dir, name, 'vmtest');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return file;
  };
  const program = (name: string): string =>
    script(name, 'test "$*" = "lsp --help" && echo "Usage: vmtest lsp"');
  const places = (changes: Partial<Places>): Places => ({
    setting: '',
    bundled: path.join(dir, 'missing/vmtest'),
    path: '',
    trusted: true,
    ...changes,
  });

  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'vmtest-lookup-'));
  });
  after(() => {
    fs.rmSync(dir, { recursive: true });
  });

  void it('is what the setting names, before the one of the package, before the one on PATH', async () => {
    const [setting, bundled, onPath] = [program('setting'), program('bundled'), program('path')];
    const all = places({ setting, bundled, path: `/nowhere:${path.dirname(onPath)}` });
    assert.deepEqual(await findServer(all), { program: setting, origin: 'setting' });
    assert.deepEqual(await findServer({ ...all, setting: '' }), { program: bundled, origin: 'bundled' });
    const withoutBoth = { ...all, setting: '', bundled: '/nowhere/vmtest' };
    assert.deepEqual(await findServer(withoutBoth), { program: onPath, origin: 'PATH' });
  });

  void it('is the one of the package and no other without trust', async () => {
    const [setting, bundled, onPath] = [program('setting'), program('bundled'), program('path')];
    const all = places({ setting, bundled, path: path.dirname(onPath), trusted: false });
    assert.deepEqual(await findServer(all), { program: bundled, origin: 'bundled' });
    const found = await findServer({ ...all, bundled: '/nowhere/vmtest' });
    assert.ok('reason' in found && !found.isSetting);
  });

  void it('is not looked for elsewhere when the setting leads nowhere', async () => {
    const bundled = program('bundled');
    for (const setting of ['/nowhere/vmtest', 'relative/vmtest', dir]) {
      const found = await findServer(places({ setting, bundled }));
      assert.ok('reason' in found && found.isSetting, setting);
    }
  });

  void it('may be below the home directory', async () => {
    const found = await findServer(places({ setting: '~/no/such/vmtest' }));
    assert.ok('reason' in found && found.reason.includes(path.join(os.homedir(), 'no/such/vmtest')));
  });

  void it('is not taken from a relative entry of PATH, and is no directory', async () => {
    fs.mkdirSync(path.join(dir, 'directory/vmtest'), { recursive: true });
    const onPath = path.relative(process.cwd(), path.dirname(program('path')));
    const found = await findServer(places({ path: `${onPath}:${path.join(dir, 'directory')}:` }));
    assert.deepEqual(found, {
      reason: 'There is no `vmtest` with a language server on PATH.',
      isSetting: false,
    });
  });

  // E1
  void it('is no older vmtest, which would run the targets instead', async () => {
    // It has no `lsp`, and takes the word for something else.
    const older = script('older', 'echo "Usage: vmtest [OPTIONS] [COMMAND]..."');
    const broken = script('broken', 'echo "Usage: vmtest lsp"; exit 127');
    const onPath = program('path');
    const before = [older, broken].map((file) => path.dirname(file)).join(':');
    const all = places({ path: `${before}:${path.dirname(onPath)}` });
    assert.deepEqual(await findServer(all), { program: onPath, origin: 'PATH' });
    assert.deepEqual(await findServer({ ...all, path: before }), {
      reason: `There is no \`vmtest\` with a language server on PATH, only without: ${older}, ${broken}.`,
      isSetting: false,
    });
    const named = await findServer({ ...all, setting: older });
    assert.ok('reason' in named && named.isSetting && named.reason.includes(older));
    assert.deepEqual(await findServer({ ...all, bundled: broken }), { program: onPath, origin: 'PATH' });
  });
});

void describe('output', () => {
  void it('says how far a download is, by its share where the whole is known', () => {
    assert.equal(downloading(300_000, 1_200_000), 'downloading, 25 %');
    assert.equal(downloading(300_000, null), 'downloading, 0.3 MB');
  });

  void it('returns to the margin of a terminal, once, and keeps its colours', () => {
    assert.equal(forTerminal('a\nb\r\n\x1b[31mc\x1b[0m\n'), 'a\r\nb\r\n\x1b[31mc\x1b[0m\r\n');
  });

  void it('is plain in a channel: no colours, titles, bells or earlier states of a progress bar', () => {
    assert.equal(forReading('\x1b[1;31merror\x1b[0m: \x1b]0;title\x07\x1b(Bgone\x07\r'), 'error: gone');
    assert.equal(forReading(' 10%\r 50%\r100% done'), '100% done');
    assert.equal(forReading('\ttab ä 漢'), '\ttab ä 漢');
    // E2
    assert.equal(forLabel('$(bug) is $(no~spin) icon'), '$ (bug) is $ (no~spin) icon');
  });

  void it('is put together to lines, also the last one', () => {
    const seen: string[][] = [];
    const lines = new Lines((some) => seen.push(some));
    for (const piece of ['on', 'e\ntwo\nth', 'ree', '\n', 'four']) {
      lines.push(piece);
    }
    lines.end();
    lines.end();
    assert.deepEqual(seen, [['one', 'two'], ['three'], ['four']]);
  });

  void it('that has no line breaks is not kept back, and not lost', () => {
    const seen: string[] = [];
    const lines = new Lines((some) => seen.push(...some));
    const piece = 'x'.repeat(1000);
    for (let count = 0; count < 1000; count += 1) {
      lines.push(piece);
    }
    assert.ok(seen.length > 1);
    lines.end();
    assert.equal(seen.join(''), piece.repeat(1000));
  });

  void it('is not kept in memory without end', () => {
    const room = new Room(5, ' and more');
    assert.deepEqual(
      ['abc', 'def', 'ghi', ''].map((text) => room.take(text)),
      ['abc', 'def and more', '', ''],
    );
  });

  void it('that is no UTF-8 is shown as far as it can be', () => {
    assert.equal(textOf({ text: 'ä' }), 'ä');
    assert.equal(textOf({ base64: 'Yf8=' }), 'a\ufffd');
  });
});

void describe('the package', () => {
  const root = process.env.VMTEST_EXTENSION ?? '';
  const text = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
  interface Manifest {
    version: string;
    icon: string;
    contributes: {
      commands: { command: string; title: string }[];
      menus: Record<string, { command: string }[]>;
      configuration: { properties: Record<string, unknown> };
      walkthroughs: { steps: { description: string; media: { markdown: string } }[] }[];
    };
  }
  const { version, icon, contributes } = JSON.parse(text('package.json')) as Manifest;
  const commands = contributes.commands.map(({ command }) => command);

  void it('holds the bundle, the server, and no more than it needs', () => {
    const files = fs.readdirSync(root, { recursive: true, withFileTypes: true });
    const names = files
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
    assert.deepEqual(names.sort(), [
      'LICENSE.txt',
      'changelog.md',
      icon,
      'language-configuration.json',
      'out/NOTICES.txt',
      'out/extension.js',
      'package.json',
      'readme.md',
      'server/vmtest',
      ...contributes.walkthroughs.flatMap(({ steps }) => steps.map(({ media }) => media.markdown)).sort(),
    ]);
    fs.accessSync(path.join(root, 'server/vmtest'), fs.constants.X_OK);
  });

  void it('says in its page which settings there are, and in its log what is in this version', () => {
    const settings = [...text('readme.md').matchAll(/^\| `(vmtest\.[^`]+)`/gm)].map(([, name]) => name);
    assert.deepEqual(settings.sort(), Object.keys(contributes.configuration.properties).sort());
    assert.match(text('changelog.md'), new RegExp(`^## ${version}$`, 'm'));
  });

  void it('names commands that are there', () => {
    const shown = Object.values(contributes.menus).flatMap((menu) => menu.map(({ command }) => command));
    const steps = contributes.walkthroughs.flatMap((walkthrough) => walkthrough.steps);
    const linked = steps.flatMap(({ description }) =>
      [...description.matchAll(/\(command:([^)]+)\)/g)].map(([, command]) => command ?? ''),
    );
    assert.equal(linked.length, 3);
    for (const command of [...shown, ...linked]) {
      assert.ok(commands.includes(command), command);
    }
  });
});
