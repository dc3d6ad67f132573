// One story in the workbench, told in a browser: a folder that is not trusted, a lens, trust, a machine that runs, a failure
// on the line that the output names, the Test Explorer, the kernel's console and a shell.

import * as fs from 'node:fs';
import * as path from 'node:path';

import { errors, type Locator, type Page } from 'playwright-core';

import {
  Home,
  Serving,
  artefacts,
  browse,
  code,
  finish,
  onSignal,
  payload,
  remote,
  stable,
  target,
  vsix,
} from './machine.ts';

const settings = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.editor.enablePreview': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'chat.disableAIFeatures': true,
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'git.enabled': false,
  // Rows of a terminal are text then, and not a picture.
  'terminal.integrated.gpuAcceleration': 'off',
  'security.workspace.trust.startupPrompt': 'never',
  'security.workspace.trust.banner': 'never',
};

const home = new Home();
const kernel = 'kernels/6.1/boot/vmlinuz';
home.link('kernels/6.1', stable);
// A name that is none of what it looks like; whatever of it or of its target is executed leaves a mark.
const evil = [
  '[[target]]',
  'name = "evil $(bug) `touch mark` $(touch mark) [link](command:vmtest.stop)\\n**two**"',
  "kernel = './evil'",
  "qemu_command = './evil'",
  "command = 'touch mark'",
  '',
  '',
].join('\n');
home.write('evil', '#!/bin/sh\ntouch "${0%/*}/mark"\n');
fs.chmodSync(path.join(home.work, 'evil'), 0o755);
home.write(
  'vmtest.toml',
  evil +
    target('kernel', 'printf \'the guest runs \\033[32m%s\\033[0m\\n\' "$(uname -sr)"', kernel) +
    target(
      'build',
      [
        "echo 'make: entering the guest'",
        'cc -fdiagnostics-color=always -Werror -c src/main.c -o /dev/null || status=$?',
        'until test -e go; do sleep 0.1; done',
        'exit $status',
      ].join('\n'),
      kernel,
    ),
);
home.write('src/main.c', 'int main(void) {\n    attach();\n    return 0;\n}\n');
fs.writeFileSync(path.join(home.make('u', 'User'), 'settings.json'), JSON.stringify(settings));

const entry = path.join(code, 'out/node/entry.js');
const places = [
  ...['--config', path.join(home.dir, 'config.yaml')],
  ...['--user-data-dir', home.user, '--extensions-dir', home.extensions],
];
await finish(home, [entry, ...places, '--install-extension', vsix]);
const serving = await Serving.start(home, 'workbench', (port) => [
  entry,
  ...places,
  ...['--bind-addr', `127.0.0.1:${port}`, '--auth', 'none', '--disable-telemetry', '--disable-update-check'],
  ...['--disable-getting-started-override', '--disable-file-downloads', '--disable-proxy'],
]);
// The browser sees the end of the server, and then so do we.
const forget = onSignal(() => {
  serving.stop();
});
const browser = await browse(
  serving,
  () => Promise.resolve(),
  `folder=${home.work}&` + payload([['openFile', remote(serving, path.join(home.work, 'vmtest.toml'))]]),
);
const page = onlyPage();

function onlyPage(): Page {
  const [page] = browser.contexts().flatMap((context) => context.pages());
  if (page === undefined) {
    throw new Error('the browser has no page');
  }
  return page;
}

/** Spaces may be of the kind that does not break: patterns say \s. */
const lens = (title: string | RegExp): Locator =>
  page.locator('.codelens-decoration a').filter({ hasText: title });
/** Rows of any terminal: of the test results, or of a shell. */
const terminal = (text: RegExp): Locator => page.locator('.xterm-rows').filter({ hasText: text });
const status = (text: RegExp): Locator => page.locator('.statusbar-item').filter({ hasText: text });
const row = (text: RegExp): Locator =>
  page.locator('.markers-panel .monaco-list-row').filter({ hasText: text });

/**
 * Clicks the lens lowest on the screen, which belongs to the last of the two targets. The editor draws lenses anew whenever
 * the server says so: one that went away under the hand is looked for again.
 */
async function clickLowest(lenses: Locator): Promise<void> {
  for (;;) {
    await lenses.nth(1).waitFor();
    const all = await lenses.all();
    const heights = await Promise.all(all.map(async (one) => (await one.boundingBox())?.y ?? -1));
    const last = all[heights.indexOf(Math.max(...heights))];
    if (last !== undefined && !heights.includes(-1)) {
      try {
        await last.click({ timeout: 2_000 });
        return;
      } catch (error) {
        if (!(error instanceof errors.TimeoutError) || page.isClosed()) {
          throw error;
        }
      }
    }
  }
}

/** Runs a command of the palette. */
async function palette(command: string): Promise<void> {
  await page.keyboard.press('F1');
  const input = page.locator('.quick-input-widget input.input');
  await input.waitFor();
  await input.fill(`>${command}`);
  await page.locator('.quick-input-list .monaco-list-row').filter({ hasText: command }).first().click();
}

function noMark(): void {
  if (fs.existsSync(path.join(home.work, 'mark'))) {
    throw new Error('something of a name or of a target was executed');
  }
}

async function show(file: string): Promise<void> {
  await page.locator(`.tab[data-resource-name="${file}"]`).first().click();
}

/** A name is text there: no icon, no link, no letters in bold. */
async function expectText(row: Locator): Promise<void> {
  await row.waitFor();
  for (const other of ['.codicon-bug', 'a[href]', 'strong', 'code']) {
    if ((await row.locator(other).count()) > 0) {
      throw new Error(`${other} in ${await row.innerHTML()}`);
    }
  }
}

