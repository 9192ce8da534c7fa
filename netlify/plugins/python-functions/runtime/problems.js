'use strict'

// The answers a caller gets when Python gave none: RFC 9457 problem details, 502 where nothing else is said, with a stable `code`.
// The `detail` is written for strangers. Only `netlify dev` adds what Python said (`shown`).

const { corsHeaders, preflight } = require('./cors.js')

const PROBLEMS = {
  function_unavailable: {
    title: 'The function could not be started',
    detail: 'The request was not handled. It may be sent again.',
  },
  function_busy: {
    title: 'The function has too many requests waiting',
    detail: 'The request was not handled. It may be sent again in a moment.',
  },
  function_died: {
    title: 'The function ended while it handled the request',
    detail: 'Some of its work may have been done. Ask what became of it before sending the request again.',
  },
  function_timeout: {
    title: 'The function did not answer in time',
    detail: 'Some of its work may have been done. Ask what became of it before sending the request again.',
  },
  function_failed: {
    title: 'The function failed',
    detail: 'Some of its work may have been done. Ask what became of it before sending the request again.',
  },
  unknown_host: {
    status: 421,
    title: '`netlify dev` is not called by this name',
    detail: 'It may be called as localhost, and by the addresses in the variables that the plugin\'s input `addresses` names.',
  },
}

// The same headers as in every answer of Python: shared/edge.py.
const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=63072000',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/**
 * @param {string} code
 * @param {string} [shown] shown to a developer in place of the detail
 * @param {object} [asked] `event`, and the function's `cors`: see cors.js
 * @returns {{statusCode: number, headers: Record<string, string>, body: string}}
 */
function problem(code, shown, { event, cors } = {}) {
  const goAhead = preflight(cors, event)
  if (goAhead) return { statusCode: 204, headers: { ...SECURITY_HEADERS, ...goAhead }, body: '' }
  const { status = 502, title, detail } = PROBLEMS[code]
  return {
    statusCode: status,
    headers: { 'content-type': 'application/problem+json', ...SECURITY_HEADERS, ...corsHeaders(cors, event) },
    body: JSON.stringify({ type: 'about:blank', title, status, code, detail: shown || detail }),
  }
}

module.exports = { problem, PROBLEMS, SECURITY_HEADERS }
