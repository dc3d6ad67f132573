// One entry in the status bar, while something runs and not longer.

import * as vscode from 'vscode';

import { forLabel } from './text';

/** What targets are doing, by a key of theirs. */
export class Status implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem('vmtest', vscode.StatusBarAlignment.Left, 10);
  private isShown = false;
  private readonly phases = new Map<string, { target: string; phase: string }>();

  constructor() {
    this.item.name = 'vmtest';
    this.item.command = 'vmtest.showOutput';
  }

  set(key: string, target: string, phase: string): void {
    this.phases.set(key, { target, phase });
    this.draw();
  }

  clear(key: string): void {
    this.phases.delete(key);
    this.draw();
  }

  dispose(): void {
    this.item.dispose();
  }

  private draw(): void {
    const all = [...this.phases.values()];
    const [first] = all;
    if (this.isShown !== (first !== undefined)) {
      this.isShown = first !== undefined;
      void vscode.commands.executeCommand('setContext', 'vmtest.isRunning', this.isShown);
    }
    if (first === undefined) {
      this.item.hide();
      return;
    }
    const text = all.length === 1 ? `${first.target}: ${first.phase}` : `${all.length} targets`;
    this.item.text = `$(loading~spin) vmtest ${forLabel(text)}`;
    this.item.tooltip = [
      ...all.map(({ target, phase }) => `${target}: ${phase}`),
      '',
      'Click for the output.',
    ].join('\n');
    this.item.show();
  }
}
