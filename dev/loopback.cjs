'use strict'

// Loaded into the Netlify CLI by dev/stack.py: servers that name no address listen on 127.0.0.1 only, so that the shop
// on a developer's machine is not open to the network around it.

const net = require('node:net')

const listen = net.Server.prototype.listen

net.Server.prototype.listen = function (...args) {
  const [first, ...rest] = args
  if (typeof first === 'number' && typeof rest[0] !== 'string') return listen.call(this, first, '127.0.0.1', ...rest)
  const options = first && typeof first === 'object' && 'port' in first && !first.host && !first.path
  return options ? listen.call(this, { ...first, host: '127.0.0.1' }, ...rest) : listen.apply(this, args)
}
