// pg-boss at the best found: its own fetch() and complete() in large batches, two loops a process,
// with nothing between them; an empty queue is asked again after 10 ms.
'use strict'
const PgBoss = require('pg-boss')
const { starter } = require('./latency')

const batchSize = Number(process.env.PEER_BATCH || 2000)
const loops = Number(process.env.PEER_LOOPS || 2)

async function loop (boss) {
  for (;;) {
    const jobs = await boss.fetch('bench', { batchSize })
    for (const job of jobs) starter(job.data)
    if (jobs.length) await boss.complete('bench', jobs.map((job) => job.id))
    else await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function main () {
  const boss = new PgBoss({
    connectionString: `${process.env.BENCH_DSN}&application_name=peer-${process.pid}`,
    supervise: false,
    schedule: false,
    max: loops
  })
  boss.on('error', (error) => { console.error(error) })
  process.on('SIGTERM', () => process.exit(0))
  await boss.start()
  await Promise.all(Array.from({ length: loops }, () => loop(boss)))
}

main().catch((error) => { console.error(error); process.exit(1) })
