'use strict'

// Loaded into the Netlify CLI by dev/stack.py, for what the CLI does not do itself:
// - Servers that name no address listen on 127.0.0.1 only, so that the shop on a developer's machine is not open to the
//   network around it.
// - The CLI ends where a body is too large, comes slowly, or breaks off. So it gets a request once its body is
//   there; one that is too large is refused here, and one that breaks off is forgotten.
// - The CLI's own database, PostgreSQL in WebAssembly, is not started: it takes longer than the rest of the CLI, and the
//   stack has a real one.

const http = require('node:http')
const modules = require('node:module')
const net = require('node:net')

// Not the processes that the CLI starts: what the Python functions are given and answer goes through servers too.
const IS_CLI = /netlify-cli[\\/]bin[\\/]run\.js$/.test(process.argv[1] ?? '')

const LARGEST_BODY = 1024 * 1024
const LARGEST_DISCARDED = 64 * 1024 * 1024
const TOO_LARGE = JSON.stringify({
  type: 'about:blank',
  title: 'Too large',
  status: 413,
  code: 'too_large',
  detail: 'A body has at most 16384 bytes.', // LARGEST_BODY_BYTES of shared/edge.py, which refuses what is smaller
})

const NO_DATABASE = `
export class NetlifyDB {
  async start() { return process.env.NETLIFY_DB_URL ?? '' }
  async stop() {}
}
export const applyMigrations = undefined, initializeTrackingTable = undefined, resetDatabase = undefined
`

if (IS_CLI) {
  modules.registerHooks({
    load: (url, context, load) =>
      url.endsWith('/@netlify/database-dev/dist/main.js')
        ? { format: 'module', source: NO_DATABASE, shortCircuit: true }
        : load(url, context),
  })
}

const listen = net.Server.prototype.listen

net.Server.prototype.listen = function (...args) {
  const [first, ...rest] = args
  if (typeof first === 'number' && typeof rest[0] !== 'string') return listen.call(this, first, '127.0.0.1', ...rest)
  const options = first && typeof first === 'object' && 'port' in first && !first.host && !first.path
  return options ? listen.call(this, { ...first, host: '127.0.0.1' }, ...rest) : listen.apply(this, args)
}

const emit = http.Server.prototype.emit

http.Server.prototype.emit = function (event, ...args) {
  if (event !== 'request' || !IS_CLI) return emit.call(this, event, ...args)
  const [request, response] = args
  request.on('error', () => {}) // it broke off
  const length = Number(request.headers['content-length'] ?? 0)
  if (length === 0 && !request.headers['transfer-encoding']) return emit.call(this, event, request, response)
  receive(request, response, length, (whole) => emit.call(this, event, whole, response))
  return true
}

function receive(request, response, length, pass) {
  const chunks = []
  let received = 0
  let refused = false
  const refuse = () => {
    refused = true
    chunks.length = 0
    response.writeHead(413, {
      'Content-Type': 'application/problem+json',
      'Content-Length': Buffer.byteLength(TOO_LARGE),
      'Cache-Control': 'no-store',
      Connection: 'close',
    })
    response.write(TOO_LARGE)
  }
  if (length > LARGEST_BODY) refuse()
  request.on('data', (chunk) => {
    received += chunk.length
    if (!refused && received > LARGEST_BODY) refuse()
    // Who is still sending would not see the answer if the connection ended now: the rest is read and thrown away.
    if (!refused) chunks.push(chunk)
    else if (received > LARGEST_DISCARDED) response.end()
  })
  request.on('end', () => (refused ? response.end() : pass(replay(request, Buffer.concat(chunks)))))
}

/** The same request, whose body is there to be read. */
function replay(request, body) {
  const whole = new http.IncomingMessage(request.socket)
  for (const name of ['method', 'url', 'httpVersion', 'httpVersionMajor', 'httpVersionMinor', 'rawHeaders', 'rawTrailers']) {
    whole[name] = request[name]
  }
  whole.headers = request.headers
  whole.trailers = request.trailers
  whole.complete = true
  whole.on('error', () => {})
  whole.push(body)
  whole.push(null)
  return whole
}
