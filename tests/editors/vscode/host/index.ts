// What the editor starts: mocha, and the suite.

import * as fs from 'node:fs';
import { format } from 'node:util';

import Mocha from 'mocha';

export async function run(): Promise<void> {
  // The editor says much on its own console; the report goes where `host.ts` reads it.
  const report = process.env.VMTEST_REPORT ?? '';
  Mocha.reporters.Base.consoleLog = (...args: unknown[]) => {
    fs.appendFileSync(report, `${format(...args)}\n`);
  };
  const mocha = new Mocha({ ui: 'bdd', timeout: 25_000, color: false, bail: true });
  mocha.suite.emit('pre-require', globalThis, '', mocha);
  await import('./suite');
  const failures = await new Promise<number>((resolve) => mocha.run(resolve));
  if (failures > 0) {
    throw new Error(`${failures} failed`);
  }
}
