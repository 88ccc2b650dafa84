// The first line of a handler: tells how long ago the job was enqueued, when its payload says.
'use strict'

function starter (payload) {
  const now = process.hrtime.bigint()
  if (payload && payload.at) process.stdout.write(`${(now - BigInt(payload.at)) / 1000n}\n`)
}

module.exports = { starter }
