'use strict'

// CORS of the bridge's own answers, so that a page of an allowed origin can read them. The same rules as the handlers
// have: an origin is allowed if it is exactly one of those in a variable of the environment. If one of these is not an
// origin, none is allowed. A function without CORS gets no CORS headers.

const ORIGIN = /^https?:\/\/[^/?#@\s]+$/i

/**
 * @param {{origins: string[], headers: string[]} | null} cors variables of the environment, the first that is set counts;
 *   and what a page may send. null: no CORS at all
 * @param {object} event
 * @param {Record<string, string | undefined>} environment
 * @returns {Record<string, string>}
 */
function corsHeaders(cors, event, environment = process.env) {
  if (!cors) return {}
  const origin = header(event, 'origin')
  if (!origin || !allowedOrigins(cors.origins, environment).includes(origin)) return { vary: 'Origin' }
  return { vary: 'Origin', 'access-control-allow-origin': origin, 'access-control-expose-headers': 'retry-after' }
}

/**
 * The answer to a preflight while the function cannot answer: allowed, so that the page can read the 502. After a refusal
 * it would see a failed connection only. null: this is no preflight of an allowed origin.
 */
function preflight(cors, event, environment = process.env) {
  const allowed = corsHeaders(cors, event, environment)
  const method = header(event, 'access-control-request-method')
  if (event?.httpMethod !== 'OPTIONS' || !allowed['access-control-allow-origin'] || !/^[A-Z]{1,10}$/.test(method ?? '')) {
    return null
  }
  return {
    ...allowed,
    'access-control-allow-methods': method,
    'access-control-allow-headers': cors.headers.join(', '),
    'access-control-max-age': '0',
  }
}

function allowedOrigins(variables, environment) {
  const named = variables.map((name) => (environment[name] ?? '').trim()).find((value) => value !== '') ?? ''
  const origins = named
    .split(',')
    .map((part) => part.trim().replace(/\/+$/, ''))
    .filter((part) => part !== '')
  if (!origins.every((origin) => ORIGIN.test(origin))) return []
  return origins.map((origin) => origin.toLowerCase().replace(/^(http:\/\/.*):80$|^(https:\/\/.*):443$/, '$1$2'))
}

function header(event, name) {
  const found = Object.entries(event?.headers ?? {}).find(([each]) => each.toLowerCase() === name)
  return found === undefined ? undefined : String(found[1])
}

module.exports = { corsHeaders, preflight }
