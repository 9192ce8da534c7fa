'use strict'

// Netlify's form of a function, `(Request, Context) => Response`, around what an AWS Lambda of Python takes and gives: a
// proxy event and a dict. Only in this form does Netlify hand over the variables that it changes between two requests.

const { isUtf8 } = require('node:buffer')

const WITHOUT_BODY = new Set([204, 205, 304])

/** The event of a request. A body that is UTF-8 is a text, any other is base64: both are the bytes that came. */
async function eventOf(request) {
  const url = new URL(request.url)
  const body = Buffer.from(await request.arrayBuffer())
  const isText = isUtf8(body)
  const query = {}
  for (const [name, value] of url.searchParams) (query[name] ??= []).push(value)
  return {
    path: url.pathname,
    httpMethod: request.method,
    headers: Object.fromEntries(request.headers),
    multiValueHeaders: Object.fromEntries([...request.headers].map(([name, value]) => [name, [value]])),
    queryStringParameters: Object.fromEntries(Object.entries(query).map(([name, values]) => [name, values.join(', ')])),
    multiValueQueryStringParameters: query,
    body: body.length === 0 ? null : body.toString(isText ? 'utf8' : 'base64'),
    isBase64Encoded: !isText,
    rawUrl: url.href,
    rawQuery: url.search.slice(1),
  }
}

/** The response that a dict describes. Throws where HTTP does not allow it. */
function responseOf({ statusCode, headers, multiValueHeaders, body, isBase64Encoded }) {
  const all = new Headers()
  for (const [name, value] of Object.entries(headers ?? {})) all.set(name, String(value))
  for (const [name, values] of Object.entries(multiValueHeaders ?? {})) {
    all.delete(name)
    for (const value of values) all.append(name, String(value))
  }
  const bytes = isBase64Encoded ? Buffer.from(body ?? '', 'base64') : Buffer.from(body ?? '', 'utf8')
  return new Response(WITHOUT_BODY.has(statusCode) ? null : bytes, { status: statusCode, headers: all })
}

module.exports = { eventOf, responseOf }
