// Bytes and lines of a guest, for a terminal and for an output channel.

/** What a terminal needs: a line feed alone would not return to the margin. */
export function forTerminal(text: string): string {
  return text.replace(/\r?\n/g, '\r\n');
}

/** A line for people to read: no colours, no titles, no cursor movements, and what was left of a progress bar. */
export function forReading(line: string): string {
  // eslint-disable-next-line no-control-regex
  const plain = line.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g, '');
  // eslint-disable-next-line no-control-regex
  return (plain.trimEnd().split('\r').pop() ?? '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
}

/** For a label in which the editor would draw an icon for `$(…)`: a name is text. */
export function forLabel(name: string): string {
  return name.replace(/\$\(/g, '$ (');
}

/** How far a download is, in a few words. */
export function downloading(received: number, total: number | null): string {
  const how = total ? `${Math.floor((received / total) * 100)} %` : `${(received / 1e6).toFixed(1)} MB`;
  return `downloading, ${how}`;
}

/** Puts pieces together to lines. */
export class Lines {
  private rest = '';

  constructor(private readonly write: (lines: string[]) => void) {}

  push(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    // A line without an end must not grow without one.
    if (this.rest.length > longest) {
      lines.push(this.rest);
      this.rest = '';
    }
    if (lines.length > 0) {
      this.write(lines);
    }
  }

  end(): void {
    if (this.rest !== '') {
      this.write([this.rest]);
      this.rest = '';
    }
  }
}

const longest = 64 << 10;

/** Lets text through up to a length, and says once that there was more: for a place that keeps in memory what it gets. */
export class Room {
  constructor(
    private left: number,
    private readonly more: string,
  ) {}

  take(text: string): string {
    if (this.left <= 0) {
      return '';
    }
    this.left -= text.length;
    return this.left > 0 ? text : text + this.more;
  }
}

/** The text of `output` events, whose bytes may be no UTF-8. */
export function textOf(output: { text?: string; base64?: string }): string {
  return output.text ?? Buffer.from(output.base64 ?? '', 'base64').toString();
}
