// Bundles src/ into committed files and writes the hash of their sources beside the first, which a test compares:
// everbeat_ui.min.js is what every page loads; everbeat_body.min.js (three.js), everbeat_timeline.min.js (uPlot) and
// everbeat_proof.min.js are modules that a page imports when it needs them (src/lazy.js).
// `node build.mjs` builds; `node build.mjs --hash` only prints the hash. Needs `npm ci` first.
import {createHash} from 'node:crypto';
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const BUNDLE = join(HERE, 'everbeat_ui.min.js');
const LAZY = {body: 'src/twin/index.js', timeline: 'src/timeline/index.js', proof: 'src/proof/index.js'};
const WORDS = join(HERE, '..', 'words');
const SOURCES = ['src', 'shim', 'build.mjs', 'package-lock.json', '../words'];

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
      .filter((entry) => entry.isFile() && (!path.startsWith('..') || entry.name.endsWith('.json')))
      .map((entry) => relative(HERE, join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'));
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path];
    throw error;
  }
}

/** web/words/LANGUAGE/*.json as one module: language -> key -> text. */
const wordsPlugin = {
  name: 'words',
  setup(build) {
    build.onResolve({filter: /^everbeat-words$/}, () => ({path: 'everbeat-words', namespace: 'words'}));
    build.onLoad({filter: /.*/, namespace: 'words'}, () => {
      const languages = readdirSync(WORDS, {withFileTypes: true}).filter((entry) => entry.isDirectory() && entry.name !== '__pycache__');
      const texts = Object.fromEntries(languages.map(({name}) => [name, Object.assign({}, ...readdirSync(join(WORDS, name)).sort()
        .filter((file) => file.endsWith('.json')).map((file) => JSON.parse(readFileSync(join(WORDS, name, file), 'utf8'))))]));
      return {contents: JSON.stringify(texts), loader: 'json'};
    });
  },
};

if (process.argv.includes('--hash')) {
  console.log(sourceHash());
} else {
  const {build} = await import('esbuild');
  const common = {
    bundle: true,
    minify: true,
    target: 'es2022',
    loader: {'.js': 'jsx'},
    alias: {react: join(HERE, 'shim/react.cjs'), 'prop-types': join(HERE, 'shim/prop-types.cjs')},
    plugins: [wordsPlugin],
    legalComments: 'inline',
    logLevel: 'warning',
    define: {'process.env.NODE_ENV': '"production"'},
  };
  await build({...common, entryPoints: [join(HERE, 'src/index.js')], outfile: BUNDLE, format: 'iife', globalName: 'everbeat_ui'});
  for (const [name, entry] of Object.entries(LAZY)) {
    await build({...common, entryPoints: [join(HERE, entry)], outfile: join(HERE, `everbeat_${name}.min.js`), format: 'esm'});
  }
  writeFileSync(`${BUNDLE}.sources.sha256`, `${sourceHash()}\n`);
}
