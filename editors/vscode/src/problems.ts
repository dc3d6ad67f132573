// What the server says on a target that did not pass, as the messages of its test.

import * as vscode from 'vscode';

import type { Verdict } from './protocol';

/** Diagnostics go another way than events, and may arrive after the end of the run that they are about. */
const patience = 2000;

/** Hears every list of diagnostics as the server sends it. */
export class Problems implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly latest = new Map<string, vscode.Diagnostic[]>();

  heard(uri: vscode.Uri, diagnostics: vscode.Diagnostic[]): void {
    this.latest.set(uri.toString(), diagnostics);
    this.changed.fire(uri);
  }

  /** What to show on a target: the places that its output named, then the verdict. */
  async messages(item: vscode.TestItem, verdict: Verdict): Promise<vscode.TestMessage[]> {
    const diagnostic = await this.onHeader(item, verdict.verdict.replace('_', '-'));
    if (diagnostic === undefined) {
      return [located(new vscode.TestMessage(sentence(verdict)), item)];
    }
    // One without extent is no place in a source but a whole file: the log.
    const places = (diagnostic.relatedInformation ?? []).filter(({ location }) => !location.range.isEmpty);
    const messages = places.map(({ message, location }) => {
      const shown = new vscode.TestMessage(message);
      shown.location = location;
      return shown;
    });
    return [...messages, located(new vscode.TestMessage(diagnostic.message), item)];
  }

  dispose(): void {
    this.changed.dispose();
  }

  /** The diagnostic that says how the target ended; none when the text has changed too much to have one. */
  private onHeader(item: vscode.TestItem, code: string): Promise<vscode.Diagnostic | undefined> {
    const find = (): vscode.Diagnostic | undefined =>
      this.latest
        .get(item.uri?.toString() ?? '')
        ?.find((one) => one.code === code && one.range.start.line === item.range?.start.line);
    const known = find();
    if (known !== undefined) {
      return Promise.resolve(known);
    }
    return new Promise((resolve) => {
      const done = (found?: vscode.Diagnostic): void => {
        clearTimeout(timer);
        listener.dispose();
        resolve(found);
      };
      const timer = setTimeout(done, patience);
      const listener = this.changed.event(() => {
        const found = find();
        if (found !== undefined) {
          done(found);
        }
      });
    });
  }
}

function located(message: vscode.TestMessage, item: vscode.TestItem): vscode.TestMessage {
  if (item.uri !== undefined && item.range !== undefined) {
    message.location = new vscode.Location(item.uri, item.range);
  }
  return message;
}

/** A verdict in a few words, for where the server's own are not to be had. */
export function sentence(verdict: Verdict): string {
  switch (verdict.verdict) {
    case 'passed':
      return 'passed';
    case 'cancelled':
      return 'stopped';
    case 'failed':
      return `exit ${verdict.exit_code}`;
    case 'killed':
      return `killed by signal ${verdict.signal}`;
    case 'timed_out':
      return `timed out after ${verdict.limit_seconds} s`;
    case 'kernel_bug':
      return `kernel bug: ${verdict.title}`;
    case 'boot_failed':
      return `boot failed: ${verdict.reason}`;
    case 'lost':
      return `machine lost: ${verdict.reason}`;
  }
}
