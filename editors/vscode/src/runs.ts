// Every run, whoever asked for it: a lens, the gutter, the Test Explorer, the palette or a saved file.

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';

import type { Channels } from './channels';
import type { Problems } from './problems';
import { cancelRequest, runRequest } from './protocol';
import type { Finished, RunEvent, TargetRef } from './protocol';
import type { Server } from './server';
import type { Status } from './status';
import type { Targets } from './targets';
import { Room, downloading, forReading, forTerminal, textOf } from './text';
import type { Lines } from './text';

/** How one target of a run ended. */
export interface Ended {
  item: vscode.TestItem;
  verdict: string;
  seconds: number;
  messages: readonly vscode.TestMessage[];
}

/** One `vmtest/run`: a file's share of a test run. */
interface Part {
  id: string;
  run: vscode.TestRun;
  /** Items that may be among its targets, in the order of the file; each is taken once. */
  waiting: vscode.TestItem[];
  first: vscode.TestItem | undefined;
  /** Targets that have not finished, by their place in the run. */
  targets: Map<number, Target>;
  /** How many targets have not been told to their tests as over. */
  open: number;
  over: () => void;
}

interface Target {
  item: vscode.TestItem;
  key: string;
  lines: Lines;
  room: Room;
}

/** The editor keeps the output of its last test runs in memory; a guest may print for hours. */
const mostOutput = 16 << 20;

/** Editors save many files at once; that is one reason to run. */
const pause = 100;

export class Runs implements vscode.Disposable {
  readonly profile: vscode.TestRunProfile;
  private readonly parts = new Map<string, Part>();
  /** Events of runs whose id is still on its way. */
  private readonly early = new Map<string, RunEvent[]>();
  private starting = 0;
  private readonly cancels = new Set<vscode.CancellationTokenSource>();
  private readonly ended = new vscode.EventEmitter<Ended>();
  /** A target is over, and its test knows. */
  readonly onDidEnd = this.ended.event;

  constructor(
    private readonly targets: Targets,
    private readonly server: Server,
    private readonly channels: Channels,
    private readonly problems: Problems,
    private readonly status: Status,
  ) {
    this.profile = targets.controller.createRunProfile(
      'Run in VM',
      vscode.TestRunProfileKind.Run,
      (request, token) => {
        if (request.continuous === true) {
          this.watch(request, token);
          return;
        }
        return this.run(request, token);
      },
      true,
      targets.runnable,
      true,
    );
  }

  /** Runs items as if they had been clicked in the Test Explorer; all of them without any. */
  start(items?: readonly vscode.TestItem[]): Promise<void> {
    const source = new vscode.CancellationTokenSource();
    // The results come to the front: whoever clicks a lens wants to see what the guest says.
    const request = new vscode.TestRunRequest(items, undefined, this.profile, false, false);
    return this.run(request, source.token).finally(() => {
      source.dispose();
    });
  }

  /** Whether a target is not over. */
  get isBusy(): boolean {
    return this.starting > 0 || this.parts.size > 0;
  }

  /** Stops everything. */
  stop(): void {
    for (const source of this.cancels) {
      source.cancel();
    }
  }

  /** The server is gone, and with it the machines. */
  abandon(): void {
    for (const part of this.parts.values()) {
      for (const { item, key, lines } of part.targets.values()) {
        lines.end();
        this.status.clear(key);
        this.fail(part.run, item, 'abandoned', 'The language server ended during the run.');
      }
      const lost = part.targets.size;
      part.targets.clear();
      this.close(part, lost);
    }
  }

  /** `vmtest/runEvent`. */
  heard(event: RunEvent): void {
    const part = this.parts.get(event.run_id);
    if (part !== undefined) {
      this.tell(part, event);
    } else if (this.starting > 0) {
      const events = this.early.get(event.run_id);
      if (events === undefined) {
        this.early.set(event.run_id, [event]);
      } else {
        events.push(event);
      }
    }
  }

  dispose(): void {
    this.stop();
    this.ended.dispose();
  }

  /** The one way to a run. */
  private async run(request: vscode.TestRunRequest, token: vscode.CancellationToken): Promise<void> {
    if (!vscode.workspace.isTrusted) {
      await askForTrust();
      return;
    }
    // A click may be faster than the news of trust.
    await this.server.settled();
    if (token.isCancellationRequested) {
      return;
    }
    const client = this.server.running;
    if (client === undefined) {
      void vscode.window
        .showErrorMessage('vmtest: the language server is not running.', 'Restart')
        .then((answer) => {
          if (answer !== undefined) {
            void vscode.commands.executeCommand('vmtest.restartServer');
          }
        });
      return;
    }
    const files = this.byFile(request);
    if (files.length === 0) {
      if (request.continuous !== true) {
        void vscode.window.showInformationMessage('vmtest: there is no target to run.');
      }
      return;
    }
    const run = this.targets.controller.createTestRun(request);
    const cancel = new vscode.CancellationTokenSource();
    this.cancels.add(cancel);
    const parts = [token, run.token].map((other) =>
      other.onCancellationRequested(() => {
        cancel.cancel();
      }),
    );
    try {
      await Promise.all(
        files.map(({ uri, items, refs }) => this.runFile(client, run, uri, items, refs, cancel.token)),
      );
    } finally {
      run.end();
      this.cancels.delete(cancel);
      for (const part of parts) {
        part.dispose();
      }
      cancel.dispose();
    }
  }

