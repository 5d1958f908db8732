// Bundles src/ into everbeat_ui.min.js and writes the hash of its sources beside it, which a test compares.
// `node build.mjs` builds; `node build.mjs --hash` only prints the hash. Needs `npm ci` first.
import {createHash} from 'node:crypto';
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const BUNDLE = join(HERE, 'everbeat_ui.min.js');
const SOURCES = ['src', 'shim', 'build.mjs', 'package-lock.json'];

/** SHA-256 over every source file's relative path and bytes, in order of path. */
function sourceHash() {
  const hash = createHash('sha256');
  for (const file of SOURCES.flatMap(walk).sort()) {
    hash.update(`${file}\n`).update(readFileSync(join(HERE, file))).update('\n');
  }
  return hash.digest('hex');
}

function walk(path) {
  const full = join(HERE, path);
  try {
    return readdirSync(full, {withFileTypes: true, recursive: true})
      .filter((entry) => entry.isFile())
      .map((entry) => relative(HERE, join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'));
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path];
    throw error;
  }
}

if (process.argv.includes('--hash')) {
  console.log(sourceHash());
} else {
  const {build} = await import('esbuild');
  await build({
    entryPoints: [join(HERE, 'src/index.js')],
    outfile: BUNDLE,
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'everbeat_ui',
    target: 'es2022',
    loader: {'.js': 'jsx'},
    alias: {react: join(HERE, 'shim/react.cjs'), 'prop-types': join(HERE, 'shim/prop-types.cjs')},
    legalComments: 'inline',
    logLevel: 'warning',
    define: {'process.env.NODE_ENV': '"production"'},
  });
  writeFileSync(`${BUNDLE}.sources.sha256`, `${sourceHash()}\n`);
}