async function screenshot(name: string): Promise<void> {
  await page.screenshot({ path: path.join(artefacts, `${name}.png`) });
}

async function step(name: string, work: () => Promise<void>): Promise<void> {
  const since = Date.now();
  try {
    await work();
    console.log(`  ✔ ${name} (${Date.now() - since}ms)`);
  } catch (error) {
    console.log(`  ✖ ${name}; see workbench-failed.png`);
    await screenshot('workbench-failed');
    throw error;
  }
}

let failure: unknown;
try {
  // E2
  await step('a folder that is not trusted has lenses', async () => {
    await lens('Run in VM').nth(1).waitFor();
    await lens('Run all').waitFor();
    await lens('Shell').first().waitFor();
    noMark();
  });

  await step('it has colours where no other extension knows TOML', async () => {
    // Without them a line is one piece, but for its brackets.
    await page.waitForFunction(() => {
      const pieces = [...document.querySelectorAll('.view-line > span > span')];
      const [key, value] = ['name', "'kernel'"].map((text) =>
        pieces.filter((piece) => piece.textContent === text).map((piece) => getComputedStyle(piece).color),
      );
      return key?.[0] !== undefined && value?.[0] !== undefined && key[0] !== value[0];
    });
  });

  await step('a click there asks for trust, and trust is given', async () => {
    await clickLowest(lens('Run in VM'));
    const question = page
      .locator('.notification-toast')
      .filter({ hasText: 'nothing runs before you trust it' });
    await question.locator('.monaco-button').filter({ hasText: 'Manage Workspace Trust' }).click();
    const trust = page.locator('.workspace-trust-editor .workspace-trust-buttons a.monaco-button');
    await trust
      .filter({ hasText: /^Trust(?! Parent)/ })
      .first()
      .click();
    const granted = page.locator('.workspace-trust-editor.trusted');
    await granted.waitFor();
    // It lies over the editors, and keeps clicks from them.
    await page.locator('.monaco-modal-editor-block .codicon-close').last().click();
    await granted.waitFor({ state: 'hidden' });
  });

  await step('a click runs the target, and what the guest says is seen while it runs', async () => {
    await clickLowest(lens('Run in VM'));
    await terminal(/make:\sentering\sthe\sguest/)
      .first()
      .waitFor();
    await terminal(/main\.c:2:5:\serror:\simplicit\sdeclaration/)
      .first()
      .waitFor();
    await lens(/Stop\s\(running/).waitFor();
    await status(/vmtest\sbuild:\srunning/).waitFor();
    await screenshot('running');
  });

  await step('its end is seen on the lens, and the status bar is empty again', async () => {
    fs.writeFileSync(path.join(home.work, 'go'), '');
    await lens(/✗\sexit\s1/).waitFor();
    await status(/vmtest\sbuild/).waitFor({ state: 'hidden' });
  });

  await step('the problem leads to the line that the output named', async () => {
    await palette('Focus on Problems View');
    await row(/exit\scode:\s1/)
      .first()
      .waitFor();
    await row(/implicit\sdeclaration[^]*Ln\s2,/)
      .first()
      .dblclick();
    await page.locator('.tab.active[data-resource-name="main.c"]').waitFor();
    await page.locator('.squiggly-error').first().waitFor();
    await screenshot('failure');
  });

  await step('the palette runs a target, and the Test Explorer knows both', async () => {
    await palette('Focus on Test Explorer View');
    await palette('vmtest: Run Target in VM');
    const choices = page.locator('.quick-input-list .monaco-list-row');
    await expectText(choices.filter({ hasText: 'evil' }).first());
    await choices
      .filter({ hasText: /^kernel/ })
      .first()
      .click();
    await terminal(/the\sguest\sruns\sLinux/)
      .first()
      .waitFor();
    const explorer = page.locator('.test-explorer');
    const file = explorer.locator('.monaco-list-row').first();
    await file.waitFor();
    if ((await file.getAttribute('aria-expanded')) === 'false') {
      await file.locator('.monaco-tl-twistie').click();
    }
    await expectText(explorer.locator('.monaco-list-row').filter({ hasText: 'evil' }).first());
    await explorer.locator('.codicon-testing-passed-icon').first().waitFor();
    await explorer.locator('.codicon-testing-failed-icon').first().waitFor();
    await show('vmtest.toml');
    await lens(/✓/).waitFor();
    await screenshot('explorer');
  });

  await step('what a command printed is in a channel, without its colours', async () => {
    await palette('vmtest: Show Output of Runs');
    await page
      .locator('.output-view .view-line')
      .filter({ hasText: /^kernel\s\|\sthe\sguest\sruns\sLinux\s[\d.]/ })
      .first()
      .waitFor();
  });

  await step('the kernel has a channel of its own', async () => {
    await palette('vmtest: Show Kernel Console');
    await page
      .locator('.output-view .view-line')
      .filter({ hasText: /^kernel\s\|\s/ })
      .first()
      .waitFor();
  });

  await step('a shell opens in the machine', async () => {
    await clickLowest(lens('Shell'));
    const prompt = terminal(/[#$]\s*$/).last();
    await prompt.waitFor();
    await page.keyboard.type('echo the answer is $((6 * 7))\n');
    const answer = terminal(/the\sanswer\sis\s42/);
    await answer.waitFor();
    await page.keyboard.type('exit\n');
    await answer.waitFor({ state: 'hidden' });
    noMark();
  });
} catch (error) {
  failure = error;
}
await browser.close();
forget();
serving.stop();
const left = await home.left();
home.remove();
if (left.length > 0) {
  failure ??= new Error(`still there after the editor: ${left.join(', ')}`);
}
if (failure !== undefined) {
  console.error(failure);
  process.exit(1);
}
