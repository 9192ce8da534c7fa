'use strict'

// The Python functions of one `netlify dev`: a process of its own, started by the first request (`forward.js`), because
// the CLI loads an entry afresh for every request.
//
// Promises:
// - it ends, and every Python process with it, as soon as the `netlify dev` that started it is gone, however it went;
// - a request that arrives after a file was saved is answered by the saved code;
// - what Python prints appears in the terminal of `netlify dev`, with the function's name before each line.

const fs = require('node:fs')
const http = require('node:http')
const { randomBytes } = require('node:crypto')

const { Pool } = require('../runtime/pool.js')
const { fingerprint } = require('./watch.js')

const PARENT_CHECK_MS = 200
const LOOK_MS = 1000

const { cliPid, addressFile, root, python, watch, functions, maxWorkers } = JSON.parse(process.argv[2])

const pools = new Map()

function poolOf(name) {
  let pool = pools.get(name)
  if (!pool) {
    const { handler, timeoutMs, cors } = functions[name]
    const print = printer(name)
    pool = new Pool({
      name,
      handler,
      root,
      python,
      maxWorkers,
      maxWaiting: 500,
      timeoutMs,
      showErrors: true,
      cors,
      output: print,
      log: (fields) => print(`${JSON.stringify(fields)}\n`, 'log'),
    })
    pools.set(name, pool)
  }
  return pool
}

/** Writes whole lines to the terminal, each with the function's name. */
function printer(name) {
  const rest = {}
  return (text, stream) => {
    // awslambdaric joins the lines of a traceback with carriage returns and indents them with no-break spaces, so that
    // a log collector takes them as one entry.
    const lines = ((rest[stream] ?? '') + text).replaceAll('\u00a0', ' ').split(/\r?\n|\r(?!$)/)
    rest[stream] = lines.pop()
    for (const line of lines) process.stdout.write(`◈ ${name}  ${line}\n`)
  }
}

let known = fingerprint(root, watch)

/** Looks at the files, and replaces the processes when one has changed. */
function reloadWhatChanged() {
  const now = fingerprint(root, watch)
  if (now === known) return
  known = now
  if (pools.size > 0) process.stdout.write('◈ Python files changed: starting afresh\n')
  for (const pool of pools.values()) {
    pool.reload()
    pool.warm() // shows at once where the change cannot be imported
  }
}

function end() {
  for (const pool of pools.values()) pool.close()
  try {
    fs.unlinkSync(addressFile)
  } catch {
    // It is gone already.
  }
  process.exit(0)
}

const token = randomBytes(24).toString('hex')

const server = http.createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, (request, response) => {
  if (request.headers['x-token'] !== token || request.headers.host !== `127.0.0.1:${server.address().port}`) {
    response.writeHead(403).end()
    return
  }
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', async () => {
    reloadWhatChanged()
    const { name, event, environment, context } = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    Object.assign(process.env, environment) // as the CLI has it now
    const answer = await poolOf(name).invoke(event, context)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
})

// The terminal may be gone before we are.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end)

setInterval(() => {
  // An orphan gets another parent.
  if (process.ppid !== cliPid) end()
}, PARENT_CHECK_MS)

setInterval(reloadWhatChanged, LOOK_MS)

server.listen(0, '127.0.0.1', () => {
  const address = JSON.stringify({ pid: process.pid, port: server.address().port, token })
  fs.writeFileSync(`${addressFile}.new`, address, { mode: 0o600 })
  fs.renameSync(`${addressFile}.new`, addressFile)
})
