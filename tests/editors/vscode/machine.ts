// What all of these tests need: an empty home, a server of the editor, a browser.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';

/** Where the package code-server lies. */
export const code = path.join(required('VMTEST_EDITOR'), 'node_modules/code-server');
/** The extension, packaged and unpacked again. */
export const vsix = required('VMTEST_VSIX');
export const extension = required('VMTEST_EXTENSION');
/** The suites for the extension host, bundled. */
export const suite = required('VMTEST_SUITE');
/** Screenshots and logs go here. */
export const artefacts = required('VMTEST_ARTEFACTS');

/** The files of a stock kernel, from their root on. */
export const stable = path.join(required('VMTEST_KERNELS'), 'stable');

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') {
    throw new Error(`${name} is not set; start this by run.sh`);
  }
  return value;
}

/** A target of a vmtest.toml. */
export function target(name: string, command: string, kernel = `${stable}/boot/vmlinuz`): string {
  const script = /^\S+$/.test(command) ? `'${command}'` : `'''\n${command}\n'''`;
  return `[[target]]\nname = '${name}'\nkernel = '${kernel}'\ncommand = ${script}\n\n`;
}

/** A fresh place for one editor; short, because paths of sockets are. */
export class Home {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), 'vmv-'));
  readonly user = this.make('u');
  readonly extensions = this.make('e');
  readonly work = this.make('project');
  /** What a suite in the extension host says. */
  readonly report = path.join(this.dir, 'report');
  private readonly extra: NodeJS.ProcessEnv;

  constructor(extra: NodeJS.ProcessEnv = {}) {
    this.extra = extra;
  }

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

  link(name: string, to: string): void {
    fs.mkdirSync(path.dirname(path.join(this.work, name)), { recursive: true });
    fs.symlinkSync(to, path.join(this.work, name));
  }

  /** Nothing of the caller's editor or home, and nothing of this one's left behind. */
  environment(): NodeJS.ProcessEnv {
    // Its own: what a run leaves half-written there is found when the suite is over.
    const XDG_CACHE_HOME = required('XDG_CACHE_HOME');
    const kept = Object.entries(process.env).filter(([name]) => !/^(VSCODE_|XDG_|ELECTRON_)/.test(name));
    return {
      ...Object.fromEntries(kept),
      HOME: this.make('h'),
      XDG_CACHE_HOME,
      XDG_CONFIG_HOME: this.make('h', 'config'),
      XDG_DATA_HOME: this.make('h', 'data'),
      XDG_STATE_HOME: this.make('h', 'state'),
      TMPDIR: this.make('t'),
      VMTEST_REPORT: this.report,
      ...this.extra,
    };
  }

  /** Servers and machines that outlive the editor, which must be none; they may take a moment to leave. */
  async left(): Promise<string[]> {
    const limit = Date.now() + 30_000;
    for (;;) {
      const left = this.processes().filter((name) => /^(vmtest|qemu)/.test(name));
      if (left.length === 0 || Date.now() > limit) {
        return left;
      }
      await pause(50);
    }
  }

  /** The names of all processes that were started from here. */
  private processes(): string[] {
    const ours = (pid: string): string[] => {
      try {
        const environment = fs.readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
        const isOurs = environment.includes(`HOME=${this.dir}/h`);
        return isOurs ? [fs.readFileSync(`/proc/${pid}/comm`, 'latin1').trim()] : [];
      } catch {
        // It is gone, or another user's.
        return [];
      }
    };
    return fs
      .readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap(ours);
  }

  remove(): void {
    // What still closes its files may still write some.
    fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

/** A program that serves the editor on a port, in a process group of its own. */
export class Serving {
  readonly port: number;
  private readonly pid: number;

  private constructor(pid: number, port: number) {
    this.pid = pid;
    this.port = port;
  }

  static async start(home: Home, name: string, args: (port: number) => string[]): Promise<Serving> {
    const port = await freePort();
    const log = fs.openSync(path.join(artefacts, `${name}-server.log`), 'w');
    const child = spawn(process.execPath, args(port), {
      env: home.environment(),
      stdio: ['ignore', log, log],
      detached: true,
    });
    fs.closeSync(log);
    if (child.pid === undefined) {
      throw new Error('the server of the editor did not start');
    }
    while (!(await answers(port))) {
      if (child.exitCode !== null) {
        throw new Error(`the server of the editor ended; see ${name}-server.log`);
      }
      await pause(50);
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

/** Starts a program of the editor and waits for its end. */
export async function finish(home: Home, args: string[]): Promise<void> {
  const child = spawn(process.execPath, args, { env: home.environment(), stdio: 'inherit' });
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status !== 0) {
    throw new Error(`${args.join(' ')}: exit ${String(status)}`);
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/version`)).status < 500;
  } catch {
    return false;
  }
}

/** Opens the editor in a browser of its own; `prepare` sees the page before there is anything on it. */
export async function browse(
  serving: Serving,
  prepare: (page: Page) => Promise<void>,
  query: string,
): Promise<Browser> {
  const browser = await chromium.launch({
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
  return browser;
}

export function payload(entries: [string, string][]): string {
  return `payload=${encodeURIComponent(JSON.stringify(entries))}`;
}

export function remote(serving: Serving, file: string): string {
  return `vscode-remote://127.0.0.1:${serving.port}${file}`;
}

/** Whoever stops the tests stops what they started; the result takes the handlers away again. */
export function onSignal(stop: () => void): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) {
    process.on(signal, stop);
  }
  return () => {
    for (const signal of signals) {
      process.off(signal, stop);
    }
  };
}
