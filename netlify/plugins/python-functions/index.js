'use strict'

// Netlify build plugin: Python functions. See README.md.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { deployedEntry, devEntry, writeEntries } = require('./entries.js')
const { STATE, SiteError, checkPython, describeSite, findPython, wantedVersion } = require('./site.js')

const LAMBDA_ZIP_LIMIT_MB = 50
const LAMBDA_VARIABLES_LIMIT = 4096

/** `netlify dev`: entries that forward to the supervisor of the Python functions. */
async function onPreDev({ inputs, constants, utils }) {
  await sayWhatToDo(utils, () => {
    const { include, requirements, functionsFolder, ...site } = describeSite(inputs, constants)
    const python = findPython(site.root)
    checkPython(python)
    forgetTheDead(path.join(site.root, STATE, 'dev'))
    const names = Object.keys(site.functions)
    const known = { ...site, python, state: `${STATE}/dev` }
    writeEntries(site.root, '.cjs', Object.fromEntries(names.map((name) => [name, devEntry(name, known)])))
  })
}

/** `netlify build`: stages CPython, packages and code once, then one entry and one zip per function. */
async function onPreBuild({ inputs, constants, netlifyConfig, utils }) {
  await sayWhatToDo(utils, () => {
    const site = describeSite(inputs, constants)
    measureVariables(netlifyConfig.build.environment, constants.CONFIG_PATH)
    const { include = [], variables = {} } = check(site, inputs, netlifyConfig.functions)
    const staged = stage({ ...site, include: [...site.include, ...include] })
    const entries = {}
    for (const [name, about] of Object.entries(site.functions)) {
      entries[name] = deployedEntry(name, about, { root: site.root, variables, ...staged })
      // Property by property: assigning an object fails where netlify.toml has a [functions.NAME] of its own.
      netlifyConfig.functions[name] ??= {}
      netlifyConfig.functions[name].node_bundler = 'nft'
      netlifyConfig.functions[name].included_files = [
        ...(netlifyConfig.functions[name].included_files ?? []),
        ...staged.includedFiles,
        `${path.relative(site.root, path.join(__dirname, 'runtime'))}/**`,
      ]
    }
    writeEntries(site.root, '.mjs', entries)
  })
}

/** Says how large the zips are, and again when they are not for deploying. */
async function onPostBuild({ constants, utils }) {
  await sayWhatToDo(utils, () => {
    const folder = constants.FUNCTIONS_DIST
    const state = JSON.parse(fs.readFileSync(path.join(STATE, 'staged.json'), 'utf8'))
    for (const name of state.functions) {
      const size = fs.statSync(path.join(folder, `${name}.zip`)).size / 1e6
      console.log(`${name}.zip ${size.toFixed(1)} MB`)
      if (size > LAMBDA_ZIP_LIMIT_MB) {
        throw new SiteError(`${name}.zip has more than ${LAMBDA_ZIP_LIMIT_MB} MB, AWS Lambda's limit: shorten the requirements.`)
      }
    }
    if (state.not_for_deploying) console.log(`\nTHIS BUILD IS NOT FOR DEPLOYING: ${state.not_for_deploying}\n`)
  })
}

/** The variables that Netlify hands to each function, as far as the build sees them, never their values. */
function measureVariables(variables, configPath) {
  const config = configPath ? fs.readFileSync(configPath, 'utf8') : ''
  const reach = Object.entries(variables).filter(([name]) => !new RegExp(`^\\s*${name}\\s*=`, 'm').test(config))
  const sizes = reach.map(([name, value]) => [name, Buffer.byteLength(`${name}${value}`)])
  const bytes = sizes.reduce((sum, [, size]) => sum + size, 0)
  const largest = sizes.sort(([, one], [, other]) => other - one).slice(0, 5)
  const shown = largest.map(([name, size]) => `${name} (${size})`).join(', ')
  if (bytes * 4 < LAMBDA_VARIABLES_LIMIT * 3) return
  console.log(
    `\nThe site's variables have ${bytes} bytes with their names, and those of a function may have ${LAMBDA_VARIABLES_LIMIT} together, ` +
      `or a deploy fails. Shorten the largest, or take the scope Functions away where none needs it: ${shown}.\n`,
  )
}

/** Runs the site's own check of its settings, and returns what that wants to travel with the functions. */
function check(site, inputs, functions) {
  if (!inputs.check) return {}
  const answer = path.join(site.root, STATE, 'check.json')
  fs.mkdirSync(path.dirname(answer), { recursive: true })
  fs.rmSync(answer, { force: true })
  const regions = Object.keys(site.functions).map((name) => [name, (functions[name] ?? functions['*'])?.region ?? null])
  const told = { context: process.env.CONTEXT ?? null, regions: Object.fromEntries(regions), answer }
  const ran = spawnSync(findPython(site.root), [inputs.check, JSON.stringify(told)], { stdio: ['ignore', 'inherit', 'inherit'] })
  if (ran.status !== 0) throw new SiteError(`${inputs.check} stopped the build: the reason is above.`)
  return fs.existsSync(answer) ? JSON.parse(fs.readFileSync(answer, 'utf8')) : {}
}

/** Runs build/stage.py, which leaves what it did in STATE/staged.json. */
function stage(site) {
  const python = findPython(site.root)
  const order = {
    root: site.root,
    state: path.join(site.root, STATE),
    functions: Object.keys(site.functions),
    functions_folder: site.functionsFolder,
    include: site.include,
    requirements: path.resolve(site.root, site.requirements),
    python_version: wantedVersion(site.root),
    runtime: process.env.PYTHON_FUNCTIONS_RUNTIME || null,
    // `netlify deploy --build` on a laptop is a deploy too: it has a deploy id, where `netlify build` has "0".
    for_deploying: process.env.NETLIFY === 'true' || (process.env.DEPLOY_ID ?? '0') !== '0',
  }
  const { status, error } = spawnSync(python, ['-I', path.join(__dirname, 'build/stage.py'), JSON.stringify(order)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) throw new SiteError(`${python}: ${error.message}`)
  if (status !== 0) throw new SiteError('The Python part of the functions could not be put together: the reason is above.')
  const staged = JSON.parse(fs.readFileSync(path.join(site.root, STATE, 'staged.json'), 'utf8'))
  const globs = [staged.python_tree, staged.site_tree].map((tree) => `${tree}/**`)
  return { sitePath: staged.site_tree, pythonPath: staged.python, packagesPath: staged.packages, includedFiles: globs }
}

/** Removes what earlier runs of `netlify dev` left here when they were killed. */
function forgetTheDead(folder) {
  if (!fs.existsSync(folder)) return
  for (const file of fs.readdirSync(folder)) {
    try {
      process.kill(Number(/^dev-(\d+)/.exec(file)?.[1]), 0)
    } catch {
      fs.rmSync(path.join(folder, file), { force: true })
    }
  }
}

/** Turns what a developer can mend into a failed build with that sentence, without a stack trace of this plugin. */
async function sayWhatToDo(utils, work) {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof SiteError)) throw error
    utils.build.failBuild(error.message)
  }
}

module.exports = { onPreDev, onPreBuild, onPostBuild }
