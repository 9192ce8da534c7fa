'use strict'

// The handler of every function in `netlify dev`: passes the event to the supervisor of the Python functions, and starts
// that one when there is none. Keeps nothing in memory, because the CLI loads it afresh for every request; what is known
// about the supervisor is in a file named after the CLI's process.

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const { problem } = require('../runtime/problems.js')

const START_LIMIT_MS = 10_000

/**
 * @param {string} name
 * @param {object} site what the supervisor must know: see `entries.js`
 */
function forward(name, site) {
  const addressFile = path.join(site.root, site.state, `dev-${process.pid}.json`)
  return async (event, context) => {
    const arrivedMs = performance.now()
    const { timeoutMs, cors } = site.functions[name]
    if (!isOurs(event.headers.host, site.addresses)) return problem('unknown_host')
    const message = () => {
      const limitMs = timeoutMs - (performance.now() - arrivedMs)
      return { name, event, environment: process.env, context: { requestId: context.awsRequestId, limitMs } }
    }
    try {
      const until = arrivedMs + START_LIMIT_MS
      for (;;) {
        const supervisor = await findOrStart(addressFile, site, until)
        try {
          return await call(supervisor, message)
        } catch (error) {
          if (!error.nothingWasSent || performance.now() > until) throw error
          await sleep(20) // it was ending: the next one takes the request
        }
      }
    } catch (error) {
      const detail = `The supervisor of the Python functions did not answer: ${error.message}. The next request starts it again.`
      process.stderr.write(`◈ ${name}  ${detail}\n`)
      return problem('function_unavailable', detail, { event, cors })
    }
  }
}

/** Whether pages may call this host: one of another site may have given its own name our address (DNS rebinding). */
function isOurs(host, addresses) {
  const named = addresses.flatMap((variable) => (process.env[variable] ?? '').split(','))
  const hosts = named.map((address) => URL.parse(address.trim())?.hostname)
  return ['localhost', '127.0.0.1', '[::1]', ...hosts].includes(URL.parse(`http://${host}`)?.hostname)
}

async function findOrStart(addressFile, site, until) {
  const lock = `${addressFile}.lock`
  while (performance.now() < until) {
    const address = readAddress(addressFile)
    if (address) return address
    if (takeLock(lock)) {
      try {
        start(addressFile, site)
        while (performance.now() < until && !readAddress(addressFile)) await sleep(10)
      } finally {
        fs.rmSync(lock, { force: true })
      }
    } else {
      await sleep(20)
    }
  }
  throw new Error('it did not start')
}

function readAddress(addressFile) {
  try {
    const address = JSON.parse(fs.readFileSync(addressFile, 'utf8'))
    process.kill(address.pid, 0) // throws when it is gone
    return address
  } catch {
    return null
  }
}

/** One of many requests at once may start the supervisor; the lock of one that was cut off while it did is broken. */
function takeLock(lock) {
  try {
    fs.mkdirSync(path.dirname(lock), { recursive: true })
    fs.closeSync(fs.openSync(lock, 'wx'))
    return true
  } catch {
    const stat = fs.statSync(lock, { throwIfNoEntry: false })
    if (stat && Date.now() - stat.mtimeMs > START_LIMIT_MS) fs.rmSync(lock, { force: true })
    return false
  }
}

function start(addressFile, site) {
  fs.rmSync(addressFile, { force: true })
  const supervisor = spawn(
    process.execPath,
    [path.join(__dirname, 'supervisor.js'), JSON.stringify({ ...site, cliPid: process.pid, addressFile })],
    {
      // The terminal of `netlify dev`, but not its Ctrl-C: the supervisor ends when the CLI has ended.
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    },
  )
  supervisor.on('error', (error) => process.stderr.write(`◈ ${error.message}\n`))
  supervisor.unref()
}

/**
 * Hands a request over. The supervisor says first that it is there (100 Continue): whoever fails before that took nothing,
 * and the error has `nothingWasSent`. After that a handler may have seen the request, and it is never repeated.
 */
function call({ port, token }, message) {
  return new Promise((resolve, reject) => {
    let nothingWasSent = true
    const request = http.request(
      {
        host: '127.0.0.1',
        port,
        method: 'POST',
        agent: false,
        headers: { 'x-token': token, 'content-type': 'application/json', expect: '100-continue' },
      },
      (response) => {
        const chunks = []
        response.on('data', (chunk) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          try {
            resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')))
          } catch (error) {
            reject(error)
          }
        })
      },
    )
    request.on('continue', () => {
      nothingWasSent = false
      request.end(JSON.stringify(message()))
    })
    request.on('error', (error) => reject(Object.assign(error, { nothingWasSent })))
    request.flushHeaders()
  })
}

module.exports = { forward }
