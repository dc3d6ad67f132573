// The language server: which one, when it starts, and what it is told of trust.

import * as vscode from 'vscode';
import { DidChangeConfigurationNotification, State, TransportKind } from 'vscode-languageclient/node';
import type { LanguageClient, Middleware, StaticFeature } from 'vscode-languageclient/node';

import { Client } from './client';
import { findServer } from './lookup';
import type { Found } from './lookup';
import { didChangeTrust, runEvent } from './protocol';
import type { RunEvent } from './protocol';

export const fileName = 'vmtest.toml';

export class Server implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel('vmtest Language Server', { log: true });
  /** What was started, or would have been but for an error. */
  private found: Found | undefined;
  private client: Client | undefined;
  private first: Promise<void> | undefined;
  /** Starts and stops, one after the other. */
  private queue = Promise.resolve();

  private readonly started = new vscode.EventEmitter<void>();
  private readonly stopped = new vscode.EventEmitter<void>();
  private readonly heard = new vscode.EventEmitter<RunEvent>();
  /** The server answers from now on. */
  readonly onDidStart = this.started.event;
  /** The server is gone, and its runs with it. */
  readonly onDidStop = this.stopped.event;
  readonly onRunEvent = this.heard.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly middleware: Middleware,
  ) {}

  /** The client, once the server answers. */
  get running(): LanguageClient | undefined {
    return this.client?.state === State.Running ? this.client : undefined;
  }

  /** Starts the server, if nobody has. */
  start(): Promise<void> {
    this.first ??= this.enqueue(() => this.startNow());
    return this.first;
  }

  /** The program, also where no server is needed; the user hears why there is none. */
  async locate(): Promise<string | undefined> {
    const found = await this.find();
    if ('program' in found) {
      return found.program;
    }
    void this.offer(found.reason, found.isSetting);
    return undefined;
  }

  restart(): Promise<void> {
    this.first = this.enqueue(async () => {
      await this.stopNow();
      await this.startNow();
    });
    return this.first;
  }

  /** What it was started with has changed. One that was not needed yet is not started for that. */
  async refresh(): Promise<void> {
    if (this.first !== undefined) {
      await this.restart();
    }
  }

  /** What may change while the server runs. */
  async configure(): Promise<void> {
    await this.running?.sendNotification(DidChangeConfigurationNotification.type, {
      settings: { vmtest: changeable() },
    });
  }

  /** Trust was granted. The same server is told; where another one would be started now, it is. */
  trust(): Promise<void> {
    return this.enqueue(async () => {
      if (this.first === undefined) {
        return;
      }
      const found = await this.find();
      if ('program' in found && found.program === this.found?.program && this.running !== undefined) {
        await this.running.sendNotification(didChangeTrust, { trusted: true });
      } else {
        await this.stopNow();
        await this.startNow();
      }
    });
  }

  /** When all that was begun is done: a start, or the news of trust. */
  settled(): Promise<void> {
    return this.queue;
  }

  /** Waits for the server to be gone; the editor gives an extension a few seconds for it. */
  stop(): Promise<void> {
    return this.enqueue(() => this.stopNow());
  }

  dispose(): void {
    for (const part of [this.started, this.stopped, this.heard, this.log]) {
      part.dispose();
    }
  }

  private enqueue(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work).catch((error: unknown) => {
      // What the user needs to know was said; here it is kept.
      this.log.error(String(error));
    });
    return this.queue;
  }

  private find(): ReturnType<typeof findServer> {
    // The editor does not hold settings to their types.
    const setting = settings().get<unknown>('server.path') ?? '';
    return findServer({
      setting: typeof setting === 'string' ? setting.trim() : JSON.stringify(setting),
      bundled: this.context.asAbsolutePath('server/vmtest'),
      path: process.env.PATH ?? '',
      trusted: vscode.workspace.isTrusted,
    });
  }

  private async startNow(): Promise<void> {
    const found = await this.find();
    this.found = 'program' in found ? found : undefined;
    await vscode.commands.executeCommand('setContext', 'vmtest.hasServer', this.found !== undefined);
    if ('reason' in found) {
      this.log.error(found.reason);
      void this.offer(found.reason, found.isSetting);
      return;
    }
    this.log.info(`starting ${found.program} (${found.origin})`);
    const client = new Client(
      'vmtest',
      'vmtest Language Server',
      { command: found.program, args: ['lsp'], transport: TransportKind.stdio },
      {
        // By name alone: whatever language another extension makes of it.
        documentSelector: [{ scheme: 'file', pattern: `**/${fileName}` }],
        outputChannel: this.log,
        middleware: this.middleware,
        // Without a question to the user whether to try again.
        initializationFailedHandler: () => false,
        // Asked again when the client starts a server that crashed: trust may have been granted since.
        initializationOptions: () => ({
          trusted: vscode.workspace.isTrusted,
          ...changeable(),
        }),
      },
    );
    client.registerFeature(announcement);
    client.onNotification(runEvent, (event) => {
      this.heard.fire(event);
    });
    client.onDidChangeState(({ oldState, newState }) => {
      if (newState === State.Running) {
        this.started.fire();
      } else if (oldState === State.Running) {
        this.stopped.fire();
      }
      // A client that starts a server again does so at once.
      queueMicrotask(() => {
        this.check(client);
      });
    });
    this.client = client;
    await client.start();
  }

  /** The user hears of a server that is gone, and is not started again, without having been asked to go. */
  private check(client: Client): void {
    if (client === this.client && [State.Stopped, State.StartFailed].includes(client.state)) {
      this.client = undefined;
      void this.complain();
    }
  }

  private async complain(): Promise<void> {
    const [showLog, tryAgain] = ['Show Log', 'Try Again'];
    const reason = 'vmtest: The language server ended by itself; the reason is in its log.';
    const answer = await vscode.window.showErrorMessage(reason, showLog, tryAgain);
    if (answer === showLog) {
      this.log.show(true);
    } else if (answer === tryAgain) {
      await this.restart();
    }
  }

  private async stopNow(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    try {
      await client?.dispose();
    } catch (error) {
      // One that does not answer is killed; the next one starts all the same.
      this.log.warn(String(error));
    }
  }

  private async offer(reason: string, isSetting: boolean): Promise<void> {
    if (!vscode.workspace.isTrusted) {
      const trust = 'Manage Workspace Trust';
      if ((await vscode.window.showWarningMessage(`vmtest: ${reason}`, trust)) === trust) {
        await vscode.commands.executeCommand('workbench.trust.manage');
      }
      return;
    }
    const [openSetting, tryAgain] = ['Open Setting', 'Try Again'];
    const cure = isSetting
      ? ''
      : ' Build it in its source with `cargo install --path server/cli`, or say where it is.';
    const answer = await vscode.window.showErrorMessage(`vmtest: ${reason}${cure}`, openSetting, tryAgain);
    if (answer === openSetting) {
      await vscode.commands.executeCommand('workbench.action.openSettings', 'vmtest.server.path');
    } else if (answer === tryAgain) {
      await this.restart();
    }
  }
}

function settings(): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration('vmtest');
}

/** As they were written; the server says what is wrong with them. */
function changeable(): Record<string, unknown> {
  const names = ['jobs', 'warmSnapshots'];
  return Object.fromEntries(names.map((name) => [name, settings().get<unknown>(name, null)]));
}

/** Says that we show runs and open shells ourselves. */
const announcement: StaticFeature = {
  fillClientCapabilities(capabilities) {
    const other = capabilities.experimental as Record<string, unknown> | undefined;
    capabilities.experimental = { ...other, vmtest: { runEvents: true, shell: true } };
  },
  initialize() {
    // Nothing depends on what the server offers.
  },
  getState: () => ({ kind: 'static' }),
  clear() {
    // Nothing is held.
  },
};
