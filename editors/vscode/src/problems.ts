// What the server says on a target that did not pass, as the messages of its test.

import * as vscode from 'vscode';

import type { Finished } from './protocol';

/** The language client converts diagnostics in its own time: those that the server sent before an event come after it. */
const patience = 2000;

/** Hears every list of diagnostics as the server sends it. */
export class Problems implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly latest = new Map<string, vscode.Diagnostic[]>();

  heard(uri: vscode.Uri, diagnostics: vscode.Diagnostic[]): void {
    if (diagnostics.length > 0) {
      this.latest.set(uri.toString(), diagnostics);
    } else {
      this.latest.delete(uri.toString());
    }
    this.changed.fire(uri);
  }

  /** The server is gone: what it said is no answer to what the next one runs. */
  forget(): void {
    this.latest.clear();
  }

  /** What to show on a target: the places that its output named, then the verdict. */
  async messages(item: vscode.TestItem, finished: Finished): Promise<vscode.TestMessage[]> {
    const diagnostic = await this.onHeader(item, finished.verdict.replace('_', '-'));
    if (diagnostic === undefined) {
      return [located(new vscode.TestMessage(finished.headline ?? ''), item)];
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