  /** Runs the same again whenever a file of the project is saved, until the user has enough of it. */
  private watch(request: vscode.TestRunRequest, token: vscode.CancellationToken): void {
    if (!vscode.workspace.isTrusted) {
      void askForTrust();
    }
    const due = new Set<vscode.TestItem>();
    let timer: NodeJS.Timeout | undefined;
    const again = (): void => {
      timer = undefined;
      const saved = new vscode.TestRunRequest([...due], request.exclude, request.profile, true, true);
      due.clear();
      void this.run(saved, token);
    };
    const listener = vscode.workspace.onDidSaveTextDocument((document) => {
      // Without trust, saving does nothing; it does when trust is given.
      const items = vscode.workspace.isTrusted ? this.chosen(request) : [];
      for (const item of items) {
        if (item.uri !== undefined && isBeside(document.uri, item.uri)) {
          due.add(item);
          timer ??= setTimeout(again, pause);
        }
      }
    });
    token.onCancellationRequested(() => {
      clearTimeout(timer);
      listener.dispose();
    });
  }

  /** What a request names, or everything. */
  private chosen(request: vscode.TestRunRequest): vscode.TestItem[] {
    const items: vscode.TestItem[] = [];
    if (request.include !== undefined) {
      return [...request.include];
    }
    this.targets.controller.items.forEach((item) => items.push(item));
    return items;
  }

  /** A request's targets by file. `refs` is missing where the whole file is meant: then the server chooses. */
  private byFile(
    request: vscode.TestRunRequest,
  ): { uri: vscode.Uri; items: vscode.TestItem[]; refs: TargetRef[] | undefined }[] {
    const chosen = new Set(this.chosen(request));
    const excluded = new Set(request.exclude ?? []);
    const isIn = (item: vscode.TestItem, set: Set<vscode.TestItem>): boolean =>
      set.has(item) || (item.parent !== undefined && set.has(item.parent));
    const files: ReturnType<Runs['byFile']> = [];
    this.targets.controller.items.forEach((file) => {
      if (file.uri === undefined) {
        return;
      }
      const all = this.targets.of(file.uri).filter((item) => this.targets.canRun(item));
      const items = all.filter((item) => isIn(item, chosen) && !isIn(item, excluded));
      if (items.length > 0) {
        const isWhole = chosen.has(file) && items.length === all.length;
        const refs = items.flatMap((item) => this.targets.ref(item) ?? []);
        files.push({ uri: file.uri, items, refs: isWhole ? undefined : refs });
      }
    });
    return files;
  }

  /** Runs targets of one file; ends when they are over. */
  private async runFile(
    client: LanguageClient,
    run: vscode.TestRun,
    uri: vscode.Uri,
    items: vscode.TestItem[],
    refs: TargetRef[] | undefined,
    token: vscode.CancellationToken,
  ): Promise<void> {
    let runId: string;
    this.starting += 1;
    try {
      const params = { uri: client.code2ProtocolConverter.asUri(uri), ...(refs && { targets: refs }) };
      ({ runId } = await client.sendRequest(runRequest, params));
    } catch (error) {
      this.started();
      const message = error instanceof Error ? error.message : String(error);
      run.appendOutput(`${forTerminal(message)}\r\n`);
      for (const item of items) {
        this.fail(run, item, 'refused', message);
      }
      return;
    }
    const cancel = (): void => {
      client.sendRequest(cancelRequest, { runId }).catch(() => {
        // A server that is gone has stopped its runs.
      });
    };
    if (token.isCancellationRequested) {
      cancel();
    }
    const listener = token.onCancellationRequested(cancel);
    await new Promise<void>((over) => {
      const waiting = [...items];
      const part: Part = { id: runId, run, waiting, first: items[0], targets: new Map(), open: 0, over };
      this.parts.set(runId, part);
      for (const event of this.early.get(runId) ?? []) {
        this.tell(part, event);
      }
      this.early.delete(runId);
      this.started();
    });
    listener.dispose();
  }

  /** A run's id has arrived; when none is on its way, nobody waits for an event any more. */
  private started(): void {
    this.starting -= 1;
    if (this.starting === 0) {
      this.early.clear();
    }
  }

