// What both kinds of tests need: an empty home, a server of the editor, a browser.

import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';

import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';

/** Where `run.sh` has put the editor. */
export const installed = required('VMTEST_EDITOR');
/** The unpacked extension, as it is in the package. */
export const extension = required('VMTEST_EXTENSION');
/** The suite for the extension host, bundled. */
export const suite = required('VMTEST_SUITE');
export const kernel = path.join(required('VMTEST_KERNELS'), 'stable/boot/vmlinuz');
/** Screenshots go here. */
export const artefacts = required('VMTEST_ARTEFACTS');

export const settings = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'chat.disableAIFeatures': true,
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'git.enabled': false,
  'files.simpleDialog.enable': true,
  'terminal.integrated.gpuAcceleration': 'off',
  'security.workspace.trust.startupPrompt': 'never',
  'security.workspace.trust.banner': 'never',
};

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') {
    throw new Error(`${name} is not set; start this by run.sh`);
  }
  return value;
}

/** A fresh place for one editor; short, because paths of sockets are. */
export class Home {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'vmv-'));
  readonly user = this.make('u');
  readonly extensions = this.make('e');
  readonly work = this.make('w');
  /** What a suite in the extension host says. */
  readonly report = path.join(this.dir, 'report');

  make(...parts: string[]): string {
    const dir = path.join(this.dir, ...parts);
    fs.mkdirSync(dir, { recursive: true });
    return dir;
  }

  write(file: string, text: string): string {
    const full = path.join(this.work, file);
    fs.mkdirSync(path.dirname(full), { recursive: true });
    fs.writeFileSync(full, text);
    return full;
  }

  /** Nothing of the caller's editor or home, and nothing of this one's left behind. */
  environment(): NodeJS.ProcessEnv {
    const kept = Object.entries(process.env).filter(([name]) => !/^(VSCODE_|XDG_|ELECTRON_)/.test(name));
    return {
      ...Object.fromEntries(kept),
      HOME: this.make('h'),
      XDG_CACHE_HOME: this.make('h', 'cache'),
      XDG_CONFIG_HOME: this.make('h', 'config'),
      XDG_DATA_HOME: this.make('h', 'data'),
      XDG_STATE_HOME: this.make('h', 'state'),
      TMPDIR: this.make('t'),
      VMTEST_REPORT: this.report,
    };
  }

  remove(): void {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A program that serves the editor on a port, in a process group of its own. */
export class Serving {
  private readonly pid: number;
  readonly port: number;

  private constructor(pid: number, port: number) {
    this.pid = pid;
    this.port = port;
  }

  static async start(home: Home, args: (port: number) => string[]): Promise<Serving> {
    const port = await freePort();
    const log = fs.openSync(path.join(artefacts, `server-${port}.log`), 'w');
    const child = spawn(process.execPath, args(port), {
      env: home.environment(),
      stdio: ['ignore', log, log],
      detached: true,
    });
    fs.closeSync(log);
    if (child.pid === undefined) {
      throw new Error('the server of the editor did not start');
    }
    let exited = false;
    child.once('exit', () => {
      exited = true;
    });
    while (!(await answers(port))) {
      if (exited) {
        throw new Error(`the server of the editor ended; see server-${port}.log`);
      }
    }
    return new Serving(child.pid, port);
  }

  stop(): void {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // It is gone.
    }
  }
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => {
        resolve(port);
      });
    });
  });
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/version`)).status < 500;
  } catch {
    // Asked again at once, but for a moment in which the server gets the processor.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return false;
  }
}

/** A page that opens `query` of the editor, in a browser of its own. */
export async function browse(serving: Serving, prepare: (page: Page) => Promise<void>, query: string) {
  const browser: Browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(90_000);
  await prepare(page);
  await page.goto(`http://127.0.0.1:${serving.port}/?${query}`);
  return { browser, page };
}

export function payload(entries: [string, string][]): string {
  return `payload=${encodeURIComponent(JSON.stringify(entries))}`;
}

export function remote(serving: Serving, file: string): string {
  return `vscode-remote://127.0.0.1:${serving.port}${file}`;
}
