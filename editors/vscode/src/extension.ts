// What is there, and how it hangs together. The server knows vmtest.toml; here is only what an editor must do itself.

import * as vscode from 'vscode';
import type { LanguageClient, Middleware } from 'vscode-languageclient/node';

import { Channels } from './channels';
import { newFile, pickTarget } from './pick';
import { Problems } from './problems';
import { serverCommand, shellCommand } from './protocol';
import type { TargetArgument } from './protocol';
import { Runs, askForTrust } from './runs';
import type { Ended } from './runs';
import { Server } from './server';
import { openDoctor, openShell } from './shell';
import { Status } from './status';
import { Targets } from './targets';

/** For other extensions, and for tests. */
export interface Api {
  /** The language client, while its server answers. */
  readonly client: LanguageClient | undefined;
  readonly controller: vscode.TestController;
  /** Runs targets, also whenever a file is saved. */
  readonly profile: vscode.TestRunProfile;
  readonly onDidStartServer: vscode.Event<void>;
  /** A target of a run is over. */
  readonly onDidEndTarget: vscode.Event<Ended>;
}

let server: Server | undefined;

export function activate(context: vscode.ExtensionContext): Api {
  const problems = new Problems();
  const channels = new Channels();
  const status = new Status();

  const middleware: Middleware = {
    // A lens runs what the Test Explorer runs, so that both show it.
    executeCommand: async (command, args, next): Promise<unknown> => {
      const [argument] = args as [TargetArgument | undefined];
      if (command === serverCommand.run && argument !== undefined) {
        const item = await targets.find(argument);
        return item === undefined ? next(command, args) : runs.start([item]);
      }
      if (command === serverCommand.runAll && argument !== undefined) {
        const uri = vscode.Uri.parse(argument.uri);
        await targets.refresh(uri);
        const file = targets.file(uri);
        return file === undefined ? next(command, args) : runs.start([file]);
      }
      return next(command, args);
    },
    handleDiagnostics: (uri, diagnostics, next) => {
      next(uri, diagnostics);
      problems.heard(uri, diagnostics);
    },
  };

  const current = new Server(context, middleware);
  server = current;
  const client = (): LanguageClient | undefined => current.running;
  const targets = new Targets(client);
  const runs = new Runs(targets, current, channels, problems, status);

  const shell = async (target: TargetArgument | undefined): Promise<void> => {
    if (!vscode.workspace.isTrusted) {
      await askForTrust();
      return;
    }
    const program = target === undefined ? undefined : await current.locate();
    if (target !== undefined && program !== undefined) {
      await openShell(program, target);
    }
  };
  const argument = (item: vscode.TestItem | undefined): TargetArgument | undefined => {
    const ref = item === undefined ? undefined : targets.ref(item);
    return ref === undefined || item?.uri === undefined ? undefined : { uri: item.uri.toString(), ...ref };
  };
  const command = (id: string, run: (...args: never[]) => unknown): vscode.Disposable =>
    vscode.commands.registerCommand(id, run);

  context.subscriptions.push(
    problems,
    channels,
    status,
    runs,
    targets,
    current,
    current.onRunEvent((event) => {
      runs.heard(event);
    }),
    current.onDidStart(() => targets.discover()),
    targets.onDidAppear(() => current.start()),
    current.onDidStop(() => {
      runs.abandon();
      problems.forget();
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => current.trust()),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration('vmtest.server')) {
        void restartWhenIdle(current, runs);
      }
      if (['vmtest.jobs', 'vmtest.warmSnapshots'].some((name) => change.affectsConfiguration(name))) {
        void current.configure();
      }
    }),
    command('vmtest.run', async () => {
      const items = await pickTarget(targets, 'Run in VM', (item) => targets.canRun(item));
      if (items !== undefined) {
        await runs.start(items);
      }
    }),
    command('vmtest.runAll', async () => {
      await current.settled();
      await targets.discover();
      await runs.start();
    }),
    command('vmtest.stop', () => {
      runs.stop();
    }),
    command(shellCommand, shell),
    command('vmtest.openShell', async (item?: vscode.TestItem) => {
      const [picked] =
        item === undefined ? ((await pickTarget(targets, 'Open a shell in', () => true)) ?? []) : [item];
      await shell(argument(picked));
    }),
    command('vmtest.newFile', () => newFile(() => current.start())),
    command('vmtest.doctor', async () => {
      const program = await current.locate();
      if (program !== undefined) {
        openDoctor(program);
      }
    }),
    command('vmtest.showOutput', () => {
      channels.output.show(true);
    }),
    command('vmtest.showConsole', () => {
      channels.console.show(true);
    }),
    command('vmtest.showServerLog', () => {
      current.log.show(true);
    }),
    command('vmtest.restartServer', () => current.restart()),
  );
  // A TOML file alone is no reason for a server, nor for complaints that there is none.
  void targets.files().then((files) => (files.size > 0 ? current.start() : undefined));
  return {
    get client() {
      return client();
    },
    controller: targets.controller,
    profile: runs.profile,
    onDidStartServer: current.onDidStart,
    onDidEndTarget: runs.onDidEnd,
  };
}

export async function deactivate(): Promise<void> {
  await server?.stop();
}

/** Another server may be meant; machines that run are not taken down without asking. */
async function restartWhenIdle(current: Server, runs: Runs): Promise<void> {
  if (runs.isBusy) {
    const stop = 'Stop Them and Restart';
    const answer = await vscode.window.showInformationMessage(
      'vmtest: targets are running; the setting counts when the server starts again.',
      stop,
    );
    if (answer !== stop) {
      return;
    }
  }
  await current.refresh();
}
