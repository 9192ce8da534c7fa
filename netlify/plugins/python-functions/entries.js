'use strict'

// The Node entries that stand for the Python functions. Netlify knows nothing about Python: for each NAME.py it gets one
// small NAME.cjs, in the folder that both `netlify dev` and `netlify build` read for generated functions.

const fs = require('node:fs')
const path = require('node:path')

const FOLDER = '.netlify/v1/functions'
const WRITTEN_BY_US = '// Written by the python-functions plugin for '

/** For `netlify dev`: everything is passed to the supervisor. */
function devEntry(name, site) {
  return [
    `const { forward } = require(${requirable(site.root, 'dev/forward.js')})`,
    `exports.handler = forward(${JSON.stringify(name)}, ${JSON.stringify(site)})`,
  ]
}

/** For a deploy: the entry owns one Python process, bundled in the same zip. */
function deployedEntry(name, { handler, timeoutMs, cors }, { root, sitePath, pythonPath, packagesPath }) {
  const up = path.relative(FOLDER, '.')
  return [
    `const path = require('node:path')`,
    `const { deployed } = require(${requirable(root, 'runtime/deployed.js')})`,
    `exports.handler = deployed({`,
    `  name: ${JSON.stringify(name)},`,
    `  handler: ${JSON.stringify(handler)},`,
    `  root: path.join(__dirname, ${JSON.stringify(path.join(up, sitePath))}),`,
    `  python: path.join(__dirname, ${JSON.stringify(path.join(up, pythonPath))}),`,
    `  packages: path.join(__dirname, ${JSON.stringify(path.join(up, packagesPath))}),`,
    `  timeoutMs: ${timeoutMs},`,
    `  commit: ${JSON.stringify(process.env.COMMIT_REF ?? null)},`,
    `  cors: ${JSON.stringify(cors)},`,
    `})`,
  ]
}

/** A file of this plugin, as an entry requires it: relative, so that it is traced into the zip and found there. */
function requirable(root, file) {
  const relative = path.relative(path.join(root, FOLDER), path.join(__dirname, file))
  return JSON.stringify(relative.split(path.sep).join('/'))
}

/**
 * Writes the entries and removes those of functions that are gone. Files are written over, never removed first: a
 * `netlify dev` that runs in the same folder would forget the functions. And what is right already is left alone: it
 * would load one that is being written, and find no handler in it.
 * @param {string} root
 * @param {Record<string, string[]>} entries lines of code by function name
 */
function writeEntries(root, entries) {
  const folder = path.join(root, FOLDER)
  fs.mkdirSync(folder, { recursive: true })
  for (const [name, lines] of Object.entries(entries)) {
    const text = [`${WRITTEN_BY_US}${name}.py, at every start and build.`, `'use strict'`, '', ...lines, ''].join('\n')
    const file = path.join(folder, `${name}.cjs`)
    if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text) fs.writeFileSync(file, text)
  }
  for (const file of fs.readdirSync(folder)) {
    const { name, ext } = path.parse(file)
    if (ext !== '.cjs' || name in entries) continue
    const entry = path.join(folder, file)
    if (fs.readFileSync(entry, 'utf8').startsWith(WRITTEN_BY_US)) fs.rmSync(entry)
  }
}

module.exports = { deployedEntry, devEntry, writeEntries }
