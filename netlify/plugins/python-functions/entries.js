'use strict'

// The Node entries that stand for the Python functions. Netlify knows nothing about Python: for each NAME.py it gets one
// small file, in the folder that both `netlify dev` and `netlify build` read for generated functions.

const fs = require('node:fs')
const path = require('node:path')

const FOLDER = '.netlify/v1/functions'
const WRITTEN_BY_US = '// Written by the python-functions plugin for '

/**
 * For `netlify dev`: everything is passed to the supervisor. In Netlify's older form of a function, which the CLI calls
 * directly; for the other it starts a thread and loads half of itself again, for each request.
 */
function devEntry(name, site) {
  return [
    `const { forward } = require(${relative(site.root, path.join(__dirname, 'dev/forward.js'))})`,
    `exports.handler = forward(${JSON.stringify(name)}, ${JSON.stringify(site)})`,
  ]
}

/**
 * For a deploy: the entry owns one Python process, bundled in the same zip. In Netlify's modern form, see runtime/modern.js.
 * Not with `import`: the bundler would put what it finds into one file, and these look for others beside them.
 */
function deployedEntry(name, { handler, timeoutMs, cors }, { root, variables, sitePath, pythonPath, packagesPath }) {
  const here = (file) => relative(root, path.resolve(root, file))
  return [
    `import { createRequire } from 'node:module'`,
    `import path from 'node:path'`,
    '',
    `const load = createRequire(import.meta.url)`,
    `const { deployed } = load(${here(path.join(__dirname, 'runtime/deployed.js'))})`,
    `const here = (file) => path.join(import.meta.dirname, file)`,
    `export default deployed({`,
    `  name: ${JSON.stringify(name)},`,
    `  handler: ${JSON.stringify(handler)},`,
    `  root: here(${here(sitePath)}),`,
    `  python: here(${here(pythonPath)}),`,
    `  packages: here(${here(packagesPath)}),`,
    `  timeoutMs: ${timeoutMs},`,
    `  commit: ${JSON.stringify(process.env.COMMIT_REF ?? null)},`,
    `  variables: ${JSON.stringify(variables)},`,
    `  context: ${JSON.stringify(process.env.CONTEXT ?? 'unknown')},`,
    `  cors: ${JSON.stringify(cors)},`,
    `})`,
  ]
}

/** A file, as an entry names it. */
function relative(root, file) {
  return JSON.stringify(path.relative(path.join(root, FOLDER), file).split(path.sep).join('/'))
}

/**
 * Writes the entries and removes those of functions that are gone. Files are written over, never removed first: a
 * `netlify dev` that runs in the same folder would forget the functions. And what is right already is left alone: it
 * would load one that is being written, and find no handler in it.
 * @param {string} root
 * @param {'.cjs' | '.mjs'} kind
 * @param {Record<string, string[]>} entries lines of code by function name
 */
function writeEntries(root, kind, entries) {
  const folder = path.join(root, FOLDER)
  fs.mkdirSync(folder, { recursive: true })
  for (const [name, lines] of Object.entries(entries)) {
    const text = [`${WRITTEN_BY_US}${name}.py, at every start and build.`, ...lines, ''].join('\n')
    const file = path.join(folder, name + kind)
    if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) fs.writeFileSync(file, text)
  }
  for (const file of fs.readdirSync(folder)) {
    const { name, ext } = path.parse(file)
    if (!['.cjs', '.mjs'].includes(ext) || (ext === kind && name in entries)) continue
    const entry = path.join(folder, file)
    if (fs.readFileSync(entry, 'utf8').startsWith(WRITTEN_BY_US)) fs.rmSync(entry)
  }
}

module.exports = { deployedEntry, devEntry, writeEntries }
