'use strict'

// One Python process, behind the AWS Lambda Runtime API.
//
// AWS's runtime client for Python (awslambdaric) asks `GET …/runtime/invocation/next` for an event, calls the handler,
// and posts what it returned to `…/invocation/ID/response`, or what it raised to `…/invocation/ID/error`. An import
// that fails is posted to `…/runtime/init/error`. This file is the other side of that conversation, on a loopback port
// of its own, for one process and one event at a time. A secret in the path keeps other programs of the machine out.
//
// States: starting → idle ⇄ busy, and from each of them (leaving →) dead. `pool.js` decides what a worker does; this file reports what happened.

const { spawn } = require('node:child_process')
const { randomBytes } = require('node:crypto')
const { EventEmitter } = require('node:events')
const http = require('node:http')
const path = require('node:path')

const API = '/2018-06-01/runtime'
const MAX_ANSWER_BYTES = 6 * 1024 * 1024 // Lambda's limit for a synchronous answer
const TAIL_CHARACTERS = 2000

// Variables that the platform sets for its Node runtime. awslambdaric would use them too.
const NOT_FOR_PYTHON = {
  _LAMBDA_TELEMETRY_LOG_FD: null,
  _X_AMZN_TRACE_ID: null,
  AWS_LAMBDA_INITIALIZATION_TYPE: null,
  AWS_LAMBDA_MAX_CONCURRENCY: null,
  AWS_EXECUTION_ENV: null,
}

/**
 * Emits `idle` (it waits for an event), `answered` (requestId, {response} or {error}), `init-error` (error) and, once,
 * `dead` ({exitCode, signal, message}).
 */
