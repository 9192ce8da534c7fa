'use strict'

// The Python processes of one function: how many there are, which one gets the next event, and what is answered when
// one dies, hangs or does not start.
//
// Promises:
// - every event gets exactly one answer, before its limit, counted from its arrival (also while it waits for a process);
// - a handler gets an event at most once: it is never repeated, whatever happens;
// - never more than `maxWorkers` processes take events (those that finish their last event after a reload come on top);
// - a process that hangs is killed (SIGKILL), and the next event gets another one.

const { randomUUID } = require('node:crypto')

const { responseOf } = require('./modern.js')
const { problem } = require('./problems.js')
const { Worker } = require('./worker.js')

const TICK_MS = 100
// A tick later than this means that the machine stood still (a frozen sandbox, a sleeping laptop), not that Python hung.
const LONGEST_TICK_MS = 1000

class Pool {
  /**
   * @param {object} options those of `Worker`, and:
   * @param {number} options.maxWorkers
   * @param {number} options.maxWaiting events that may wait for a process
   * @param {number} options.timeoutMs the limit of an event from its arrival to its answer
   * @param {boolean} options.showErrors put what Python said into the answer, and exceptions' messages and source lines
   *   into the log: for a developer's own machine only
   * @param {object | null} options.cors see cors.js
   * @param {(fields: object) => void} options.log takes one line's fields
   */
  constructor(options) {
    this.options = options
    this.workers = new Set()
    this.waiting = []
    this.running = new Map() // worker → the event it handles
    this.awakeMs = 0 // time that passed while an event, an answer or a start was waited for and the machine ran
    this.ticker = null
  }

  /**
   * Hands an event to Python. Never throws.
   * @param {object} event
   * @param {object} [context] `requestId`, and `limitMs` where less time is left than usual
   * @returns {Promise<{statusCode: number, headers?: object, body?: string}>}
   */
  invoke(event, context = {}) {
    return new Promise((resolve) => {
      if (this.waiting.length >= this.options.maxWaiting) {
        this.#log('function_busy', { waiting: this.waiting.length })
        resolve(problem('function_busy', undefined, { event, cors: this.options.cors }))
        return
      }
      this.#startTicking()
      const limitMs = Math.min(this.options.timeoutMs, context.limitMs ?? Infinity)
      this.waiting.push({
        event,
        requestId: /^[\w-]{1,64}$/.exec(context.requestId ?? '')?.[0] ?? randomUUID(),
        arrivedMs: this.awakeMs,
        arrivedAt: Date.now(),
        limitMs,
        mayWaitForAnother: true,
        resolve,
      })
      this.#dispatch()
    })
  }

  /** Starts a process before the first event, if there is none. */
  warm() {
    if (this.workers.size === 0) this.#start()
  }

  /** After a change of the code: processes finish their event and end; later events get new processes. */
  reload() {
    for (const worker of [...this.workers]) {
      worker.retired = true
      if (worker.state !== 'busy') worker.kill()
    }
    this.#dispatch()
  }

  /** Ends everything at once. */
  close() {
    for (const worker of [...this.workers]) this.#end(worker)
  }

