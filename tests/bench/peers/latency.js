// The first line of a handler: tells when it began, in microseconds of the monotonic clock, where
// the payload asks for it.
'use strict'

function starter (payload) {
  const began = process.hrtime.bigint()
  if (payload && payload.told) process.stdout.write(`${began / 1000n}\n`)
}

module.exports = { starter }
