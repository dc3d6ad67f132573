// Runs the suites in `host/` inside the editor's extension host: one in a workspace of two folders that is trusted, one in
// a workspace that is not.

import * as fs from 'node:fs';
import * as path from 'node:path';

import {
  Home,
  Serving,
  artefacts,
  browse,
  code,
  extension,
  onSignal,
  payload,
  remote,
  suite,
  target,
} from './machine.ts';

/** Longest time one suite may take. */
const limit = 1_500_000;

function trusted(home: Home): string {
  home.write(
    'one/vmtest.toml',
    target('passes', 'printf \'\\033[32mgreen\\033[0m from %s\\n\' "$(uname -s)"') +
      target('fails', "echo 'src/main.c:2:5: error: no such thing'; exit 3") +
      target('waits', 'touch started; until test -e go; do sleep 0.1; done'),
  );
  home.write('one/src/main.c', 'int main(void) {\n    thing();\n}\n');
  home.write('two/deep/vmtest.toml', target('elsewhere', 'true') + target('by hand', '-'));
  home.write('two/deep/notes.txt', 'first\n');
  home.write('two/some/where/notes.txt', '');
  return home.write('both.code-workspace', JSON.stringify({ folders: [{ path: 'one' }, { path: 'two' }] }));
}

/** A workspace that would like its own program to be started. */
function untrusted(home: Home): string {
  home.write('one/vmtest.toml', target('passes', 'touch ran'));
  const program = home.write('one/program', `#!/bin/sh\ntouch '${home.work}/one/started'\n`);
  fs.chmodSync(program, 0o755);
  const settings = { 'vmtest.server.path': program };
  home.write('one/.vscode/settings.json', JSON.stringify(settings));
  return home.write('one.code-workspace', JSON.stringify({ folders: [{ path: 'one' }], settings }));
}

async function run(name: string, prepare: (home: Home) => string, flags: string[]): Promise<boolean> {
  const home = new Home({ VMTEST_HOST_SUITE: name });
  const workspace = prepare(home);
  const log = path.join(artefacts, `host-${name}.log`);
  fs.writeFileSync(log, '');
  const serving = await Serving.start(home, `host-${name}`, (port) => [
    path.join(code, 'lib/vscode/out/server-main.js'),
    ...['--host', '127.0.0.1', '--port', String(port), '--without-connection-token'],
    ...['--accept-server-license-terms', '--telemetry-level', 'off', '--enable-smoke-test-driver'],
    ...['--server-data-dir', home.make('d'), '--user-data-dir', home.user],
    ...['--extensions-dir', home.extensions],
    ...flags,
  ]);
  const { promise, resolve } = ending();
  const forget = onSignal(() => {
    resolve(1);
  });
  const timer = setTimeout(() => {
    console.error(`host.ts: ${name}: no end after ${limit / 1000} s`);
    resolve(1);
  }, limit);
  try {
    const browser = await browse(
      serving,
      async (page) => {
        await page.exposeFunction('codeAutomationExit', resolve);
        await page.exposeFunction('codeAutomationLog', (_type: string, args: unknown[]) => {
          fs.appendFileSync(log, `${args.map(String).join(' ')}\n`);
        });
      },
      `workspace=${workspace}&` +
        payload([
          ['extensionDevelopmentPath', remote(serving, extension)],
          ['extensionTestsPath', remote(serving, path.join(suite, 'host/index.js'))],
          ['enableProposedApi', ''],
        ]),
    );
    const status = await promise;
    await browser.close();
    serving.stop();
    const left = await home.left();
    if (left.length > 0) {
      console.error(`host.ts: ${name}: still there after the editor: ${left.join(', ')}`);
    }
    return status === 0 && left.length === 0;
  } finally {
    clearTimeout(timer);
    forget();
    serving.stop();
    process.stdout.write(fs.existsSync(home.report) ? fs.readFileSync(home.report) : '');
    home.remove();
  }
}

function ending(): { promise: Promise<number>; resolve: (status: number) => void } {
  let resolve: (status: number) => void = () => undefined;
  const promise = new Promise<number>((one) => {
    resolve = one;
  });
  return { promise, resolve };
}

const results = [
  await run('trusted', trusted, ['--disable-workspace-trust']),
  await run('untrusted', untrusted, []),
];
process.exit(results.every(Boolean) ? 0 : 1);