  private tell(part: Part, event: RunEvent): void {
    if (event.event === 'queued') {
      this.enqueue(part, event);
      return;
    }
    const target = part.targets.get(event.index);
    if (target === undefined) {
      return;
    }
    const { item, key, lines, room } = target;
    // A guest's kernel may have had a hand in the text, and must have none in the terminal.
    const note = (text: string): void => {
      part.run.appendOutput(`\x1b[2m${forTerminal(forReading(text))}\x1b[0m\r\n`, undefined, item);
    };
    const phase = (name: string): void => {
      this.status.set(key, item.label, name);
    };
    switch (event.event) {
      case 'downloading':
        part.run.started(item);
        phase(downloading(event.received, event.total));
        break;
      case 'preparing':
        part.run.started(item);
        phase('preparing');
        break;
      case 'booting':
        phase(event.attempt > 1 ? 'booting again' : 'booting');
        break;
      case 'notice':
        note(event.message);
        this.channels.say(event.target, event.message);
        break;
      case 'console':
        this.channels.kernel(event.target, event.line);
        break;
      case 'booted': {
        const how = `${event.accelerator}, ${event.start}, ${event.share}`;
        note(`${item.label}: booted in ${event.seconds.toFixed(1)} s (${how})`);
        break;
      }
      case 'command_started':
        phase('running');
        break;
      case 'output': {
        const text = textOf(event);
        const shown = room.take(text);
        if (shown !== '') {
          part.run.appendOutput(forTerminal(shown), undefined, item);
        }
        lines.push(text);
        break;
      }
      case 'kernel_bug':
        note(`the kernel reported a bug: ${event.title}`);
        this.channels.say(event.target, `the kernel reported a bug: ${event.title}`);
        break;
      case 'finished':
        part.targets.delete(event.index);
        lines.end();
        this.status.clear(key);
        this.channels.say(
          event.target,
          `=> ${event.headline ?? 'passed'} (${event.durations.total_seconds.toFixed(1)} s)`,
        );
        void this.finish(part, target, event);
        break;
    }
  }

  /** All targets of a run are queued before anything else happens to one, in the order of the file. */
  private enqueue(part: Part, event: RunEvent): void {
    const place = part.waiting.findIndex((item) => this.targets.ref(item)?.name === event.target);
    // A name that is not among them any more: the text has changed meanwhile. It still has to end.
    const [item] = place < 0 ? [part.first] : part.waiting.splice(place, 1);
    if (item === undefined) {
      return;
    }
    const key = `${event.run_id} ${event.index}`;
    const room = new Room(mostOutput, '\n\x1b[2mthere is more; the log of the run has all of it\x1b[0m\n');
    part.targets.set(event.index, { item, key, lines: this.channels.lines(event.target), room });
    part.open += 1;
    part.run.enqueued(item);
    this.status.set(key, item.label, 'waiting');
  }

  private async finish(part: Part, { item }: Target, finished: Finished): Promise<void> {
    const seconds = finished.durations.total_seconds;
    let messages: vscode.TestMessage[] = [];
    switch (finished.verdict) {
      case 'passed':
        part.run.passed(item, seconds * 1000);
        break;
      case 'cancelled':
        part.run.skipped(item);
        break;
      case 'boot_failed':
      case 'lost':
        messages = await this.problems.messages(item, finished);
        part.run.errored(item, messages, seconds * 1000);
        break;
      case 'failed':
      case 'killed':
      case 'timed_out':
      case 'kernel_bug':
        messages = await this.problems.messages(item, finished);
        part.run.failed(item, messages, seconds * 1000);
        break;
    }
    this.ended.fire({ item, verdict: finished.verdict, seconds, messages });
    this.close(part, 1);
  }

  /** A target that no verdict was given on. */
  private fail(run: vscode.TestRun, item: vscode.TestItem, verdict: string, why: string): void {
    const messages = [new vscode.TestMessage(why)];
    run.errored(item, messages);
    this.ended.fire({ item, verdict, seconds: 0, messages });
  }

  /** So many targets are over; with the last of them, so is the part. */
  private close(part: Part, targets: number): void {
    part.open -= targets;
    if (part.open === 0) {
      this.parts.delete(part.id);
      part.over();
    }
  }
}

/** Whether a file belongs to the project of a vmtest.toml: the directory that the guest works in. */
function isBeside(file: vscode.Uri, config: vscode.Uri): boolean {
  const directory = config.path.slice(0, config.path.lastIndexOf('/') + 1);
  return (
    file.scheme === config.scheme && file.authority === config.authority && file.path.startsWith(directory)
  );
}

export async function askForTrust(): Promise<void> {
  const trust = 'Manage Workspace Trust';
  const answer = await vscode.window.showWarningMessage(
    'vmtest: a target runs commands of this workspace, so nothing runs before you trust it.',
    trust,
  );
  if (answer === trust) {
    await vscode.commands.executeCommand('workbench.trust.manage');
  }
}
