// graphile-worker at the settings that its own performance page calls fastest.
'use strict'
const { run, Logger } = require('graphile-worker')
const { starter } = require('./latency')

const quiet = new Logger(() => () => {})

run({
  connectionString: `${process.env.BENCH_DSN}&application_name=peer-${process.pid}`,
  logger: quiet,
  taskList: { noop: starter },
  preset: {
    worker: {
      concurrentJobs: 24,
      maxPoolSize: 26,
      pollInterval: 2000,
      localQueue: { size: Number(process.env.PEER_LOCAL_QUEUE || 2000), ttl: 300000 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0
    }
  }
}).then((runner) => runner.promise, (error) => { console.error(error); process.exit(1) })
