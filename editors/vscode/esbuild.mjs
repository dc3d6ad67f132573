// Bundles the extension into one file, so that the package needs no node_modules, and collects the licences of what is
// in it.
import * as fs from 'node:fs';

import * as esbuild from 'esbuild';

const options = {
  entryPoints: ['src/extension.ts'],
  outfile: 'out/extension.js',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // The editor's own module; it is no package.
  external: ['vscode'],
  minify: process.argv.includes('--production'),
  sourcemap: !process.argv.includes('--production'),
  metafile: true,
  logLevel: 'warning',
};

/** The licence of every package that a file of the bundle is from. */
function notices(inputs) {
  const name = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//;
  const directories = new Set(inputs.map((input) => name.exec(input)?.[0]).filter(Boolean));
  return [...directories].sort().map((directory) => {
    const { name, version, license } = JSON.parse(fs.readFileSync(`${directory}package.json`, 'utf8'));
    const file = fs.readdirSync(directory).find((file) => /^licen[cs]e/i.test(file));
    const text = file === undefined ? '' : fs.readFileSync(directory + file, 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
}

if (process.argv.includes('--watch')) {
  const context = await esbuild.context(options);
  await context.watch();
} else {
  const { metafile } = await esbuild.build(options);
  fs.writeFileSync('out/NOTICES.txt', notices(Object.keys(metafile.inputs)).join('\n---\n\n'));
}
