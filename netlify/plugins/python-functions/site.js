'use strict'

// What is known about a site: its Python functions, its interpreter, the plugin's inputs made definite.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

// Everything this plugin writes, besides the entries, below the site's root.
const STATE = '.netlify/python-functions'

/** An error whose message is for the developer: a sentence that says what to do. */
class SiteError extends Error {}

/**
 * @returns {{root: string, functionsFolder: string,
 *   functions: Record<string, {handler: string, timeoutMs: number, cors: object | null}>,
 *   include: string[], watch: string[], requirements: string, maxWorkers: number, addresses: string[]}}
 */
function describeSite(inputs, constants, root = process.cwd()) {
  const functionsFolder = path.relative(root, path.resolve(root, constants.FUNCTIONS_SRC ?? 'netlify/functions'))
  const include = inputs.include ?? []
  return {
    root,
    functionsFolder,
    functions: findFunctions(root, functionsFolder, inputs),
    include,
    watch: [...new Set([functionsFolder, ...include.map(fixedPart).filter(Boolean)])],
    requirements: inputs.requirements,
    maxWorkers: inputs.max_workers,
    addresses: inputs.addresses ?? [],
  }
}

/** Every NAME.py of the functions folder is a function, unless its name begins with `_`. */
function findFunctions(root, folder, inputs) {
  const parts = folder.split(path.sep)
  if (parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) {
    throw new SiteError(`The functions folder ${folder} cannot be imported: choose one inside the site without dots in its name.`)
  }
  const names = fs.existsSync(path.join(root, folder)) ? fs.readdirSync(path.join(root, folder)) : []
  const python = names.filter((name) => name.endsWith('.py') && !name.startsWith('_')).map((name) => name.slice(0, -3))
  if (python.length === 0) {
    throw new SiteError(
      `There is no Python function in ${folder}: put NAME.py there, or name another folder as \`functions\` below [build] in netlify.toml.`,
    )
  }
  const functions = {}
  for (const name of python.sort()) {
    if (!/^[A-Za-z0-9_-]+$/.test(name)) {
      throw new SiteError(`${folder}/${name}.py: a function's name consists of letters, digits, hyphens and underscores.`)
    }
    const other = names.find((file) => /\.([cm]?[jt]s|go)$/.test(file) && path.parse(file).name === name)
    if (other) throw new SiteError(`${folder}/${name}.py and ${folder}/${other} would be the same function: rename one.`)
    const seconds = Number(inputs.timeouts?.[name] ?? inputs.timeout_seconds)
    if (!(seconds > 0)) throw new SiteError(`The time limit of the function ${name} must be a number of seconds.`)
    const module = [...parts, name].join('.')
    functions[name] = { handler: `${module}.handler`, timeoutMs: seconds * 1000, cors: corsOf(name, inputs.cors) }
  }
  const stranger = (inputs.cors?.functions ?? []).find((name) => !(name in functions))
  if (stranger !== undefined) throw new SiteError(`cors names the function ${stranger}, which is not there.`)
  return functions
}

/** What cors.js has to know of a function; null: it has no CORS. */
function corsOf(name, { functions = [], origins = [], headers = [] } = {}) {
  return functions.includes(name) ? { origins, headers } : null
}

/** The leading folders of a glob that have no pattern in them. */
function fixedPart(glob) {
  const parts = glob.split('/')
  const firstPattern = parts.findIndex((part) => /[*?[{!]/.test(part))
  return (firstPattern === -1 ? parts.slice(0, -1) : parts.slice(0, firstPattern)).join('/')
}

/** The interpreter to work with here: the one asked for, else the project's own, else the newest on PATH. */
function findPython(root) {
  const asked = process.env.PYTHON_FUNCTIONS_PYTHON
  if (asked) {
    const python = asked.includes('/') ? path.resolve(root, asked) : asked
    if (!runs(python)) throw new SiteError(`There is no Python 3.11 or later at ${asked}.`)
    return python
  }
  // A build image has several; the one that runtime.txt names is the one with the requirements.
  const wanted = wantedVersion(root)
  const candidates = [path.join(root, '.venv/bin/python'), ...(wanted ? [`python${wanted}`] : []), 'python3']
  for (const minor of [14, 13, 12, 11]) candidates.push(`python3.${minor}`)
  const found = candidates.find(runs)
  if (!found) throw new SiteError('No Python 3.11 or later was found: install one, or create .venv with it.')
  return found
}

/** The version to deploy, as in "3.13", where the site says one. */
function wantedVersion(root) {
  const file = path.join(root, 'runtime.txt')
  if (!fs.existsSync(file)) return null
  const text = fs.readFileSync(file, 'utf8').trim()
  const [, version, minor] = /^(?:python-)?(3\.(\d+))(?:\.\d+)?$/.exec(text) ?? []
  if (!(minor >= 11)) throw new SiteError(`"${text}" is no Python to deploy: runtime.txt must say 3.11 or later, as in "3.13".`)
  return version
}

function runs(python) {
  try {
    execFileSync(python, ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))'], { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/** Says so where the interpreter could not run a function at all. */
function checkPython(python) {
  try {
    execFileSync(python, ['-c', 'import awslambdaric'], { stdio: 'pipe', timeout: 30_000 })
  } catch (error) {
    const last = String(error.stderr ?? error.message).trim().split('\n').pop()
    throw new SiteError(`${python} cannot import awslambdaric (${last}): install the site's requirements into it.`)
  }
}

module.exports = { STATE, SiteError, checkPython, describeSite, findPython, wantedVersion }
