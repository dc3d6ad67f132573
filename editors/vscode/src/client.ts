// The language client, and what it does about a server that ends.

import { CloseAction, ErrorAction, LanguageClient, State } from 'vscode-languageclient/node';
import type { ErrorHandler } from 'vscode-languageclient/node';

export class Client extends LanguageClient {
  override createDefaultErrorHandler(): ErrorHandler {
    const usual = super.createDefaultErrorHandler();
    return {
      // A pipe that breaks is closed as well, and only then is a server started again.
      error: (error, message, count) =>
        'code' in error ? { action: ErrorAction.Continue } : usual.error(error, message, count),
      // One that never came up would not do so the next time either.
      closed: () => (this.state === State.Running ? usual.closed() : { action: CloseAction.DoNotRestart }),
    };
  }

  /**
   * For the log alone: to the library one crash is many errors, each with a message. We say ourselves when a server is
   * gone, and the editor says what became of a command.
   */
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}
