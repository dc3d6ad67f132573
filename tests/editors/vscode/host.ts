// Runs the suite in `host/` inside the editor's extension host, with two folders open.

import * as fs from 'node:fs';
import * as path from 'node:path';

import { Home, Serving, artefacts, browse, extension, installed, kernel, payload, remote, suite } from './machine.ts';

const target = (name: string, command: string): string =>
  `[[target]]\nname = '${name}'\nkernel = '${kernel}'\ncommand = '''\n${command}\n'''\n\n`;

const home = new Home();
home.write(
  'one/vmtest.toml',
  target('passes', "printf '\\033[32mgreen\\033[0m from %s\\n' \"$(uname -s)\"") +
    target('fails', "echo 'src/main.c:2:5: error: no such thing'; exit 3") +
    target('waits', 'touch started; until test -e go; do sleep 0.1; done'),
);
home.write('one/src/main.c', 'int main(void) {\n    thing();\n}\n');
home.write('two/deep/vmtest.toml', target('elsewhere', 'true'));
home.write('two/deep/notes.txt', 'first\n');
const workspace = home.write(
  'both.code-workspace',
  JSON.stringify({ folders: [{ path: 'one' }, { path: 'two' }], settings: {} }),
);

const code = path.join(installed, 'node_modules/code-server/lib/vscode');
const serving = await Serving.start(home, (port) => [
  path.join(code, 'out/server-main.js'),
  ...['--host', '127.0.0.1', '--port', String(port), '--without-connection-token'],
  ...['--accept-server-license-terms', '--telemetry-level', 'off', '--enable-smoke-test-driver'],
  ...['--server-data-dir', home.make('d'), '--user-data-dir', home.user, '--extensions-dir', home.extensions],
]);
const log = path.join(artefacts, 'host.log');
fs.writeFileSync(log, '');
let status = 1;
try {
  let ended: (code: number) => void = () => undefined;
  const end = new Promise<number>((resolve) => {
    ended = resolve;
  });
  const { browser, page } = await browse(
    serving,
    async (page) => {
      await page.exposeFunction('codeAutomationExit', (code: number) => {
        ended(code);
      });
      await page.exposeFunction('codeAutomationLog', (_type: string, args: unknown[]) => {
        fs.appendFileSync(log, `${args.map(String).join(' ')}\n`);
      });
      page.on('close', () => {
        ended(1);
      });
    },
    `workspace=${workspace}&` +
      payload([
        ['extensionDevelopmentPath', remote(serving, extension)],
        ['extensionTestsPath', remote(serving, path.join(suite, 'index.js'))],
        ['enableProposedApi', ''],
      ]),
  );
  const tooLong = setTimeout(() => {
    console.error('host.ts: no end after 5 minutes');
    ended(1);
  }, 300_000);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      ended(1);
    });
  }
  status = await end;
  clearTimeout(tooLong);
  void page;
  await browser.close();
} finally {
  serving.stop();
  if (fs.existsSync(home.report)) {
    process.stdout.write(fs.readFileSync(home.report));
  }
  home.remove();
}
process.exit(status);
