'use strict'

// A deployed function: one Python process, started while the platform loads this file, kept between events, replaced
// when it dies or hangs.

const fs = require('node:fs')
const path = require('node:path')
const { isMainThread } = require('node:worker_threads')

const { eventOf, responseOf } = require('./modern.js')
const { Pool } = require('./pool.js')

// What the platform calls a deploy that is not the site's published one. Any other word leaves the build's in place.
const ANOTHER_CONTEXT = /^(deploy-preview|branch-deploy|branch:.*|dev)$/

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
 * @param {Record<string, string>} options.variables what the build found, whatever the environment says
 * @param {string} options.context the deploy context that it was built for: as CONTEXT it is there for the build only
 * @param {object | null} options.cors see cors.js
 */
function deployed(options) {
  process.env.CONTEXT = options.context
  const pool = start(options)
  return async (request, context) => {
    // A build for production may be deployed as a draft.
    if (ANOTHER_CONTEXT.test(context.deploy?.context)) process.env.CONTEXT = context.deploy.context
    const answer = await pool.invoke(await eventOf(request), { requestId: context.requestId })
    if (!isMainThread) pool.close() // a local server of built functions: a thread for each request
    return responseOf(answer)
  }
}

function start({ name, handler, root, python, packages, timeoutMs, commit, variables, cors }) {
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
      ...variables,
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
