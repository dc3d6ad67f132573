// What the editor starts: mocha, and one of the suites.

import * as fs from 'node:fs';
import { format } from 'node:util';

import Mocha from 'mocha';

export async function run(): Promise<void> {
  // The editor says much on its own console; the report goes where `host.ts` reads it.
  const report = process.env.VMTEST_REPORT ?? '';
  Mocha.reporters.Base.consoleLog = (...args: unknown[]) => {
    fs.appendFileSync(report, `${format(...args)}\n`);
  };
  const grep = process.env.VMTEST_ONLY ?? '';
  const mocha = new Mocha({ ui: 'bdd', timeout: 180_000, color: false, ...(grep !== '' && { grep }) });
  mocha.suite.emit('pre-require', globalThis, '', mocha);
  if (process.env.VMTEST_HOST_SUITE === 'untrusted') {
    await import('./untrusted');
  } else {
    await import('./trusted');
  }
  const failures = await new Promise<number>((resolve) => mocha.run(resolve));
  if (failures > 0) {
    throw new Error(`${failures} failed`);
  }
}
