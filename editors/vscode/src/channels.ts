// What guests say, kept where it can be searched: commands in one output channel, kernels in another.

import * as vscode from 'vscode';

import { Lines, forReading } from './text';

export class Channels implements vscode.Disposable {
  readonly output = vscode.window.createOutputChannel('vmtest Output');
  readonly console = vscode.window.createOutputChannel('vmtest Kernel Console');

  /** Lines of a command; targets may run at once, so each line says whose it is. */
  lines(target: string): Lines {
    return new Lines((lines) => {
      this.say(target, ...lines);
    });
  }

  /** Many lines at once: each call is a message to another process. */
  say(target: string, ...lines: string[]): void {
    const name = forReading(target);
    this.output.append(lines.map((line) => `${name} | ${forReading(line)}\n`).join(''));
  }

  kernel(target: string, line: string): void {
    this.console.appendLine(`${forReading(target)} | ${forReading(line)}`);
  }

  dispose(): void {
    this.output.dispose();
    this.console.dispose();
  }
}
