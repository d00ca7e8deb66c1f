// Holds the conversation with node-postgres. The statements come on standard
// input, with a zero byte between two of them.
'use strict'
const fs = require('fs')
const tls = require('tls')
const { Client } = require('pg')
const Cursor = require('pg-cursor')

// TLS as libpq's environment says. The driver tells Node no name where the host
// is an address.
function ssl () {
  const mode = process.env.PGSSLMODE
  if (mode === 'disable' || mode === 'prefer') return false
  if (mode === 'require') return { rejectUnauthorized: false }
  const ca = fs.readFileSync(process.env.PGSSLROOTCERT)
  const named = (_, cert) => tls.checkServerIdentity(process.env.PGHOST, cert)
  return { ca, checkServerIdentity: mode === 'verify-ca' ? () => undefined : named }
}

async function connect () {
  const client = new Client({ ssl: ssl() })
  client.on('notice', n => console.log('notice', n.severity, n.code, n.message))
  await client.connect()
  return client
}

function print (result) {
  for (const r of Array.isArray(result) ? result : [result]) {
    for (const f of r.fields) console.log('column', f.name, f.tableID !== 0, f.columnID, f.dataTypeID, f.format)
    for (const row of r.rows) console.log(JSON.stringify(row))
    console.log('done', r.command, r.rowCount)
  }
}

async function run (client, query) {
  console.log('\n>', (query.text || query).slice(0, 200))
  try {
    print(await client.query(query))
  } catch (e) {
    console.log('refused', e.code, e.severity, e.message, e.hint, e.position)
  }
}

async function withArguments (client) {
  const queries = [
    { text: 'select $1::int, $2::text, $3::bool', values: [-7, "it's", true] },
    { text: 'select $1::bytea, $2::timestamptz, $3::float8', values: [Buffer.from([0, 1, 255]), new Date(1709210096789), 0.1] },
    { text: 'select $1::int[], $2::jsonb', values: [[1, 2], { k: 'v' }] },
    { text: 'select id, email from people where id = $1', values: [2] },
    { text: 'insert into people values ($1, $2, $3, $4)', values: [1, 'Ada', null, 'again'] },
    { text: 'select 10 / $1::int', values: [0] }
  ]
  for (const [i, q] of queries.entries()) {
    await run(client, q)
    for (let round = 0; round < 2; round++) await run(client, { ...q, name: 's' + i })
    await run(client, { ...q, rowMode: 'array', binary: true })
  }
}

// Queries that are not awaited one by one are queued by the driver.
async function queued (client) {
  await run(client, 'create temporary table queued (a int primary key, b text)')
  const all = []
  for (let i = 0; i < 50; i++) all.push(client.query('insert into queued values ($1, $2)', [i % 49, 'row ' + i]))
  for (const r of await Promise.allSettled(all)) {
    if (r.status === 'rejected') console.log('refused', r.reason.code, r.reason.message)
  }
  await run(client, 'select count(*), sum(a) from queued')
}

// A cursor is a portal that is run several times for a few rows each.
async function portals (client) {
  const cursor = client.query(new Cursor('select id, total from orders where id > $1 order by id', [3]))
  for (let rows; (rows = await cursor.read(7)).length > 0;) console.log(JSON.stringify(rows))
  await cursor.close()
}

async function listen (client) {
  await run(client, 'listen elsewhere')
  const heard = new Promise(resolve => client.on('notification', n => n.channel === 'elsewhere' && resolve(n)))
  const other = await connect()
  await run(other, "notify elsewhere, 'from the other session'")
  await other.end()
  const n = await heard
  console.log('notification', n.channel, n.payload)
}

// Cancels a statement once it has given back a lock, so that it runs.
async function cancel (client) {
  await run(client, 'select pg_advisory_lock(4711)')
  const other = await connect()
  const unlocked = other.query('select pg_advisory_lock(4711)')
  const sleeping = run(client, 'select pg_advisory_unlock(4711), pg_sleep(60)')
  await unlocked
  new Client({ ssl: ssl() }).cancel(client, client.activeQuery)
  await sleeping
  await other.end()
  await run(client, "select 'still here'")
}

async function main () {
  const client = await connect()
  for (const sql of fs.readFileSync(0, 'utf8').split('\0')) await run(client, sql)
  await withArguments(client)
  await queued(client)
  await portals(client)
  await listen(client)
  await cancel(client)
  await client.end()
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
