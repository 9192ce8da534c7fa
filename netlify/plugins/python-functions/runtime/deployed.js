'use strict'

// The handler of a deployed function: one Python process, started while the platform loads this file, kept between
// events, replaced when it dies or hangs.

const fs = require('node:fs')
const path = require('node:path')

const { Pool } = require('./pool.js')

// Time that is left here to answer when Python has used up the platform's.
const MARGIN_MS = 1500

// Where certificate authorities are kept: Amazon Linux, Debian. The bundled Python looks where its builder kept them.
const CERTIFICATES = ['/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/certs/ca-certificates.crt']

/**
 * @param {object} options
 * @param {string} options.name
 * @param {string} options.handler
 * @param {string} options.root the site's Python code in the unpacked zip
 * @param {string} options.python the interpreter in the unpacked zip
 * @param {string} options.packages the folder of the packages in the unpacked zip
 * @param {number} options.timeoutMs
 * @param {string | null} options.commit the commit that was built: Netlify sets COMMIT_REF for the build only
 * @param {object | null} options.cors see cors.js
 */
function deployed(options) {
  const pool = poolOf(options)
  return (event, context = {}) => {
    const left = context.getRemainingTimeInMillis?.()
    return pool.invoke(event, {
      requestId: context.awsRequestId,
      functionArn: context.invokedFunctionArn,
      clientContext: context.clientContext,
      limitMs: left === undefined ? undefined : Math.max(left - MARGIN_MS, 0),
    })
  }
}

/** One for each function of this process: a local server of built functions loads an entry afresh for every request. */
function poolOf(options) {
  const pools = (globalThis[Symbol.for('python-functions')] ??= new Map())
  const key = JSON.stringify(options)
  if (!pools.has(key)) pools.set(key, start(options))
  return pools.get(key)
}

function start({ name, handler, root, python, packages, timeoutMs, commit, cors }) {
  const pool = new Pool({
    name,
    handler,
    root,
    python,
    packages,
    // Isolated: no environment variable and no folder of the machine changes what is imported. Without `site`, which
    // would only look for folders that are not there: .pth files are not read, as on Lambda.
    pythonFlags: ['-I', '-S'],
    // The platform's own libraries are for its Node; the bundled Python brings its own.
    env: {
      LD_LIBRARY_PATH: path.resolve(python, '../../lib'),
      LD_PRELOAD: null,
      COMMIT_REF: process.env.COMMIT_REF ?? commit ?? null,
      SSL_CERT_FILE: process.env.SSL_CERT_FILE ?? certificates(packages) ?? null,
    },
    maxWorkers: 1,
    maxWaiting: 100,
    timeoutMs,
    showErrors: false,
    cors,
    output: (text, stream) => process[stream].write(text),
    log: (fields) => process.stderr.write(`${JSON.stringify(fields)}\n`),
  })
  pool.warm()
  return pool
}

function certificates(packages) {
  return [...CERTIFICATES, path.join(packages, 'certifi/cacert.pem')].find((file) => fs.existsSync(file))
}

module.exports = { deployed }