class Worker extends EventEmitter {
  /**
   * @param {object} options
   * @param {string} options.name the function's name, for its environment and its log lines
   * @param {string} options.handler module and function, as Python imports them
   * @param {string} options.python path of the interpreter
   * @param {string[]} [options.pythonFlags]
   * @param {string} options.root the site's root: working directory and first place to import from
   * @param {string} [options.packages] last place to import from, where the interpreter has no packages of its own
   * @param {Record<string, string | null>} [options.env] set on top of this process's environment; null unsets
   * @param {boolean} [options.showErrors] exceptions are reported with their messages, not only by type and places
   * @param {(text: string, stream: 'stdout' | 'stderr') => void} options.output takes what Python prints
   */
  constructor(options) {
    super()
    this.options = options
    this.state = 'starting'
    this.retired = false // replaced by newer code: finishes its event and is ended
    this.requestId = null
    this.initError = null
    this.stderrTail = ''
    this.poll = null // the open answer to awslambdaric's `next`
    this.token = randomBytes(24).toString('hex')
    this.eventWasTaken = false // start.py has said so: from then on the handler may have begun

    // No time limits here: the platform may freeze both processes for hours between two requests, and a connection
    // that timed out meanwhile would end a healthy process.
    this.server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 }, (request, response) =>
      this.#serve(request, response),
    )
    this.server.timeout = 0
    this.server.on('error', (error) => this.#died({ message: error.message }))
    this.server.listen(0, '127.0.0.1', () => this.#spawn())
  }

  get pid() {
    return this.process?.pid
  }

  /** Hands an event to an idle worker, and before it, on a line of its own, the variables that changed meanwhile. */
  invoke(requestId, event, headers) {
    const payload = `${JSON.stringify(this.#changedVariables())}\n${event}`
    this.state = 'busy'
    this.requestId = requestId
    this.stderrTail = ''
    this.eventWasTaken = false
    const poll = this.poll
    this.poll = null
    poll.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(payload),
      'lambda-runtime-aws-request-id': requestId,
      ...headers,
    })
    poll.end(payload)
  }

  /** Kills the process: a process that hangs does not react to anything else. */
  kill() {
    if (this.state === 'dead') return
    this.process?.kill('SIGKILL')
    this.#died({ signal: 'SIGKILL', message: 'ended by the bridge' })
  }

  #spawn() {
    if (this.state === 'dead') return
    const { name, handler, python, pythonFlags = [], root, packages, env = {}, showErrors } = this.options
    this.address = `127.0.0.1:${this.server.address().port}`
    this.known = { ...process.env }
    this.ours = {
      ...NOT_FOR_PYTHON,
      AWS_LAMBDA_RUNTIME_API: `${this.address}/${this.token}`,
      AWS_LAMBDA_FUNCTION_NAME: name,
      LAMBDA_TASK_ROOT: root,
      _HANDLER: handler,
      // Python takes a .pyc as current if its source has the same size and second: two quick edits can have that.
      PYTHONDONTWRITEBYTECODE: '1',
      TZ: ':UTC', // as on Lambda
      ...env,
    }
    const environment = Object.entries({ ...this.known, ...this.ours }).filter(([, value]) => value !== null)
    const start = [path.join(__dirname, 'start.py'), showErrors ? 'whole' : 'places', handler, root]
    this.process = spawn(python, [...pythonFlags, ...start, ...(packages ? [packages] : [])], {
      cwd: root,
      env: Object.fromEntries(environment),
      // Standard input stays open as long as this process lives: start.py ends Python when it closes.
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    })
    this.process.stdin.on('error', () => {})
    this.process.stdio[3].on('error', () => {}).on('data', () => (this.eventWasTaken = true))
    for (const stream of ['stdout', 'stderr']) {
      this.process[stream].setEncoding('utf8').on('data', (text) => {
        if (stream === 'stderr') this.stderrTail = (this.stderrTail + text).slice(-TAIL_CHARACTERS)
        this.options.output(text, stream)
      })
    }
    this.process.on('error', (error) => this.#died({ message: `${python}: ${error.message}` }))
    // `close` comes after `exit`, when everything Python printed has been read; a child that holds the pipes open must
    // not delay it, so `exit` waits for it only briefly.
    let died = false
    const died_once = (exitCode, signal) => {
      if (died) return
      died = true
      this.#died({ exitCode, signal })
    }
    this.process.on('close', died_once)
    this.process.on('exit', (exitCode, signal) => setTimeout(died_once, 50, exitCode, signal))
  }

  /** The platform hands some over anew with each request: the credential of a database, and all the rest at the first. */
  #changedVariables() {
    const changed = {}
    for (const name of Object.keys({ ...this.known, ...process.env })) {
      if (!(name in this.ours) && this.known[name] !== process.env[name]) changed[name] = process.env[name] ?? null
    }
    this.known = { ...process.env }
    return changed
  }

  #died({ exitCode = null, signal = null, message = null }) {
    if (this.state === 'dead') return
    this.state = 'dead'
    this.server.close()
    this.server.closeAllConnections()
    this.emit('dead', { exitCode, signal, message })
  }

  #serve(request, response) {
    const api = `/${this.token}${API}`
    if (request.headers.host !== this.address || !request.url.startsWith(`${api}/`)) {
      response.writeHead(403).end()
      return
    }
    if (request.method === 'GET' && request.url === `${api}/invocation/next`) {
      this.#next(response)
      return
    }
    if (request.method === 'POST' && request.url === `${api}/init/error`) {
      read(request, (body) => {
        this.initError = parsed(body) ?? { errorType: 'InitError', errorMessage: 'unreadable' }
        accept(response)
      })
      return
    }
    const [, requestId, verb] = /\/invocation\/([^/]+)\/(response|error)$/.exec(request.url) ?? []
    if (request.method === 'POST' && this.state === 'busy' && requestId === this.requestId) {
      read(request, (body, tooLarge) => {
        accept(response)
        // Between two events the platform stops the clock: what Python printed before it answered is in the pipes
        // now, and is read in the next turn of the event loop. Answer after that, or log lines are lost.
        setImmediate(() => setImmediate(() => this.#answered(requestId, verb, body, tooLarge)))
      })
      return
    }
    response.writeHead(404).end()
  }

  #next(response) {
    this.poll = response
    response.on('close', () => {
      if (this.poll !== response) return
      // It closed the connection without an event: it is ending. `exit` will report why.
      this.poll = null
      this.state = 'leaving'
      this.process.kill('SIGKILL')
    })
    this.#rest()
  }

  /** It has asked for its next event, and its last answer (see #serve) has been passed on: it may work again. */
  #rest() {
    if (!this.poll || !(this.state === 'starting' || (this.state === 'busy' && this.requestId === null))) return
    this.state = 'idle'
    this.emit('idle')
  }

  #answered(requestId, verb, body, tooLarge) {
    if (this.state !== 'busy' || this.requestId !== requestId) return
    this.requestId = null
    const error = tooLarge
      ? { errorType: 'AnswerTooLarge', errorMessage: `the answer has more than ${MAX_ANSWER_BYTES} bytes` }
      : null
    if (error || verb === 'error') {
      this.emit('answered', requestId, { error: error ?? parsed(body) ?? { errorType: 'Error', errorMessage: body } })
    } else {
      this.emit('answered', requestId, { response: parsed(body) })
    }
    this.#rest()
  }
}

function read(request, done) {
  const chunks = []
  let size = 0
  request.on('data', (chunk) => {
    size += chunk.length
    if (size <= MAX_ANSWER_BYTES) chunks.push(chunk)
  })
  request.on('end', () => done(Buffer.concat(chunks).toString('utf8'), size > MAX_ANSWER_BYTES))
  request.on('error', () => {})
}

function accept(response) {
  response.writeHead(202, { 'content-type': 'application/json' }).end('{"status":"OK"}\n')
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

module.exports = { Worker }
