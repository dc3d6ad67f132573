// What vmtest adds to the language server protocol: docs/protocol.md says what it means.

import { NotificationType, RequestType } from 'vscode-languageclient/node';
import type { Range } from 'vscode-languageclient/node';

export interface TargetInfo {
  name: string;
  /** Its place in the file, from 0; names need not be unique. */
  index: number;
  /** Whether it is a shell, which needs a terminal. */
  interactive: boolean;
  /** Its `[[target]]` header. */
  range: Range;
}

/** Names a target, and never says what it runs. */
export interface TargetRef {
  name: string;
  index: number;
}

/** Argument of the commands of a lens. */
export interface TargetArgument extends TargetRef {
  uri: string;
}

export interface RunParams {
  uri: string;
  /** All that need no terminal, when missing. */
  targets?: TargetRef[];
}

export interface Durations {
  total_seconds: number;
}

interface EventOfTarget {
  uri: string;
  run_id: string;
  target: string;
  /** The target's place in the run. */
  index: number;
}

export type Verdict =
  'passed' | 'cancelled' | 'failed' | 'killed' | 'timed_out' | 'kernel_bug' | 'boot_failed' | 'lost';

export interface Finished {
  event: 'finished';
  verdict: Verdict;
  /** What went wrong. */
  headline: string | null;
  durations: Durations;
}

export type RunEvent = EventOfTarget &
  (
    | { event: 'queued' }
    | { event: 'downloading'; url: string; received: number; total: number | null }
    | { event: 'preparing' }
    | { event: 'booting'; accelerator: string; attempt: number }
    | { event: 'notice'; message: string }
    | { event: 'console'; line: string }
    | { event: 'booted'; seconds: number; accelerator: string; start: string; share: string }
    | { event: 'command_started' }
    | { event: 'output'; stream: 'stdout' | 'stderr'; text?: string; base64?: string }
    | { event: 'kernel_bug'; title: string }
    | Finished
  );

export const targetsRequest = new RequestType<{ uri: string }, TargetInfo[], void>('vmtest/targets');
export const runRequest = new RequestType<RunParams, { runId: string }, void>('vmtest/run');
export const cancelRequest = new RequestType<{ runId: string }, null, void>('vmtest/cancel');
export const runEvent = new NotificationType<RunEvent>('vmtest/runEvent');
export const didChangeTrust = new NotificationType<{ trusted: boolean }>('vmtest/didChangeTrust');

/** Commands of the lenses. The language client registers them; ours have other names. */
export const serverCommand = { run: 'vmtest.server.run', runAll: 'vmtest.server.runAll' } as const;
/** The one command of a lens that is the client's: a shell needs a terminal. */
export const shellCommand = 'vmtest.client.shell';