  #dispatch() {
    while (this.waiting.length > 0) {
      const idle = this.#find('idle')
      if (idle) {
        this.#give(idle, this.waiting.shift())
        continue
      }
      const fresh = [...this.workers].filter((worker) => !worker.retired)
      const starting = fresh.filter((worker) => worker.state === 'starting').length
      if (fresh.length >= this.options.maxWorkers || starting >= this.waiting.length) return
      this.#start()
    }
  }

  #find(state) {
    for (const worker of this.workers) if (worker.state === state && !worker.retired) return worker
    return undefined
  }

  #start() {
    const worker = new Worker(this.options)
    this.#startTicking() // one that never comes up is ended, also where nobody waits for it
    worker.startedMs = this.awakeMs
    this.workers.add(worker)
    worker.on('idle', () => {
      worker.cameUp = true
      if (worker.retired) worker.kill()
      this.#dispatch()
    })
    worker.on('answered', (requestId, answer) => this.#answered(worker, answer))
    worker.on('dead', (why) => this.#dead(worker, why))
  }

  #give(worker, request) {
    this.running.set(worker, request)
    const left = request.limitMs - (this.awakeMs - request.arrivedMs)
    const headers = {
      'lambda-runtime-deadline-ms': String(Math.round(Date.now() + left)),
      'lambda-runtime-invoked-function-arn': `arn:aws:lambda:local:0:function:${this.options.name}`,
    }
    worker.invoke(request.requestId, JSON.stringify(request.event), headers)
  }

  #answered(worker, { response, error }) {
    const request = this.running.get(worker)
    this.running.delete(worker)
    if (error) {
      this.#refuse(request, 'function_failed', { error: said(error) }, trace(error))
      return
    }
    const wrong = whatIsWrongWith(response)
    if (wrong) {
      this.#refuse(request, 'function_failed', { error: wrong }, wrong)
      return
    }
    request.resolve(response)
  }

  #dead(worker, { exitCode, signal, message }) {
    this.workers.delete(worker)
    const why = {
      pid: worker.pid,
      exit_code: exitCode,
      signal,
      ...(message && { reason: message }),
      ...(worker.initError && { error: said(worker.initError) }),
      ...(worker.stderrTail && { stderr_tail: worker.stderrTail }),
    }
    const shown = (worker.initError && trace(worker.initError)) || worker.stderrTail || message
    const request = this.running.get(worker)
    if (request && !worker.eventWasTaken && request.mayWaitForAnother) {
      this.running.delete(worker)
      this.#log('function_died', { ...why, while: 'waiting for an event' })
      request.mayWaitForAnother = false
      this.waiting.unshift(request)
    } else if (request) {
      this.running.delete(worker)
      this.#refuse(request, 'function_died', why, worker.stderrTail)
    } else if (!worker.retired && !worker.endedByUs && worker.cameUp) {
      this.#log('function_died', { ...why, while: 'waiting for an event' })
    } else if (!worker.retired && !worker.endedByUs) {
      this.#didNotComeUp(worker, why, shown)
      return
    }
    this.#dispatch()
  }

  #didNotComeUp(worker, why, shown) {
    if (this.waiting.length === 0 || [...this.workers].some((other) => !other.retired)) {
      // The other processes serve the waiting events. Starting one again at once could fail in an endless loop.
      this.#log('function_unavailable', why)
      return
    }
    const waiting = this.waiting
    this.waiting = []
    for (const request of waiting) {
      // It was killed, not broken. These events were given to no handler, so they wait for another process, once.
      if (!worker.initError && why.signal && request.mayWaitForAnother) {
        request.mayWaitForAnother = false
        this.waiting.push(request)
      } else {
        this.#refuse(request, 'function_unavailable', why, shown)
      }
    }
    this.#dispatch()
  }

  #startTicking() {
    if (this.ticker) return
    let last = performance.now()
    this.ticker = setInterval(() => {
      const now = performance.now()
      this.awakeMs += Math.min(now - last, LONGEST_TICK_MS)
      last = now
      this.#endWhatIsLate()
    }, TICK_MS)
    this.ticker.unref()
  }

  #endWhatIsLate() {
    const starting = [...this.workers].some((worker) => worker.state === 'starting')
    if (this.waiting.length === 0 && this.running.size === 0 && !starting) {
      clearInterval(this.ticker)
      this.ticker = null
      return
    }
    const late = (request) => this.awakeMs - request.arrivedMs >= request.limitMs
    for (const [worker, request] of [...this.running]) {
      if (!late(request)) continue
      this.running.delete(worker)
      this.#end(worker)
      this.#refuse(request, 'function_timeout', {
        pid: worker.pid,
        reason: 'it did not answer and was ended with SIGKILL',
        ...(worker.stderrTail && { stderr_tail: worker.stderrTail }),
      })
    }
    const stillWaiting = this.waiting.filter((request) => !late(request))
    for (const request of this.waiting.filter(late)) {
      this.#refuse(request, 'function_timeout', { reason: 'no process became free' })
    }
    this.waiting = stillWaiting
    for (const worker of [...this.workers]) {
      if (worker.state !== 'starting' || this.awakeMs - worker.startedMs < this.options.timeoutMs) continue
      this.#log('function_unavailable', { pid: worker.pid, reason: 'it did not come up and was ended with SIGKILL' })
      this.#end(worker)
    }
    this.#dispatch()
  }

  #end(worker) {
    worker.endedByUs = true
    worker.kill()
  }

  #refuse(request, code, why, shown) {
    this.#log(code, { request_id: request.requestId, elapsed_ms: Date.now() - request.arrivedAt, ...why })
    const asked = { event: request.event, cors: this.options.cors }
    request.resolve(problem(code, this.options.showErrors ? shown : undefined, asked))
  }

  #log(code, fields) {
    this.options.log({ level: 'ERROR', message: code, function: this.options.name, ...fields })
  }
}

function said({ errorType = '', errorMessage = '' }) {
  return errorMessage ? `${errorType}: ${errorMessage}` : errorType
}

/** The traceback, as Python prints it. */
function trace({ errorType, errorMessage, stackTrace = [] }) {
  const lines = stackTrace.join('')
  if (lines.startsWith('Traceback') || lines.includes('\nTraceback')) return lines
  return `${lines && `Traceback (most recent call last):\n${lines}`}${said({ errorType, errorMessage })}`
}

/** Why this is no HTTP answer, or null. What it holds is not said: it goes into the log. */
function whatIsWrongWith(answer) {
  if (answer === null || typeof answer !== 'object' || Array.isArray(answer)) {
    return 'the handler did not return a dict with a statusCode'
  }
  const { statusCode, body } = answer
  if (!Number.isInteger(statusCode) || statusCode < 200 || statusCode > 599) {
    return 'the handler returned no statusCode between 200 and 599'
  }
  if (body !== undefined && body !== null && typeof body !== 'string') return 'the handler returned a body that is no text'
  try {
    responseOf(answer)
  } catch {
    return 'the handler returned headers that HTTP does not allow'
  }
  return null
}

module.exports = { Pool }
