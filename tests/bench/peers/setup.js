// Creates what the peers need in the benchmark's database.
'use strict'
const { runMigrations } = require('graphile-worker')
const PgBoss = require('pg-boss')

async function main () {
  const connectionString = process.env.BENCH_DSN
  await runMigrations({ connectionString })
  const boss = new PgBoss({ connectionString, supervise: false, schedule: false })
  boss.on('error', (error) => { throw error })
  await boss.start()
  await boss.createQueue('bench')
  await boss.stop({ graceful: false })
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
