'use strict'

// Notices that Python code changed. Looking at a few dozen files takes well under a millisecond, misses nothing that an
// editor, a container mount or a branch switch does, and leaves no moment between saving and noticing.

const fs = require('node:fs')
const path = require('node:path')

/**
 * @param {string} root
 * @param {string[]} folders relative to the root
 * @returns {string} differs whenever a .py file below the folders was added, removed or written
 */
function fingerprint(root, folders) {
  const seen = []
  for (const folder of folders) look(path.join(root, folder), seen)
  return seen.join('\n')
}

function look(folder, seen) {
  let entries
  try {
    entries = fs.readdirSync(folder, { withFileTypes: true })
  } catch {
    return
  }
  for (const entry of entries) {
    const file = path.join(folder, entry.name)
    if (entry.isDirectory()) {
      if (entry.name !== '__pycache__' && entry.name !== 'node_modules' && !entry.name.startsWith('.')) look(file, seen)
    } else if (entry.name.endsWith('.py')) {
      const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false })
      if (stat) seen.push(`${file} ${stat.mtimeNs} ${stat.size} ${stat.ino}`)
    }
  }
}

module.exports = { fingerprint }
