// Which `vmtest` program to use.

import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';

export interface Found {
  program: string;
  origin: 'setting' | 'bundled' | 'PATH';
}

export interface Missing {
  /** What is wrong, as a sentence. */
  reason: string;
  /** Whether the user's own setting is what is wrong. */
  isSetting: boolean;
}

export interface Places {
  /** `vmtest.server.path`; empty when it is not set. */
  setting: string;
  /** Where the extension's own server would be. */
  bundled: string;
  /** `PATH` of the environment. */
  path: string;
  /** Without trust only what came with the extension is started: the others are in the reach of the workspace. */
  trusted: boolean;
}

/** The setting, else the bundled one, else `PATH`. A setting that leads nowhere is said, not passed over. */
export async function findServer(places: Places): Promise<Found | Missing> {
  if (places.trusted && places.setting !== '') {
    const program = places.setting.replace(/^~(?=\/)/, os.homedir());
    if (!path.isAbsolute(program)) {
      return { reason: `\`vmtest.server.path\` is not an absolute path: ${program}`, isSetting: true };
    }
    return (await isServer(program))
      ? { program, origin: 'setting' }
      : {
          reason: `\`vmtest.server.path\` names no \`vmtest\` with a language server: ${program}`,
          isSetting: true,
        };
  }
  if (await isServer(places.bundled)) {
    return { program: places.bundled, origin: 'bundled' };
  }
  if (!places.trusted) {
    return {
      reason:
        'This package of the extension has no language server inside, and others start only in a workspace that you trust.',
      isSetting: false,
    };
  }
  const others: string[] = [];
  // A relative entry would mean whatever directory the editor was started in.
  for (const directory of places.path.split(path.delimiter).filter((entry) => path.isAbsolute(entry))) {
    const program = path.join(directory, 'vmtest');
    if (await isServer(program)) {
      return { program, origin: 'PATH' };
    }
    if (await isProgram(program)) {
      others.push(program);
    }
  }
  const but = others.length > 0 ? `, only without: ${others.join(', ')}` : '';
  return { reason: `There is no \`vmtest\` with a language server on PATH${but}.`, isSetting: false };
}

/**
 * Whether a program can serve, by its own word. An older `vmtest` knows no `lsp` and would run every target of the
 * vmtest.toml where it is started; a program that was built for another system does not start at all.
 */
async function isServer(file: string): Promise<boolean> {
  if (!(await isProgram(file))) {
    return false;
  }
  return new Promise((resolve) => {
    const child = execFile(file, ['lsp', '--help'], { cwd: '/', timeout: 10_000 }, (error, stdout) => {
      resolve(error === null && stdout.includes('vmtest lsp'));
    });
    child.stdin?.end();
  });
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await fs.access(file, fs.constants.X_OK);
    return (await fs.stat(file)).isFile();
  } catch {
    return false;
  }
}
